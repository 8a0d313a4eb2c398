"""Marks in a formula that describe rows rather than effects: strata and clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from semistruct.exceptions import SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.term_list import Addend, Role

__all__ = ["Cluster", "Strata", "cluster", "strata"]


@dataclass(frozen=True)
class Strata(Addend):
    """Columns whose combinations each have a baseline hazard of their own."""

    variables: tuple[str, ...]

    role: ClassVar[Role] = "strata"

    def __post_init__(self) -> None:
        if not self.variables:
            raise SpecificationError("strata() names no column; write for example strata(center).")
        for name in self.variables:
            quote_name(name)

    @property
    def label(self) -> str:  # type: ignore[override]
        """``"strata(center)"``."""
        return f"strata({', '.join(map(quote_name, self.variables))})"


@dataclass(frozen=True)
class Cluster(Addend):
    """A column that names groups of dependent rows."""

    variable: str

    role: ClassVar[Role] = "cluster"

    def __post_init__(self) -> None:
        quote_name(self.variable)

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """The one column."""
        return (self.variable,)

    @property
    def label(self) -> str:  # type: ignore[override]
        """``"cluster(id)"``."""
        return f"cluster({quote_name(self.variable)})"


def strata(*variables: str) -> Strata:
    """Stratify the baseline hazard.

    Examples
    --------
    >>> strata("center").variables
    ('center',)
    """
    return Strata(variables)


def cluster(variable: str) -> Cluster:
    """Name the groups of dependent rows, for the covariance and for folds.

    Examples
    --------
    >>> cluster("patient").label
    'cluster(patient)'
    """
    return Cluster(variable)
