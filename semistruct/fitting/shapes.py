"""Fits whose curves keep a shape: an active-set search around the fit without constraints."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import block_diag, null_space

from semistruct.design import Design, Penalty
from semistruct.exceptions import ConvergenceWarning
from semistruct.fitting.engine import Engine, Settled, StructuredProblem
from semistruct.fitting.newton import NewtonResult
from semistruct.terms import DenseBlock, DesignBlock
from semistruct.terms.blocks import FactoredBlock
from semistruct.terms.smooth_basis import SmoothBasis

__all__ = ["inequalities", "keep_shapes"]

# A constraint counts as violated below this share of the largest coefficient, and a multiplier as
# negative below this share of the largest.
_VIOLATED = 1e-9
# A penalty that the active constraints have emptied is zero up to rounding.
_EMPTY = 1e-10
_ROUNDS = 200
# Rounds with estimated smoothing parameters, after which they are held.
_FREE_ROUNDS = 15


def inequalities(problem: StructuredProblem) -> np.ndarray:
    """All constraints ``C beta >= 0`` on the stacked coefficients, ``(m, P)``."""
    rows = []
    size = sum(design.p for design in problem.designs)
    start = 0
    for design in problem.designs:
        for basis in design.bases:
            if isinstance(basis, SmoothBasis) and basis.inequalities is not None:
                own = design.slices[basis.label]
                C = np.zeros((len(basis.inequalities), size))
                C[:, start + own.start : start + own.stop] = basis.inequalities
                rows.append(C)
        start += design.p
    return np.vstack(rows) if rows else np.zeros((0, size))


def keep_shapes(
    problem: StructuredProblem,
    fit: Any,
    solve: Callable[[StructuredProblem, np.ndarray | None], Any],
    smoothing: np.ndarray | None,
) -> Any:
    """The constrained fit.

    Parameters
    ----------
    problem : StructuredProblem
    fit : StructuredFit
        Without the constraints.
    solve : function of a problem and smoothing parameters
        Fits without constraints; estimates the smoothing parameters where they are None.
    smoothing : (J,) array or None
        As given by the caller.

    Notes
    -----
    At the constrained maximum some constraints hold with equality: the active ones. Given these the
    model is an ordinary one with fewer coefficients, ``beta = T b`` with ``T`` a basis of the null
    space of the active rows, and smoothing parameters, standard errors and degrees of freedom are
    those of that model. The active set is found by the primal-dual rule: active constraints with a
    negative multiplier are released, violated ones are added (Hintermueller, Ito and Kunisch 2003).
    Should it return to a set it has seen, smoothing parameters are held, and then one constraint is
    exchanged at a time.

    References
    ----------
    Hintermueller, M., Ito, K. and Kunisch, K. (2003). The primal-dual active set strategy as a
    semismooth Newton method. *SIAM Journal on Optimization* 13, 865-888.
    """
    C = inequalities(problem)
    C = C / np.linalg.norm(C, axis=1, keepdims=True)
    engine = Engine.of(problem)
    active = np.zeros(len(C), dtype=bool)
    seen: set[bytes] = set()
    held, single = smoothing, False
    for number in range(_ROUNDS):
        slack = C @ fit.beta
        violated = ~active & (slack < -_VIOLATED * np.abs(fit.beta).max())
        wrong = violated.copy()
        if active.any():
            point = engine.at(fit.beta, fit.smoothing)
            multipliers = np.linalg.lstsq(C[active].T, -point.penalised_gradient)[0]
            released = multipliers < -_VIOLATED * max(np.abs(multipliers).max(), 1e-300)
            wrong[np.flatnonzero(active)[released]] = True
        if not wrong.any():
            return fit
        changed = wrong
        if single:
            changed = np.zeros_like(wrong)
            changed[np.flatnonzero(wrong)[-1]] = True
        active = active ^ changed
        key = active.tobytes()
        if key in seen or number == _FREE_ROUNDS:
            if held is not None:
                single = True
            held = fit.smoothing if held is None else held
            seen = set()
        seen.add(key)
        fit = _restricted(problem, engine, C[active], solve, held, fit)
    warnings.warn(
        "the search for the shape of constrained curves did not end; their shapes or their "
        "smoothness are not optimal. Simplify the model, or fix their lam.",
        ConvergenceWarning,
        stacklevel=4,
    )
    return replace(fit, converged=False)


@dataclass(frozen=True)
class _Reduced:
    """A problem in fewer coefficients; ``kept`` are its penalties among those of the whole."""

    problem: StructuredProblem
    T: np.ndarray
    kept: np.ndarray


def _restricted(
    problem: StructuredProblem,
    engine: Engine,
    C: np.ndarray,
    solve: Callable[[StructuredProblem, np.ndarray | None], Any],
    held: np.ndarray | None,
    last: Any,
) -> Any:
    """The fit with ``C beta = 0``, in all coefficients."""
    reduced = _reduce(problem, C)
    T = reduced.T
    fit = solve(reduced.problem, None if held is None else held[reduced.kept])
    smoothing = last.smoothing.copy()
    smoothing[reduced.kept] = fit.smoothing
    beta = T @ fit.beta
    point = engine.at(beta, smoothing)
    V = T @ fit.V @ T.T
    lam = smoothing / engine.variance(beta)
    H, _ = engine.reported(Settled(point, lam, NewtonResult(point, 0, 0.0, True), V))
    F = V @ H
    edf = np.diag(F).copy()
    column = None if engine.likelihood.dispersion is None else engine.likelihood.dispersion.column
    return replace(
        fit,
        beta=beta,
        slices=engine.likelihood.slices,
        lam=lam,
        smoothing=smoothing,
        S_lam=engine.penalties.matrix(lam),
        H=H,
        V=V,
        edf=edf,
        edf1=2 * edf - np.einsum("ij,ji->i", F, F),
        dispersion_column=column,
    )


def _reduce(problem: StructuredProblem, C: np.ndarray) -> _Reduced:
    designs, blocks, transforms, kept = [], [], [], []
    start = count = 0
    for design, block in zip(problem.designs, problem.blocks, strict=True):
        own = C[:, start : start + design.p]
        smaller, pieces, places = _reduced_design(design, own)
        designs.append(smaller)
        blocks.append(_reduced_block(block, design, pieces))
        transforms.append(block_diag(*pieces.values()) if pieces else np.zeros((0, 0)))
        kept += [count + place for place in places]
        start += design.p
        count += len(design.penalties)
    return _Reduced(
        replace(problem, designs=tuple(designs), blocks=tuple(blocks)),
        block_diag(*transforms),
        np.array(kept, dtype=int),
    )


def _reduced_design(
    design: Design, C: np.ndarray
) -> tuple[Design, dict[str, np.ndarray], list[int]]:
    """The design of ``b`` with ``beta = T b``, the blocks of ``T``, and the penalties left."""
    pieces: dict[str, np.ndarray] = {}
    for label, own in design.slices.items():
        rows = C[:, own]
        rows = rows[rows.any(axis=1)]
        pieces[label] = null_space(rows) if len(rows) else np.eye(own.stop - own.start)
    slices: dict[str, slice] = {}
    names: list[str] = []
    kinds: list[str] = []
    start = 0
    for label, T in pieces.items():
        own, width = design.slices[label], T.shape[1]
        slices[label] = slice(start, start + width)
        whole = T.shape[0] == width
        names += design.names[own] if whole else [f"{label} [{i + 1}]" for i in range(width)]
        kinds += list(design.kinds[own][:width])
        start += width
    penalties, places = [], []
    for place, penalty in enumerate(design.penalties):
        label = next(
            name
            for name, own in design.slices.items()
            if own.start <= penalty.columns.start and penalty.columns.stop <= own.stop
        )
        moved = _reduced_penalty(penalty, design.slices[label], slices[label], pieces[label])
        if moved is not None:
            penalties.append(moved)
            places.append(place)
    bases = tuple(
        basis
        for basis in design.bases
        if basis.label not in slices or slices[basis.label].stop > slices[basis.label].start
    )
    smaller = replace(
        design,
        bases=bases,
        slices=slices,
        names=tuple(names),
        kinds=np.array(kinds, dtype=object),
        penalties=tuple(penalties),
    )
    return smaller, pieces, places


def _reduced_penalty(penalty: Penalty, old: slice, new: slice, T: np.ndarray) -> Penalty | None:
    """``T'ST``; None where no coefficient is left."""
    if T.shape[0] == T.shape[1]:
        shift = new.start - old.start
        columns = slice(penalty.columns.start + shift, penalty.columns.stop + shift)
        return replace(penalty, columns=columns)
    if not T.shape[1]:
        return None
    rows = T[penalty.columns.start - old.start : penalty.columns.stop - old.start]
    S = rows.T @ penalty.S @ rows
    if np.abs(S).max() < _EMPTY * np.abs(penalty.S).max():
        S = np.zeros_like(S)
    return replace(penalty, columns=new, S=(S + S.T) / 2)


def _reduced_block(
    block: DesignBlock, design: Design, pieces: dict[str, np.ndarray]
) -> DesignBlock:
    changed = {
        (design.slices[label].start, design.slices[label].stop): T
        for label, T in pieces.items()
        if T.shape[0] != T.shape[1]
    }
    if not changed:
        return block
    if isinstance(block, FactoredBlock):
        found = {(own.start, own.stop) for own in block.slices}
        if set(changed) <= found:
            parts = tuple(
                part.transform(changed[own.start, own.stop])
                if (own.start, own.stop) in changed
                else part
                for part, own in zip(block.parts, block.slices, strict=True)
            )
            return FactoredBlock(parts)
    return DenseBlock(block.dense() @ block_diag(*pieces.values()))
