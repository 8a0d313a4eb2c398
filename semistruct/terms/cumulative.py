"""Cumulative effects: a history of exposures, weighted by a smooth function of the lag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from semistruct.columns import TensorArray
from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Basis, Term, TermKind
from semistruct.terms.blocks import DenseBlock, FactoredBlock
from semistruct.terms.pspline import PSpline
from semistruct.terms.reading import numeric_column
from semistruct.terms.smooth_basis import RawSmooth, frozen_array

__all__ = ["Cumulative", "CumulativeBasis", "cumulative"]


@dataclass(frozen=True)
class Cumulative(Term):
    """Weighted cumulative exposure, ``sum_l h(t - a_l) z_l (a_l - a_(l-1))`` over the window.

    Parameters
    ----------
    exposure : str
        Column with the history ``z`` of each row, a :class:`~semistruct.TensorArray` of vectors.
    at : tuple of L increasing floats
        Times ``a_l`` of its values, the same for all rows.
    time : str
        Column with the time ``t``: in a :class:`~semistruct.PAMM` ``"tstart"``, so that only what
        lies before an interval matters in it, or ``"tend"``.
    window : (shortest, longest)
        Lags ``t - a_l`` that count, both included.
    k, m, lam
        Of the P-spline ``h``, as in :func:`~semistruct.terms.s`; it is penalised by differences
        and, since a constant weight means something, has no constraint.
    label : str

    Notes
    -----
    Knots are spread from lag zero to the largest lag that counts in the training rows. The first
    value stands for as long a time as the second.

    References
    ----------
    Sylvestre & Abrahamowicz (2009), Statistics in Medicine 28 (weighted cumulative exposure).
    Bender, Scheipl, Hartl, Day & Kuechenhoff (2019), Biostatistics 20 (in hazard models).

    Examples
    --------
    >>> frame = pd.DataFrame({"t": [1.0, 3.0, 6.0], "dose": TensorArray(np.ones((3, 3)))})
    >>> basis = Cumulative("dose", at=(0, 1, 2), time="t", k=5).build(frame)
    >>> basis.design(frame).dense().sum(axis=1)
    array([2., 3., 3.])
    """

    exposure: str
    at: Any
    time: str = "tstart"
    window: Any = (0.0, np.inf)
    k: int = 10
    m: Any = None
    lam: Any = None
    label: str = ""

    bs: ClassVar[str] = "cumulative"

    def __post_init__(self) -> None:
        if not isinstance(self.exposure, str) or not isinstance(self.time, str):
            raise SpecificationError("cumulative() takes the names of two columns.")
        at = np.asarray(self.at, dtype=float)
        if at.ndim != 1 or not at.size or not np.isfinite(at).all() or (np.diff(at) <= 0).any():
            raise SpecificationError(
                "cumulative() needs at=, the increasing times of the values of "
                f"{self.exposure!r}; got {self.at!r}."
            )
        window = np.asarray(self.window, dtype=float)
        if window.shape != (2,) or np.isnan(window).any() or not window[0] <= window[1]:
            raise SpecificationError(
                "window of cumulative() must be the shortest and the longest lag that count, got "
                f"{self.window!r}."
            )
        object.__setattr__(self, "at", tuple(at.tolist()))
        object.__setattr__(self, "window", tuple(window.tolist()))
        if self.lam is not None:
            lam = np.atleast_1d(np.asarray(self.lam, dtype=float))
            if lam.shape != (1,) or not np.isfinite(lam[0]) or lam[0] < 0:
                raise SpecificationError(
                    f"lam of cumulative() must be one number, not negative, got {self.lam!r}."
                )
            object.__setattr__(self, "lam", float(lam[0]))
        if not self.label:
            object.__setattr__(self, "label", f"cumulative({self.exposure})")

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """The history and the time."""
        return (self.exposure, self.time)

    def text(self) -> str:
        """The term as it is written in a formula."""
        pieces = [quote_name(self.exposure), f"at={self.at!r}"]
        for name, default in (
            ("time", "tstart"),
            ("window", (0.0, np.inf)),
            ("k", 10),
            ("m", None),
            ("lam", None),
            ("label", f"cumulative({self.exposure})"),
        ):
            value = getattr(self, name)
            if value != default:
                # Infinity has no literal; a lag of 1e300 is as good.
                shown = repr(value).replace("inf", "1e300")
                pieces.append(f"{name}={shown}")
        return f"cumulative({', '.join(pieces)})"

    def build(self, frame: pd.DataFrame) -> CumulativeBasis:
        """Learn the knots of the weight function from the lags of the training rows."""
        history = _history(frame, self)
        lags = numeric_column(frame, self.time, self.label)[:, None] - np.array(self.at)
        counts = (lags >= self.window[0]) & (lags <= self.window[1]) & (history != 0)
        if not counts.any():
            raise DataError(
                f"no value of {self.exposure!r} that is not zero lies in the window {self.window} "
                f"before {self.time!r}; {self.label} would be zero in every row."
            )
        span = np.linspace(
            0.0, lags[(lags >= self.window[0]) & (lags <= self.window[1])].max(), 200
        )
        raw = PSpline(("lag",), k=self.k, m=self.m).learn(span[:, None])
        size = float(np.abs(raw.penalties[0]).sum(axis=0).max())
        return CumulativeBasis(
            label=self.label,
            names=tuple(f"{self.label}.{j + 1}" for j in range(raw.dim)),
            penalties=(frozen_array(raw.penalties[0] / size),),
            penalty_scales=(size,),
            lam=(self.lam,),
            ranks=raw.ranks,
            null_dim=raw.null_dim,
            term=self,
            raw=raw,
        )


@dataclass(frozen=True, eq=False)
class CumulativeBasis(Basis):
    """A learned weight function.

    Attributes
    ----------
    term : Cumulative
    raw : RawSmooth
        Of the lag.
    """

    label: str
    names: tuple[str, ...] = field(repr=False)
    penalties: tuple[np.ndarray, ...] = field(repr=False)
    penalty_scales: tuple[float, ...]
    lam: tuple[float | None, ...]
    ranks: tuple[int, ...]
    null_dim: int
    term: Cumulative
    raw: RawSmooth = field(repr=False)
    kind: TermKind = "smooth"

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """The history and the time."""
        return self.term.variables

    def design(self, frame: pd.DataFrame) -> FactoredBlock:
        """Sums of the basis functions of the lags, weighted by the exposures."""
        term = self.term
        history = _history(frame, term)
        time = numeric_column(frame, term.time, self.label)
        at = np.array(term.at)
        steps = np.diff(at, prepend=2 * at[0] - at[1] if len(at) > 1 else at[0] - 1.0)
        shortest, longest = term.window
        X = np.zeros((len(frame), self.raw.dim))
        for z, a, step in zip(history.T, at, steps, strict=True):
            lag = time - a
            rows = np.flatnonzero((lag >= shortest) & (lag <= longest) & (z != 0))
            if rows.size:
                X[rows] += (z[rows] * step)[:, None] * self.raw.evaluate(lag[rows, None])
        return DenseBlock(X)

    def weights(self, lags: Any) -> np.ndarray:
        """Columns ``(m, p)`` whose product with the coefficients is ``h`` at the lags."""
        return self.raw.evaluate(np.asarray(lags, dtype=float)[:, None])


def cumulative(
    exposure: str,
    *,
    at: Any,
    time: str = "tstart",
    window: Any = (0.0, np.inf),
    k: int = 10,
    m: Any = None,
    lam: float | None = None,
    label: str = "",
) -> Cumulative:
    """A history of exposures, weighted by a smooth function of the lag; see :class:`Cumulative`."""
    return Cumulative(exposure, at, time, window, k, m, lam, label)


def _history(frame: pd.DataFrame, term: Cumulative) -> np.ndarray:
    """Exposures ``(n, L)``."""
    name, L = term.exposure, len(term.at)
    if name not in frame.columns:
        raise DataError(
            f"{term.label} needs the column {name!r}, which the table does not have; the columns "
            f"are {', '.join(map(repr, list(frame.columns)[:8]))}."
        )
    column = frame[name].array
    if not isinstance(column, TensorArray):
        raise DataError(
            f"{term.label} needs {name!r} to hold a vector of {L} values for each row; make it "
            f"TensorArray(values) with values of shape (n, {L}). It is {frame[name].dtype}."
        )
    if column.isna().any():
        row = int(np.argmax(column.isna()))
        raise DataError(f"{term.label}: row {row} has no {name!r}; drop the row or fill it.")
    if tuple(column.tensor_shape) != (L,):
        raise DataError(
            f"{term.label} has {L} times in at= but the rows of {name!r} have the shape "
            f"{tuple(column.tensor_shape)}."
        )
    values = column.batch().astype(float)
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise DataError(f"{term.label}: row {row} of {name!r} has a value that is not finite.")
    return values
