"""Response distributions: one family per file, each parameter with its own predictor."""

from __future__ import annotations

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.families.autodiff import AutodiffFamily
from semistruct.families.base import Curvature, CurvatureKind, Family, Objective, RowCurvature
from semistruct.families.bernoulli import Bernoulli
from semistruct.families.beta import Beta
from semistruct.families.beta_binomial import BetaBinomial
from semistruct.families.binomial import Binomial
from semistruct.families.box_cox_cole_green import BoxCoxColeGreen
from semistruct.families.box_cox_t import BoxCoxT
from semistruct.families.categorical import Categorical
from semistruct.families.censored import Censored
from semistruct.families.dirichlet import Dirichlet
from semistruct.families.exponential import Exponential
from semistruct.families.gamma import Gamma
from semistruct.families.generalized_extreme_value import GeneralizedExtremeValue
from semistruct.families.generalized_pareto import GeneralizedPareto
from semistruct.families.gumbel import Gumbel
from semistruct.families.hurdle_negative_binomial import HurdleNegativeBinomial
from semistruct.families.hurdle_poisson import HurdlePoisson
from semistruct.families.inverse_gaussian import InverseGaussian
from semistruct.families.laplace import Laplace
from semistruct.families.log_logistic import LogLogistic
from semistruct.families.logistic import Logistic
from semistruct.families.lognormal import LogNormal
from semistruct.families.multivariate_normal import MultivariateNormal
from semistruct.families.negative_binomial import NegativeBinomial
from semistruct.families.negative_binomial_1 import NegativeBinomial1
from semistruct.families.normal import Normal
from semistruct.families.ordinal import Ordinal
from semistruct.families.poisson import Poisson
from semistruct.families.separable import SeparableFamily
from semistruct.families.sinh_arcsinh import SinhArcsinh
from semistruct.families.skew_normal import SkewNormal
from semistruct.families.student_t import StudentT
from semistruct.families.tweedie import Tweedie
from semistruct.families.von_mises import VonMises
from semistruct.families.weibull import Weibull
from semistruct.families.zero_inflated_negative_binomial import ZeroInflatedNegativeBinomial
from semistruct.families.zero_inflated_poisson import ZeroInflatedPoisson
from semistruct.families.zero_one_inflated_beta import ZeroOneInflatedBeta

__all__ = [
    "FAMILIES",
    "AutodiffFamily",
    "Bernoulli",
    "Beta",
    "Curvature",
    "CurvatureKind",
    "Family",
    "Gamma",
    "Gumbel",
    "InverseGaussian",
    "LogLogistic",
    "LogNormal",
    "Logistic",
    "NegativeBinomial",
    "Normal",
    "Objective",
    "Poisson",
    "RowCurvature",
    "SeparableFamily",
    "StudentT",
    "Weibull",
    "ZeroInflatedPoisson",
    "Laplace",
    "NegativeBinomial1",
    "HurdlePoisson",
    "ZeroInflatedNegativeBinomial",
    "HurdleNegativeBinomial",
    "GeneralizedPareto",
    "GeneralizedExtremeValue",
    "SinhArcsinh",
    "SkewNormal",
    "BoxCoxColeGreen",
    "VonMises",
    "Binomial",
    "BetaBinomial",
    "BoxCoxT",
    "Tweedie",
    "ZeroOneInflatedBeta",
    "Dirichlet",
    "MultivariateNormal",
    "Categorical",
    "Ordinal",
    "resolve_family",
    "Censored",
    "Exponential",
]

FAMILIES: dict[str, type[Family]] = {
    "normal": Normal,
    "lognormal": LogNormal,
    "gamma": Gamma,
    "poisson": Poisson,
    "bernoulli": Bernoulli,
    "student_t": StudentT,
    "logistic": Logistic,
    "gumbel": Gumbel,
    "weibull": Weibull,
    "exponential": Exponential,
    "log_logistic": LogLogistic,
    "inverse_gaussian": InverseGaussian,
    "beta": Beta,
    "negative_binomial": NegativeBinomial,
    "zero_inflated_poisson": ZeroInflatedPoisson,
    "laplace": Laplace,
    "negative_binomial_1": NegativeBinomial1,
    "hurdle_poisson": HurdlePoisson,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
    "hurdle_negative_binomial": HurdleNegativeBinomial,
    "generalized_pareto": GeneralizedPareto,
    "generalized_extreme_value": GeneralizedExtremeValue,
    "sinh_arcsinh": SinhArcsinh,
    "skew_normal": SkewNormal,
    "box_cox_cole_green": BoxCoxColeGreen,
    "von_mises": VonMises,
    "binomial": Binomial,
    "beta_binomial": BetaBinomial,
    "box_cox_t": BoxCoxT,
    "tweedie": Tweedie,
    "zero_one_inflated_beta": ZeroOneInflatedBeta,
    "dirichlet": Dirichlet,
    "multivariate_normal": MultivariateNormal,
    "categorical": Categorical,
    "ordinal": Ordinal,
}


def resolve_family(family: str | Family | type[Family]) -> Family:
    """The family asked for by name, by class or by value.

    Parameters
    ----------
    family : str, Family or subclass of Family
        A name in ``FAMILIES`` or a class stands for the family with its default options.

    Raises
    ------
    SpecificationError
        If the name is unknown or the value is not a family.

    Examples
    --------
    >>> resolve_family("gamma")
    Gamma()
    >>> resolve_family(Gamma(mean_link="inverse"))
    Gamma(mean_link='inverse')
    """
    if isinstance(family, str):
        return lookup(FAMILIES, family, "family")()
    if isinstance(family, type) and issubclass(family, Family):
        return family()
    if isinstance(family, Family):
        return family
    raise SpecificationError(
        f"family must be a name ({', '.join(FAMILIES)}), a Family or a Family class, "
        f"got {family!r} of type {type(family).__name__}."
    )
