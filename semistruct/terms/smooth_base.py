"""What smooth terms share: their options, how they read the training rows, their checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Term
from semistruct.terms.binning import Bins
from semistruct.terms.nesting import shared_columns
from semistruct.terms.reading import (
    group_levels,
    is_numeric,
    is_ordered,
    numeric_column,
    numeric_columns,
)
from semistruct.terms.smooth_basis import Curves, Extrapolate, RawSmooth, SmoothBasis, prepare

__all__ = ["SmoothTerm", "SplineTerm", "check_lam", "distinct_rows", "knot_ends"]

# mgcv's test for a `by` variable that varies.
BY_VARIES = np.finfo(float).eps ** 0.75


@dataclass(frozen=True)
class SmoothTerm(Term, ABC):
    """A smooth as the user wrote it: the options that every basis has.

    Attributes
    ----------
    variables : tuple of str
    by : str or None
        Column that the curve varies with. Numbers multiply the curve. Groups have one curve and one
        penalty each; of an ordered categorical the first group has none, so that the others' curves
        are differences to it.
    lam : tuple of float, or None
        Fixed smoothing parameters in mgcv's ``sp`` scale, one per penalty of one curve.
    df : float or None
        Effective degrees of freedom that each curve of the term has in the fit, instead of ``lam``.
    select : bool
        Whether the functions that the penalties do not see get a penalty of their own, so that the
        term can be estimated to be zero.
    scaled : bool
        Whether penalties are scaled as in mgcv, so that one ``lam`` means about the same for all.
        False: as they stand (squared differences of B-spline coefficients for P-splines and their
        products), and ``lam`` in their units, as in pyGAM.
    extrapolate : {"linear", "constant"}
        Beyond the training range the curve goes on linearly (bases of infinite support as their
        formula says) or keeps its value at the end of the range. Cyclic bases wrap instead.
    label : str
        Name in tables; empty for the automatic one.
    beside : tuple of Term
        Terms of the same predictor that have functions in common with this one, which leaves them
        out (:mod:`semistruct.terms.nesting`). Set when the predictor is put together.
    """

    variables: tuple[str, ...]
    by: str | None = None
    lam: Any = None
    extrapolate: Extrapolate = "linear"
    label: str = ""
    df: float | None = field(default=None, kw_only=True)
    select: bool = field(default=False, kw_only=True)
    scaled: bool = field(default=True, kw_only=True)
    beside: tuple[Term, ...] = field(default=(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        variables = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        object.__setattr__(self, "variables", variables)
        if not variables or not all(isinstance(name, str) for name in variables):
            raise SpecificationError(
                f"{self.prefix}() needs the names of one or more columns, got {variables!r}."
            )
        if len(set(variables)) != len(variables):
            raise SpecificationError(f"{self.prefix}() names a column twice: {variables!r}.")
        if self.by is not None and not isinstance(self.by, str):
            raise SpecificationError(
                f"by= of {self.prefix}({','.join(variables)}) must be the name of a column, got "
                f"{self.by!r}."
            )
        if not self.label:
            object.__setattr__(self, "label", self._automatic_label())
        if self.extrapolate not in get_args(Extrapolate):
            raise SpecificationError(
                f"extrapolate of {self.label} must be 'linear' or 'constant', got "
                f"{self.extrapolate!r}."
            )
        object.__setattr__(self, "lam", check_lam(self.lam, self.label))
        for name in ("select", "scaled"):
            if not isinstance(getattr(self, name), bool):
                raise SpecificationError(
                    f"{name} of {self.label} must be True or False, got {getattr(self, name)!r}."
                )
        if self.df is not None:
            object.__setattr__(self, "df", _check_df(self))

    def _automatic_label(self) -> str:
        by = "" if self.by is None else f":{self.by}"
        return f"{self.prefix}({','.join(self.variables)}){by}"

    @property
    @abstractmethod
    def prefix(self) -> str:
        """How the term is called in a formula: ``"s"``."""

    @property
    @abstractmethod
    def defaults(self) -> dict[str, Any]:
        """Options of the constructor that the formula need not name, with their values."""

    def text(self) -> str:
        """The term as it is written in a formula.

        Examples
        --------
        >>> from semistruct.terms.smooths import s
        >>> s("area", k=8, by="zone").text()
        's(area, by=zone, k=8)'
        """
        pieces = [quote_name(name) for name in self.variables]
        if self.by is not None:
            pieces.append(f"by={quote_name(self.by)}")
        for name, default in self.defaults.items():
            value = getattr(self, name)
            if value != default:
                pieces.append(f"{name}={value!r}")
        return f"{self.prefix}({', '.join(pieces)})"

    @abstractmethod
    def learn(self, x: np.ndarray) -> RawSmooth:
        """The raw basis from the training values ``(n, d)``, finite and not constant."""

    def build(self, frame: pd.DataFrame, bins: Bins | None = None) -> SmoothBasis:
        """Learn knots, penalty scaling and constraint from the training rows.

        With ``bins`` of these rows, a curve of one variable is constrained at their values.
        """
        if len(frame) == 0:
            raise DataError(f"{self.label} cannot be learned from a table without rows.")
        x = numeric_columns(frame, self.variables, self.label)
        for j, name in enumerate(self.variables):
            if np.ptp(x[:, j]) == 0.0:
                raise DataError(
                    f"the column {name!r} of {self.label} is constant ({x[0, j]:g}); a curve needs "
                    "a column that varies, so remove the term."
                )
        by, varies = _learn_by(frame, self.by, self.label)
        raw = self.learn(x)
        constrained = not (raw.centred or varies)
        select = self.select and raw.null_dim > constrained
        count = len(raw.penalties) + select
        lam: tuple[float | None, ...] = self.lam or (None,) * count
        if len(lam) != count:
            raise SpecificationError(
                f"lam of {self.label} has {len(lam)} values but the term has {count} penalties"
                f"{', that of select=True among them' if select else ''}; give one value per "
                "penalty."
            )
        basis = prepare(
            raw,
            x,
            label=self.label,
            variables=self.variables,
            by=by,
            constrained=constrained,
            select=select,
            lam=lam,
            extrapolate=self.extrapolate,
            bins=bins.column(self.variables[0], x[:, 0]) if bins and x.shape[1] == 1 else None,
        )
        if not self.scaled:
            basis = basis.unscaled()
        if self.beside or not constrained:  # what sums to zero has no constant to share
            basis = basis.without(shared_columns(basis, self.beside, frame))
        return basis if self.df is None else basis.with_df(self.df, frame)


@dataclass(frozen=True)
class SplineTerm(SmoothTerm, ABC):
    """A smooth with one basis: its dimension, order and knots.

    Attributes
    ----------
    k : int or None
        Dimension of the basis before the constraint; None for the default of the basis.
    m : tuple or None
        Order, with mgcv's meaning for the basis.
    knots : tuple of float, or None
        The two ends of the range over which knots are spread, or all of the knots.
    """

    k: int | None = None
    m: Any = None
    knots: Any = None

    bs: ClassVar[str]
    several: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.variables) > 1 and not self.several:
            raise SpecificationError(
                f"{self.label} has {len(self.variables)} columns but its basis takes one; use "
                f"te({','.join(self.variables)}), or bs='tp' for columns of one common scale."
            )
        if self.k is not None and (
            isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)) or self.k < 2
        ):
            raise SpecificationError(
                f"k of {self.label} must be an integer above 1, got {self.k!r}."
            )
        if self.k is not None:
            object.__setattr__(self, "k", int(self.k))
        if self.m is not None:
            object.__setattr__(self, "m", _check_orders(self.m, self.label))
        if self.knots is not None:
            object.__setattr__(self, "knots", _check_knots(self.knots, self.label))

    @property
    def prefix(self) -> str:
        return "s"

    @property
    def defaults(self) -> dict[str, Any]:
        return {
            "bs": "ps",
            "k": None,
            "m": None,
            "lam": None,
            "df": None,
            "select": False,
            "scaled": True,
            "knots": None,
            "extrapolate": "linear",
            "label": self._automatic_label(),
        }

    def enough_values(self, x: np.ndarray, k: int) -> None:
        """Raise :class:`DataError` if there are fewer distinct rows of ``x`` than ``k``."""
        distinct = len(distinct_rows(x))
        if distinct < k:
            names = " and ".join(map(repr, self.variables))
            raise DataError(
                f"{self.label} needs at least k={k} distinct values of {names} but there are "
                f"{distinct}; use k={distinct} or fewer, or a linear term or a factor."
            )


def distinct_rows(x: np.ndarray) -> np.ndarray:
    """The distinct rows of ``x`` ``(n, d)`` in lexicographic order."""
    if x.shape[1] == 1:
        return np.unique(x)[:, None]
    rows = pd.DataFrame(x).drop_duplicates().to_numpy()
    return rows[np.lexsort(rows.T[::-1])]


def knot_ends(knots: Sequence[float], x: np.ndarray, label: str) -> tuple[float, float]:
    """The first and last of the knots, which have to contain the data."""
    low, high = knots[0], knots[-1]
    if x.min() < low or x.max() > high:
        raise DataError(
            f"the knots of {label} span {low:g} to {high:g} but the column runs from {x.min():g} "
            f"to {x.max():g}; widen the knots or drop those rows."
        )
    return low, high


def _learn_by(frame: pd.DataFrame, by: str | None, label: str) -> tuple[Curves, bool]:
    """The curves, and whether a numeric ``by`` varies, so that no constraint is needed."""
    if by is None:
        return Curves(), False
    if not is_numeric(frame, by, label):
        levels = group_levels(frame, by, label)
        first = int(is_ordered(frame, by, label))
        if len(levels) <= first:
            raise DataError(
                f"{label} has one curve per group after the first of the ordered column {by!r}, "
                f"which has only {levels[0]!r}; remove by=."
            )
        return Curves(by, levels[first:], levels[:first]), False
    values = numeric_column(frame, by, label)
    if not values.any():
        raise DataError(f"the by column {by!r} of {label} is zero everywhere; remove the term.")
    return Curves(by), bool(np.std(values) > abs(values.mean()) * BY_VARIES)


def check_lam(lam: Any, label: str) -> tuple[float, ...] | None:
    """Fixed smoothing parameters as a tuple, or None."""
    if lam is None:
        return None
    message = (
        f"lam of {label} must be one finite number that is not negative, or one per penalty, got "
        f"{lam!r}; leave it out to estimate."
    )
    try:
        values = np.atleast_1d(np.asarray(lam, dtype=float))
    except (TypeError, ValueError) as error:
        raise SpecificationError(message) from error
    if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (values < 0).any():
        raise SpecificationError(message)
    return tuple(values.tolist())


def _check_df(term: SmoothTerm) -> float:
    df = term.df
    if isinstance(df, bool) or not isinstance(df, (int, float, np.number)) or not 0 < df < np.inf:
        raise SpecificationError(f"df of {term.label} must be a positive number, got {df!r}.")
    if term.lam is not None or term.select:
        other = "select=True" if term.lam is None else "lam="
        raise SpecificationError(
            f"{term.label} has both df= and {other}; degrees of freedom determine the one "
            "smoothing parameter of a term, so leave one out."
        )
    return float(df)


def _check_orders(m: Any, label: str) -> tuple[float, ...]:
    entries = np.atleast_1d(np.asarray(m, dtype=object)).tolist()
    if not entries or not all(isinstance(entry, (int, float, np.number)) for entry in entries):
        raise SpecificationError(f"m of {label} must be a number or several, got {m!r}.")
    return tuple(entries)


def _check_knots(knots: Any, label: str) -> tuple[float, ...]:
    message = f"knots of {label} must be two or more increasing finite numbers, got {knots!r}."
    try:
        values = np.asarray(knots, dtype=float)
    except (TypeError, ValueError) as error:
        raise SpecificationError(message) from error
    if (
        values.ndim != 1
        or len(values) < 2
        or not np.isfinite(values).all()
        or (np.diff(values) <= 0).any()
    ):
        raise SpecificationError(message)
    return tuple(values.tolist())
