"""Example parameters of every family, and who else computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from semistruct.families import (
    Bernoulli,
    Beta,
    BetaBinomial,
    Binomial,
    BoxCoxColeGreen,
    BoxCoxT,
    Categorical,
    Dirichlet,
    Exponential,
    Family,
    Gamma,
    GeneralizedExtremeValue,
    GeneralizedPareto,
    Gumbel,
    HurdleNegativeBinomial,
    HurdlePoisson,
    InverseGaussian,
    Laplace,
    Logistic,
    LogLogistic,
    LogNormal,
    MultivariateNormal,
    NegativeBinomial,
    NegativeBinomial1,
    Normal,
    Ordinal,
    Poisson,
    SinhArcsinh,
    SkewNormal,
    StudentT,
    Tweedie,
    VonMises,
    Weibull,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
    ZeroOneInflatedBeta,
)

__all__ = ["EXAMPLES", "MULTIVARIATE", "Example", "MultivariateExample"]

TIGHT = {"rtol": 1e-6, "atol": 1e-7}  # the tails beyond 1e-14 hold this little of the moments
HEAVY = {"rtol": 1e-3, "atol": 1e-7}  # with four degrees of freedom they hold rather more


@dataclass(frozen=True)
class Example:
    """A family with parameters to test it at.

    Attributes
    ----------
    family : Family
        The instance.
    theta : (m, K) nested tuples
        Parameters on the natural scale.
    scipy : callable or None
        K arrays of parameters -> frozen scipy distribution.
    outside : tuple of float
        Responses it must refuse.
    edges : tuple of float
        Allowed responses at the edge of the support.
    exact_start : bool
        Whether ``initial_eta`` is the maximum likelihood estimate of the null model.
    bounded_score : bool
        Whether no derivative overflows at predictors of +-700.
    atoms : tuple of float
        Ends of the support that have a probability of their own in a continuous family.
    kinked : bool
        Whether the log-density has a kink, so that only the expected curvature is of use.
    moments : dict
        Tolerance of mean and variance against quadrature.
    """

    family: Family
    theta: tuple[tuple[float, ...], ...]
    scipy: Callable[..., Any] | None
    outside: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    exact_start: bool = True
    bounded_score: bool = False
    atoms: tuple[float, ...] = ()
    kinked: bool = False
    moments: dict[str, float] = field(default_factory=lambda: TIGHT)

    @property
    def id(self) -> str:
        return repr(self.family)


@dataclass(frozen=True)
class MultivariateExample:
    """A family of several columns with parameters to test it at.

    Attributes
    ----------
    family : Family
        The instance.
    theta : (m, K) nested tuples
        Parameters on the natural scale.
    scipy : callable
        One row of parameters ``(K,)`` -> frozen scipy distribution.
    """

    family: Any
    theta: tuple[tuple[float, ...], ...]
    scipy: Callable[..., Any]

    @property
    def id(self) -> str:
        return repr(self.family)


def _multivariate_normal(dimension: int) -> Callable[..., Any]:
    def frozen(theta: np.ndarray) -> Any:
        loc, scale = theta[:dimension], theta[dimension : 2 * dimension]
        T = np.eye(dimension)
        T[np.tril_indices(dimension, -1)] = -theta[2 * dimension :]
        L = np.linalg.solve(T, np.diag(scale))
        return stats.multivariate_normal(loc, L @ L.T)

    return frozen


def _gamma(mean: np.ndarray, dispersion: np.ndarray) -> Any:
    return stats.gamma(1 / dispersion, scale=mean * dispersion)


_LOC_SCALE = ((0.3, 1.2), (-2.0, 0.4), (5.0, 3.0))
_GAMMA = ((2.5, 0.49), (0.2, 1.5), (30.0, 0.02))
_RATES = ((0.4,), (2.3,), (40.0,))
_SHARES = ((0.2,), (0.5,), (0.93,))
_NOT_COUNTS = (-1.0, 0.5)

EXAMPLES: tuple[Example, ...] = (
    Example(Normal(), _LOC_SCALE, stats.norm),
    Example(Normal(loc_link="log"), ((0.3, 1.2), (5.0, 0.5)), stats.norm),
    Example(Normal(loc_link="inverse"), ((0.3, 1.2), (5.0, 0.5)), stats.norm),
    Example(
        LogNormal(),
        ((0.6, 0.8), (-1.0, 0.3)),
        lambda loc, scale: stats.lognorm(scale, scale=np.exp(loc)),
        outside=(0.0, -1.0),
    ),
    *(
        Example(Gamma(mean_link=link), _GAMMA, _gamma, outside=(0.0, -1.0))
        for link in ("log", "identity", "inverse")
    ),
    *(
        Example(
            Poisson(link=link),
            _RATES,
            stats.poisson,
            outside=_NOT_COUNTS,
            edges=(0.0,),
            bounded_score=link == "log",
        )
        for link in ("log", "identity", "sqrt")
    ),
    *(
        Example(
            Bernoulli(link=link),
            _SHARES,
            stats.bernoulli,
            outside=(2.0, 0.5, -1.0),
            edges=(0.0, 1.0),
            bounded_score=True,
        )
        for link in ("logit", "probit", "cloglog")
    ),
    Example(
        StudentT(),
        ((0.5, 1.3, 4.0), (-2.0, 0.3, 15.0)),
        lambda loc, scale, df: stats.t(df, loc, scale),
        exact_start=False,
        moments=HEAVY,
    ),
    Example(Logistic(), _LOC_SCALE, stats.logistic, exact_start=False),
    Example(Gumbel(), _LOC_SCALE, stats.gumbel_r, exact_start=False),
    Example(
        Exponential(),
        ((2.0,), (0.3,), (50.0,)),
        lambda mean: stats.expon(scale=mean),
        outside=(-1.0,),
    ),
    Example(
        LogLogistic(),
        ((2.0, 9.0), (0.3, 12.0), (5.0, 10.0)),
        lambda scale, shape: stats.fisk(shape, scale=scale),
        outside=(0.0, -1.0),
        exact_start=False,
    ),
    Example(
        Weibull(),
        ((2.0, 1.6), (0.3, 0.8), (5.0, 9.0)),
        lambda scale, shape: stats.weibull_min(shape, scale=scale),
        outside=(0.0, -1.0),
        exact_start=False,
    ),
    *(
        Example(
            InverseGaussian(mean_link=link),
            ((2.0, 0.25), (0.5, 1.0)),
            lambda mean, dispersion: stats.invgauss(mean * dispersion, scale=1 / dispersion),
            outside=(0.0, -1.0),
        )
        for link in ("log", "identity", "inverse")
    ),
    *(
        Example(
            Beta(mean_link=link),
            ((0.4, 10.1), (0.8, 8.0), (0.05, 200.0)),
            lambda mean, precision: stats.beta(mean * precision, (1 - mean) * precision),
            outside=(0.0, 1.0, -0.5),
            exact_start=False,
        )
        for link in ("logit", "probit", "cloglog")
    ),
    Example(
        NegativeBinomial(),
        ((3.0, 0.6), (0.5, 2.0), (12.0, 0.05)),
        lambda mean, dispersion: stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)),
        outside=_NOT_COUNTS,
        edges=(0.0,),
        exact_start=False,
    ),
    Example(
        ZeroInflatedPoisson(),
        ((2.0, 0.3), (6.0, 0.1)),
        None,
        outside=_NOT_COUNTS,
        edges=(0.0,),
        exact_start=False,
    ),
    Example(Laplace(), _LOC_SCALE, stats.laplace, exact_start=False, kinked=True),
    Example(
        NegativeBinomial1(),
        ((3.0, 0.6), (0.5, 2.0), (12.0, 0.05)),
        lambda mean, dispersion: stats.nbinom(mean / dispersion, 1 / (1 + dispersion)),
        outside=_NOT_COUNTS,
        edges=(0.0,),
        exact_start=False,
    ),
    *(
        Example(
            HurdlePoisson(presence_link=link),
            ((2.0, 0.3), (0.02, 0.6), (6.0, 0.9)),
            None,
            outside=_NOT_COUNTS,
            edges=(0.0, 1.0),
            exact_start=False,
        )
        for link in ("logit", "cloglog")
    ),
    Example(
        ZeroInflatedNegativeBinomial(),
        ((3.0, 0.6, 0.3), (6.0, 0.1, 0.1), (1.5, 1.2, 0.02)),
        None,
        outside=_NOT_COUNTS,
        edges=(0.0,),
        exact_start=False,
    ),
    *(
        Example(
            HurdleNegativeBinomial(presence_link=link),
            ((3.0, 0.6, 0.3), (0.1, 0.4, 0.6), (6.0, 0.1, 0.9)),
            None,
            outside=_NOT_COUNTS,
            edges=(0.0, 1.0),
            exact_start=False,
        )
        for link in ("logit", "cloglog")
    ),
    Example(
        GeneralizedPareto(),
        ((2.0, 0.2), (0.5, 0.0), (5.0, -0.1), (1.0, 1e-4)),
        lambda scale, shape: stats.genpareto(shape, scale=scale),
        outside=(-1.0,),
        edges=(0.0,),
        exact_start=False,
        moments=HEAVY,
    ),
    Example(
        GeneralizedExtremeValue(),
        ((0.3, 1.2, 0.1), (-2.0, 0.4, 0.0), (5.0, 3.0, -0.1)),
        lambda loc, scale, shape: stats.genextreme(-shape, loc, scale),
        exact_start=False,
    ),
    Example(
        SkewNormal(),
        ((0.3, 1.2, 2.0), (-2.0, 0.4, -0.7), (5.0, 3.0, 0.0), (0.0, 1.0, 6.0)),
        lambda loc, scale, slant: stats.skewnorm(slant, loc, scale),
        exact_start=False,
    ),
    Example(
        SinhArcsinh(),
        ((0.3, 1.2, 0.5, 0.8), (-2.0, 0.4, -0.3, 1.5), (5.0, 3.0, 0.0, 1.0)),
        None,
        exact_start=False,
    ),
    *(
        Example(
            BoxCoxColeGreen(median_link=link),
            ((2.0, 0.3, 0.5), (0.5, 0.1, 0.0), (5.0, 0.2, -0.8), (1.0, 0.1, 1e-5)),
            None,
            outside=(0.0, -1.0),
            exact_start=False,
        )
        for link in ("log", "identity")
    ),
    Example(
        VonMises(),
        ((0.0, 1.2), (1.0, 0.4), (-2.8, 3.0), (0.4, 300.0)),
        None,
        outside=(3.5, -4.0),
        exact_start=False,
    ),
    *(
        Example(
            Binomial(trials=trials, link=link),
            _SHARES,
            lambda p, trials=trials: stats.binom(trials, p),
            outside=(trials + 1.0, 0.5, -1.0),
            edges=(0.0, float(trials)),
            bounded_score=True,
        )
        for trials, link in ((1, "logit"), (12, "probit"), (12, "cloglog"), (40, "logit"))
    ),
    *(
        Example(
            BetaBinomial(trials=trials, probability_link=link),
            ((0.2, 0.3), (0.6, 0.05), (0.5, 1.5)),
            lambda p, d, trials=trials: stats.betabinom(trials, p / d, (1 - p) / d),
            outside=(trials + 1.0, 0.5, -1.0),
            edges=(0.0, float(trials)),
            exact_start=False,
        )
        for trials, link in ((2, "logit"), (12, "logit"), (12, "probit"))
    ),
    *(
        Example(
            BoxCoxT(median_link=link),
            ((2.0, 0.2, 0.5, 9.0), (0.5, 0.1, 0.0, 15.0), (5.0, 0.15, -0.8, 30.0)),
            None,
            outside=(0.0, -1.0),
            exact_start=False,
        )
        for link in ("log", "identity")
    ),
    *(
        Example(
            Tweedie(mean_link=link),
            ((2.0, 1.0, 1.5), (0.5, 0.6, 1.2), (8.0, 0.3, 1.6)),
            None,
            outside=(-1.0,),
            edges=(0.0,),
            exact_start=False,
            atoms=(0.0,),
        )
        for link in ("log", "identity")
    ),
    Example(
        Tweedie(power=1.4),
        ((2.0, 1.0), (0.1, 0.6), (8.0, 0.02)),
        None,
        outside=(-1.0,),
        edges=(0.0,),
        exact_start=False,
        atoms=(0.0,),
    ),
    *(
        Example(
            ZeroOneInflatedBeta(mean_link=link),
            ((0.4, 10.1, 0.3, 0.6), (0.8, 8.0, 0.01, 0.5), (0.1, 50.0, 0.7, 0.1)),
            None,
            outside=(-0.1, 1.1),
            edges=(0.0, 1.0),
            exact_start=False,
            atoms=(0.0, 1.0),
        )
        for link in ("logit", "probit")
    ),
    *(
        Example(
            ZeroOneInflatedBeta(inflated=end),
            ((0.4, 10.1, 0.3), (0.8, 8.0, 0.01)),
            None,
            outside=(-0.1, 1.1, 1 - atom),
            edges=(atom,),
            exact_start=False,
            atoms=(atom,),
        )
        for end, atom in (("zero", 0.0), ("one", 1.0))
    ),
    *(
        Example(
            Categorical(categories=categories),
            theta,
            None,
            outside=(5.0, 0.5, -1.0),
            edges=(0.0, 2.0),
            bounded_score=True,
        )
        for categories, theta in (
            (3, ((0.5, 2.0), (0.1, 0.3), (4.0, 1.0))),
            (("b", "a", "c", "d"), ((0.5, 2.0, 1.0), (1.4, 0.2, 0.7))),
        )
    ),
    *(
        Example(
            Ordinal(categories=categories, link=link),
            theta,
            None,
            outside=(4.0, 0.5, -1.0),
            edges=(0.0, 1.0, 2.0),
        )
        for link in ("logit", "probit", "cloglog")
        for categories, theta in (
            (3, ((0.5, 1.2), (-0.7, 3.0), (1.0, 0.02))),
            (("low", "mid", "high", "top"), ((1.0, 0.8, 1.5), (0.2, 2.0, 0.3))),
        )
    ),
)

MULTIVARIATE: tuple[MultivariateExample, ...] = (
    MultivariateExample(Dirichlet(), ((2.0, 1.0, 4.0), (0.4, 0.9, 0.6)), stats.dirichlet),
    MultivariateExample(Dirichlet(components=2), ((2.0, 5.0), (30.0, 40.0)), stats.dirichlet),
    MultivariateExample(
        MultivariateNormal(),
        ((0.3, -1.0, 1.2, 0.5, 0.7), (5.0, 2.0, 0.3, 3.0, -1.5)),
        _multivariate_normal(2),
    ),
    MultivariateExample(
        MultivariateNormal(dimension=3),
        ((0.3, -1.0, 2.0, 1.2, 0.5, 2.0, 0.7, -0.4, 1.1),),
        _multivariate_normal(3),
    ),
)
