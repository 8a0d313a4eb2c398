"""The vocabulary of smooths: every basis by its name in a formula, and the constructors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.terms.adaptive import AdaptiveSpline
from semistruct.terms.base import Term
from semistruct.terms.cubic import CubicSpline, CyclicCubicSpline, ShrinkageCubicSpline
from semistruct.terms.derivative_spline import DerivativeSpline
from semistruct.terms.factor_smooth import FactorSmooth
from semistruct.terms.gaussian_process import GaussianProcess
from semistruct.terms.markov_field import MarkovField
from semistruct.terms.pspline import CyclicPSpline, PSpline
from semistruct.terms.random_effect import RandomEffect
from semistruct.terms.smooth_base import SplineTerm
from semistruct.terms.smooth_basis import Extrapolate
from semistruct.terms.tensor import TensorSmooth
from semistruct.terms.thin_plate import ShrinkageThinPlate, ThinPlate

__all__ = ["SMOOTHS", "re", "s", "te", "ti"]

SMOOTHS: dict[str, type[SplineTerm | RandomEffect | MarkovField | FactorSmooth]] = {
    "ps": PSpline,
    "cp": CyclicPSpline,
    "bs": DerivativeSpline,
    "ad": AdaptiveSpline,
    "cr": CubicSpline,
    "cs": ShrinkageCubicSpline,
    "cc": CyclicCubicSpline,
    "tp": ThinPlate,
    "ts": ShrinkageThinPlate,
    "gp": GaussianProcess,
    "re": RandomEffect,
    "mrf": MarkovField,
    "fs": FactorSmooth,
}

# Shape-constrained P-splines by the names that scam has for them.
SHAPED = {"mpi": "increasing", "mpd": "decreasing", "cx": "convex", "cv": "concave"}


def s(
    *variables: str,
    bs: str = "ps",
    k: int | None = None,
    m: int | Sequence[int] | None = None,
    by: str | None = None,
    lam: float | Sequence[float] | None = None,
    df: float | None = None,
    select: bool = False,
    scaled: bool = True,
    knots: Sequence[float] | None = None,
    constraint: str | Sequence[str] | None = None,
    neighbours: Mapping[Any, Sequence[Any]] | None = None,
    base: str | None = None,
    extrapolate: Extrapolate = "linear",
    label: str = "",
) -> Term:
    """A smooth function of one or several columns.

    Parameters
    ----------
    *variables : str
        Columns. Several only for ``bs="tp"``, ``"ts"`` and ``"gp"`` (isotropic); for other bases
        see :func:`te`.
    bs : str
        Basis, one of :data:`SMOOTHS`: ``"ps"`` P-spline (default), ``"cp"`` cyclic P-spline,
        ``"bs"`` B-spline with derivative penalty, ``"ad"`` P-spline of changing
        smoothness, ``"cr"`` cubic regression spline, ``"cs"`` the same with shrinkage,
        ``"cc"`` cyclic cubic, ``"tp"`` thin plate, ``"ts"`` the same with
        shrinkage, ``"gp"`` Gaussian process, ``"re"`` random effect, ``"mrf"`` Markov random field
        over regions, ``"fs"`` a random curve per group, ``s(x, g, bs="fs")``.
    k : int, optional
        Dimension of the basis before the constraint. None means 10 for one variable; for ``"tp"``
        and ``"gp"`` of several variables see those classes.
    m : int or sequence of int, optional
        Order, with mgcv's meaning for each basis.
    by : str, optional
        Numeric column that multiplies the curve (no constraint unless it is constant), or a
        string or categorical column: one centred curve and one penalty per level.
    lam : float or sequence of float, optional
        Fixed smoothing parameters, in mgcv's ``sp`` scale, one per penalty; None to estimate.
    df : float, optional
        Instead of ``lam``: the effective degrees of freedom that the curve (each curve of a ``by``
        of groups) has in the fit, the constant not counted.
    select : bool
        Add a penalty on the functions that the others do not see, so that the whole term can be
        estimated to be zero (Marra and Wood 2011).
    scaled : bool
        False for penalties as they stand, and ``lam`` in their units, as in pyGAM.
    knots : sequence of float, optional
        The two ends of the range over which knots are spread, or all the knots.
    constraint : str or sequence of str, optional
        Shape of a P-spline: "increasing", "decreasing", "convex" or "concave", or one of each kind.
        ``bs="mpi"``, ``"mpd"``, ``"cx"`` and ``"cv"`` are short for these, as in scam.
    neighbours : mapping from region to list of regions
        The map of ``bs="mrf"``; in a formula written as pairs, see
        :class:`~semistruct.terms.markov_field.MarkovField`.
    base : str
        Basis of the curves of ``bs="fs"``.
    extrapolate : {"linear", "constant"}
        What the curve does outside the range of the training rows: it goes on along its tangent, or
        keeps its value at the end of the range. ``"linear"`` begins at the last knot; the bases
        ``"tp"`` and ``"gp"`` have no knots and follow their formula, a straight line for ``"tp"``
        of one variable and a return to the trend for ``"gp"``. Cyclic bases wrap instead.
    label : str
        Name in tables; ``"s(area)"`` by default.

    Notes
    -----
    A table of 50,000 rows or more is fitted at up to 1,000 binned values of each variable, as
    mgcv's ``bam(discrete=TRUE)`` does, unless the model has ``discrete=False``; predictions are
    made at the values themselves. See :func:`~semistruct.terms.binning.binned`.

    Examples
    --------
    >>> s("area").label
    's(area)'
    >>> s("time", by="stage", k=8).label
    's(time):stage'
    """
    if bs in SHAPED:
        if constraint not in (None, SHAPED[bs]):
            raise SpecificationError(
                f"s({', '.join(variables)}, bs={bs!r}) is {SHAPED[bs]}, but constraint= is "
                f"{constraint!r}; leave one out."
            )
        bs, constraint = "ps", SHAPED[bs]
    smooth = lookup(SMOOTHS, bs, "smooth")
    options: dict[str, Any] = {"k": k, "m": m, "by": by, "lam": lam, "knots": knots}
    options |= {
        "constraint": constraint,
        "df": df,
        "select": None if select is False else select,
        "neighbours": neighbours,
        "base": base,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if scaled is not True:
        given["scaled"] = scaled
    if extrapolate != "linear":
        given["extrapolate"] = extrapolate
    refused = sorted(set(given) - {field.name for field in fields(smooth)})
    if refused:
        hint = (
            "a random slope of x in the groups g is re(g, x)."
            if bs == "re"
            else "leave it out, or choose another bs."
        )
        raise SpecificationError(
            f"s({', '.join(variables)}, bs={bs!r}) takes no {refused[0]}; {hint}"
        )
    return smooth(variables=variables, label=label, **given)


def te(
    *variables: str,
    bs: str | Sequence[str] = "cr",
    k: int | Sequence[int] | None = None,
    m: int | Sequence[int] | Sequence[Sequence[int]] | None = None,
    by: str | None = None,
    lam: float | Sequence[float] | None = None,
    select: bool = False,
    scaled: bool = True,
    knots: Mapping[str, Sequence[float]] | None = None,
    extrapolate: Extrapolate = "linear",
    label: str = "",
) -> TensorSmooth:
    """Tensor product smooth of several columns of different scales, one penalty per column.

    Parameters are those of :func:`s`; ``bs``, ``k`` (5 by default) and ``m`` may be given per
    column, ``knots`` is a mapping from column to knots.

    Examples
    --------
    >>> te("age", "time", k=(6, 5)).label
    'te(age,time)'
    """
    return TensorSmooth(
        variables=variables,
        bs=bs,
        k=k,
        m=m,
        by=by,
        lam=lam,
        select=select,
        scaled=scaled,
        knots=knots,
        extrapolate=extrapolate,
        label=label,
        interaction=False,
    )


def ti(
    *variables: str,
    bs: str | Sequence[str] = "cr",
    k: int | Sequence[int] | None = None,
    m: int | Sequence[int] | Sequence[Sequence[int]] | None = None,
    by: str | None = None,
    lam: float | Sequence[float] | None = None,
    select: bool = False,
    scaled: bool = True,
    knots: Mapping[str, Sequence[float]] | None = None,
    extrapolate: Extrapolate = "linear",
    label: str = "",
) -> TensorSmooth:
    """The pure interaction of :func:`te`: every margin is centred, so main effects are excluded.

    Examples
    --------
    >>> ti("age", "time").label
    'ti(age,time)'
    """
    return TensorSmooth(
        variables=variables,
        bs=bs,
        k=k,
        m=m,
        by=by,
        lam=lam,
        select=select,
        scaled=scaled,
        knots=knots,
        extrapolate=extrapolate,
        label=label,
        interaction=True,
    )


def re(group: str, *variables: str, lam: float | None = None, label: str = "") -> RandomEffect:
    """A random intercept per level of ``group``, or a random slope of a numeric column.

    Examples
    --------
    >>> re("hospital").label
    're(hospital)'
    >>> re("hospital", "dose").label
    're(hospital,dose)'
    """
    return RandomEffect(variables=(group, *variables), lam=lam, label=label)
