"""Terms of pyGAM as terms of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from semistruct.exceptions import SpecificationError
from semistruct.terms._tokens import quote_name
from semistruct.terms.base import Term
from semistruct.terms.parametric import Parametric, linear
from semistruct.terms.pspline import CyclicPSpline, PSpline
from semistruct.terms.random_effect import RandomEffect
from semistruct.terms.reading import numeric_column
from semistruct.terms.smooth_base import SmoothTerm, SplineTerm
from semistruct.terms.tensor import TensorSmooth
from semistruct.terms.term_list import ForeignTerm, TermList, foreign_terms

__all__ = ["from_pygam", "translated"]

CONSTRAINTS = {
    "monotonic_inc": "increasing",
    "monotonic_dec": "decreasing",
    "convex": "convex",
    "concave": "concave",
}


def from_pygam(terms: Any, frame: pd.DataFrame, *, estimate: bool = False) -> TermList:
    """Translate a term or a sum of terms of pyGAM.

    Parameters
    ----------
    terms : pygam.terms.Term or TermList
        Of ``s``, ``l``, ``f`` and ``te``. Features are positions of the columns of ``frame``.
    frame : DataFrame
        The training rows, which give names and, where ``edge_knots`` are not given, the ends of the
        knots.
    estimate : bool
        Estimate the smoothing parameters instead of keeping pyGAM's ``lam`` (0.6 by default).

    Returns
    -------
    TermList

    Raises
    ------
    SpecificationError
        If something has no equivalent: a penalty other than pyGAM's own, an L2 penalty of a spline,
        a spline of order zero, dummy coding with a penalty.

    Notes
    -----
    ========================  ====================================================================
    pyGAM                     here
    ========================  ====================================================================
    ``s(i, n_splines, lam)``  P-spline of ``k=n_splines`` on pyGAM's knots, second differences
    ``s(basis="cp")``         the cyclic one
    ``s(by=j)``               a numeric ``by``
    ``s(constraints=...)``    ``constraint=``; exact, where pyGAM penalises violations by 1e9
    ``l(i, lam)``             a straight line whose slope has the ridge ``lam slope^2``
    ``f(i, lam)``             a random effect of precision ``lam``; without penalty a factor
    ``te(i, j)``              product of P-splines with pyGAM's penalties, one per column
    ========================  ====================================================================

    With the same ``lam``, predictions are those of pyGAM, but for the ridge of 1e-8 by which it
    keeps its matrices regular. Smooths are centred here and pyGAM's are not, so constants differ.
    Penalised cyclic splines differ: the matrix of pyGAM 0.12 is not that of differences around the
    circle, and is not imitated.

    Here a sum begins with a term of this package, ``ss.s("age") + pygam.s(0)``: pyGAM's own
    addition refuses terms that are not its own.

    Examples
    --------
    >>> import pygam
    >>> table = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 2.0, 4.0]})
    >>> from_pygam(pygam.s(0, n_splines=8) + pygam.l(1, lam=0), table).text()
    's(a, k=8, m=(2, 2), lam=(0.6,), scaled=False, knots=(0.0, 2.0)) + b'
    """
    foreign = foreign_terms(terms)
    if not foreign:
        raise SpecificationError(
            f"from_pygam() takes terms of pyGAM, such as pygam.s(0) + pygam.l(1), got {terms!r}."
        )
    found = [_translate(term.info, frame, tuple(frame.columns)) for term in foreign]
    return TermList.of(*(_estimated(term) if estimate else term for term in found))


def translated(terms: TermList, frame: pd.DataFrame, exclude: Sequence[str] = ()) -> TermList:
    """The list with every term of pyGAM replaced; positions count the columns not excluded."""
    if not any(isinstance(term, ForeignTerm) for term in terms.structured):
        return terms
    names = tuple(name for name in frame.columns if name not in exclude)
    own = TermList.of(
        *(
            _translate(term.info, frame, names) if isinstance(term, ForeignTerm) else term
            for term in terms.structured
        )
    )
    return replace(terms, structured=own.structured)


def _estimated(term: Term) -> Term:
    return replace(term, lam=None) if isinstance(term, SmoothTerm | RandomEffect) else term


def _translate(info: Mapping[str, Any], frame: pd.DataFrame, names: tuple[str, ...]) -> Term:
    kind = info["term_type"]
    if kind == "spline_term":
        return _spline(info, frame, names)
    if kind == "linear_term":
        return _line(info, frame, names)
    if kind == "factor_term":
        return _factor(info, names)
    if kind == "tensor_term":
        return _product(info, frame, names)
    raise SpecificationError(
        f"pyGAM's {kind} has no equivalent here; the terms s, l, f and te of pyGAM have one."
    )


def _spline(info: Mapping[str, Any], frame: pd.DataFrame, names: tuple[str, ...]) -> SplineTerm:
    name = _column(info["feature"], names)
    what = f"pyGAM's s({info['feature']})"
    if info["dtype"] != "numerical":
        raise SpecificationError(f"{what} of dtype {info['dtype']!r} has no equivalent; use f().")
    if info["spline_order"] < 1:
        raise SpecificationError(
            f"{what} is a step function (spline_order=0), which has no equivalent; use f() of the "
            "binned column."
        )
    shapes = tuple(CONSTRAINTS.get(one, one) for one in info["constraints"] if one is not None)
    cyclic = info["basis"] == "cp"
    if cyclic and shapes:
        raise SpecificationError(f"{what} is cyclic and cannot have the constraint {shapes[0]!r}.")
    unknown = [shape for shape in shapes if shape not in CONSTRAINTS.values()]
    if unknown:
        raise SpecificationError(
            f"the constraint {unknown[0]!r} of {what} has no equivalent; known are "
            f"{', '.join(map(repr, CONSTRAINTS))}."
        )
    known = ("auto", "periodic") if cyclic else ("auto", "derivative")
    options: dict[str, Any] = {
        "k": int(info["n_splines"]),
        "m": (int(info["spline_order"]) - 1, 2),
        "knots": _ends(info, frame, name),
        "by": None if info["by"] is None else _column(info["by"], names),
        "lam": _lam(info, known, what),
        "scaled": False,
    }
    if cyclic:
        return CyclicPSpline((name,), **options)
    return PSpline((name,), constraint=shapes or None, **options)


def _line(info: Mapping[str, Any], frame: pd.DataFrame, names: tuple[str, ...]) -> Term:
    name = _column(info["feature"], names)
    lam = _lam(info, ("auto", "l2"), f"pyGAM's l({info['feature']})")
    if lam == 0.0:
        return linear(name)
    low, high = _ends(info, frame, name)
    # Two hat functions at the ends: their difference is the slope times the range.
    return PSpline(
        (name,), k=2, m=(0, 1), knots=(low, high), lam=lam / (high - low) ** 2, scaled=False
    )


def _factor(info: Mapping[str, Any], names: tuple[str, ...]) -> Term:
    name = _column(info["feature"], names)
    what = f"pyGAM's f({info['feature']})"
    lam = _lam(info, ("auto", "l2"), what)
    if lam == 0.0:
        return Parametric(f"C({quote_name(name)})")
    if info["coding"] != "one-hot":
        raise SpecificationError(
            f"{what} penalises differences to its first level (coding={info['coding']!r}), which "
            "has no equivalent; use coding='one-hot', or penalties=None."
        )
    return RandomEffect((name,), lam=lam)


def _product(info: Mapping[str, Any], frame: pd.DataFrame, names: tuple[str, ...]) -> TensorSmooth:
    margins = []
    for piece in info["terms"]:
        if piece["term_type"] != "spline_term" or any(piece["constraints"]):
            raise SpecificationError(
                f"pyGAM's te() of a {piece['term_type']} "
                f"{'with constraints ' if piece['term_type'] == 'spline_term' else ''}has no "
                "equivalent; its margins must be splines without constraints."
            )
        margins.append(_spline(piece, frame, names))
    by = info.get("by")
    return TensorSmooth(
        tuple(margin.variables[0] for margin in margins),
        bs=tuple(margin.bs for margin in margins),
        k=tuple(margin.k for margin in margins),
        m=tuple(margin.m for margin in margins),
        knots=tuple(margin.knots for margin in margins),
        by=None if by is None else _column(by, names),
        lam=tuple(margin.lam[0] for margin in margins),
        scaled=False,
    )


def _column(feature: Any, names: tuple[str, ...]) -> str:
    if isinstance(feature, str):
        return feature
    if not 0 <= feature < len(names):
        raise SpecificationError(
            f"pyGAM's term of feature {feature} needs {feature + 1} columns, but there are "
            f"{len(names)}: {', '.join(map(repr, names[:8]))}."
        )
    return names[int(feature)]


def _ends(info: Mapping[str, Any], frame: pd.DataFrame, name: str) -> tuple[float, float]:
    """The ends of the knots: pyGAM's, or those of the data."""
    given = info["edge_knots"]
    if given is not None:
        return min(given), max(given)
    x = numeric_column(frame, name, f"pyGAM's term of {name!r}")
    return float(x.min()), float(x.max())


def _lam(info: Mapping[str, Any], known: tuple[str, ...], what: str) -> float:
    """The one smoothing parameter: zero without a penalty."""
    total = 0.0
    for penalty, lam in zip(info["penalties"], info["lam"], strict=True):
        if penalty is None or penalty == "none":
            continue
        if penalty not in known:
            raise SpecificationError(
                f"the penalty {penalty!r} of {what} has no equivalent; {', '.join(known)} or None "
                "have one."
            )
        total += float(lam)
    return total
