"""Response distributions: one family per file, each parameter with its own predictor."""

from __future__ import annotations

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.families.base import Curvature, CurvatureKind, Family, Objective, RowCurvature
from semistruct.families.bernoulli import Bernoulli
from semistruct.families.gamma import Gamma
from semistruct.families.lognormal import LogNormal
from semistruct.families.normal import Normal
from semistruct.families.poisson import Poisson
from semistruct.families.separable import SeparableFamily

__all__ = [
    "FAMILIES",
    "Bernoulli",
    "Curvature",
    "CurvatureKind",
    "Family",
    "Gamma",
    "LogNormal",
    "Normal",
    "Objective",
    "Poisson",
    "RowCurvature",
    "SeparableFamily",
    "resolve_family",
]

FAMILIES: dict[str, type[Family]] = {
    "normal": Normal,
    "lognormal": LogNormal,
    "gamma": Gamma,
    "poisson": Poisson,
    "bernoulli": Bernoulli,
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
