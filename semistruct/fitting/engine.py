"""A problem without its absent rows: evaluations, and coefficients converged at given smoothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from semistruct.design import Design
from semistruct.exceptions import SpecificationError
from semistruct.families.base import BoundObjective, Objective
from semistruct.fitting._likelihood import Dispersion, Likelihood
from semistruct.fitting.criteria import CRITERIA, CriterionValue, SmoothingMethod
from semistruct.fitting.least_squares import condensed
from semistruct.fitting.newton import (
    NewtonResult,
    Point,
    evaluate,
    penalised_newton,
    solve_dispersion,
)
from semistruct.fitting.penalties import PenaltySystem, PlacedPenalty
from semistruct.linalg import penalised_cholesky
from semistruct.terms import DenseBlock, DesignBlock

__all__ = ["DispersionRule", "Engine", "Settled", "StructuredProblem"]

# How a profiled dispersion counts the degrees of freedom of the other coefficients: the effective
# ones, or what maximises the restricted or the marginal likelihood at any smoothing parameters.
DispersionRule = Literal["edf", "reml", "ml"]

# A dispersion stays above this multiple of the null model's, on the scale of a standard deviation.
_SCALE_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class StructuredProblem:
    """A likelihood, its response and the designs of its ``K`` parameters.

    Attributes
    ----------
    family : Objective
    y : (n, ...) array
        Validated response.
    designs : tuple of K Design
        Names, penalties and fixed smoothing parameters are read from them.
    blocks : tuple of K DesignBlock
        The designs at the training rows.
    offset : (n, K) array
    sample_weight : (n,) array
        Case weights; a row of weight zero is absent.
    """

    family: Objective
    y: np.ndarray
    designs: tuple[Design, ...]
    blocks: tuple[DesignBlock, ...]
    offset: np.ndarray
    sample_weight: np.ndarray

    def bind(self) -> BoundObjective:
        """The likelihood of these rows as a function of their predictors ``(n, K)``."""
        return self.family.bind(
            np.ascontiguousarray(self.y), np.ascontiguousarray(self.sample_weight, dtype=float)
        )


@dataclass(frozen=True)
class Settled:
    """Converged coefficients and dispersion at given smoothing parameters.

    Attributes
    ----------
    point : Point
    lam : (J,) array
        On the likelihood's scale.
    newton : NewtonResult
        Of the last Newton iterations; ``point`` may have a later dispersion.
    V : (P, P) array
        Inverse of ``H + S_lam`` at ``point``.
    """

    point: Point
    lam: np.ndarray
    newton: NewtonResult
    V: np.ndarray


@dataclass(frozen=True, eq=False)
class Engine:
    """The problem without absent rows, and what all its fits share.

    Attributes
    ----------
    likelihood : Likelihood
    penalties : PenaltySystem
    fixed : tuple of J (float or None)
        Smoothing parameters that the user fixed, on the reported scale.
    start : (P,) array
        Coefficients of (nearly) constant predictors.
    floor : float
        Lowest ``log t`` of a profiled dispersion.
    loglik_null : float
    """

    likelihood: Likelihood
    penalties: PenaltySystem
    fixed: tuple[float | None, ...]
    start: np.ndarray
    floor: float
    loglik_null: float

    @classmethod
    def of(cls, problem: StructuredProblem) -> Engine:
        """Drop rows of weight zero, recognise a dispersion, fit the null model."""
        y, weight, offset = problem.y, problem.sample_weight, problem.offset
        blocks = tuple(problem.blocks)
        rows = np.flatnonzero(weight > 0)
        if rows.size < len(y):
            y, weight, offset = y[rows], weight[rows], offset[rows]
            blocks = tuple(block.take(rows) for block in blocks)
        data = (np.ascontiguousarray(y), np.ascontiguousarray(weight, dtype=float))
        offset = np.ascontiguousarray(offset, dtype=float)
        family = problem.family
        plain = Likelihood(family, *data, blocks, offset)
        likelihood = Likelihood(
            family, *data, blocks, offset, _profiled(family, problem.designs, plain)
        )
        placed, fixed = [], []
        for design, columns in zip(problem.designs, likelihood.slices, strict=True):
            for penalty in design.penalties:
                at = slice(
                    columns.start + penalty.columns.start, columns.start + penalty.columns.stop
                )
                placed.append(PlacedPenalty(penalty.label, at, penalty.S))
                fixed.append(penalty.lam)
        constants, floor, loglik_null = _null_model(likelihood)
        start = np.zeros(likelihood.size)
        for k, (design, columns) in enumerate(zip(problem.designs, likelihood.slices, strict=True)):
            start[columns] = _constant_start(design, blocks[k], data[1], constants[k])
        return cls(
            likelihood,
            PenaltySystem.build(likelihood.size, placed),
            tuple(fixed),
            start,
            floor,
            loglik_null,
        )

    @cached_property
    def quick(self) -> Engine:
        """The engine that gives the same numbers from fewer rows, or this one."""
        few = condensed(self.likelihood)
        return self if few is None else replace(self, likelihood=few)

    def variance(self, beta: np.ndarray) -> float:
        """``t ** power`` at ``beta``; one where no dispersion is profiled."""
        at = self.likelihood.dispersion
        return 1.0 if at is None else float(np.exp(at.power * beta[at.column]))

    def interpolates(self, beta: np.ndarray) -> bool:
        """Whether the dispersion has reached its floor: the response is fitted exactly."""
        at = self.likelihood.dispersion
        return at is not None and bool(beta[at.column] <= self.floor + 1e-6)

    def first_smoothing(
        self, start: np.ndarray | None, given: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """First smoothing parameters (reported scale) and which of them are free."""
        if given is not None:
            given = np.asarray(given, dtype=float)
            if given.shape != (len(self.fixed),):
                raise SpecificationError(
                    f"smoothing must have one value for each of the {len(self.fixed)} penalties, "
                    f"got shape {given.shape}."
                )
            return given.copy(), np.zeros(len(self.fixed), dtype=bool)
        sp = np.ones(len(self.fixed)) if start is None else start.copy()
        free = np.array([value is None for value in self.fixed], dtype=bool)
        for j, value in enumerate(self.fixed):
            if value is not None:
                sp[j] = value
        return sp, free

    def at(self, beta: np.ndarray, sp: np.ndarray) -> Point:
        """Evaluate at ``beta`` under reported smoothing parameters."""
        return evaluate(self.likelihood, beta, self.penalties.matrix(sp / self.variance(beta)))

    def shifted(self, point: Point, sp: np.ndarray, V: np.ndarray, rule: DispersionRule) -> Point:
        """The point after ``log t`` has moved to the root of its equation."""
        at = self.likelihood.dispersion
        if at is None:
            return point
        lam = sp / self.variance(point.beta)
        quadratic = float(lam @ self.penalties.quadratic(point.beta)) if rule != "edf" else 0.0
        degrees = 0.0
        if rule == "edf":
            degrees = float(np.vdot(V, point.H)) - V[at.column, at.column] * float(
                point.H[at.column, at.column]
            )
        elif rule == "reml":
            degrees = point.beta.size - 1 - self.penalties.determinant(lam).rank
        shift = solve_dispersion(
            self.likelihood,
            point.eta,
            degrees=degrees,
            quadratic=quadratic,
            floor=self.floor - point.beta[at.column],
        )
        if shift == 0.0:
            return point
        beta = point.beta.copy()
        beta[at.column] += shift
        return self.at(beta, sp)

    def settle(
        self, sp: np.ndarray, beta: np.ndarray, rule: DispersionRule, polish: bool = False
    ) -> Settled:
        """Converge coefficients and dispersion; the reported smoothing parameters stay put."""
        if self.quick is not self:
            few = self.quick.settle(sp, beta, rule, polish)
            point = self.at(few.point.beta, sp)
            return replace(few, point=point, V=point.factor.inverse())
        point = self.at(beta, sp)
        for _ in range(20):
            newton = penalised_newton(self.likelihood, point, polish=polish)
            point = newton.point
            V = point.factor.inverse()
            moved = self.shifted(point, sp, V, rule)
            if moved is point:
                break
            shift = np.abs(moved.beta - point.beta).max()
            point, V = moved, moved.factor.inverse()
            if shift < 1e-9:
                break
        return Settled(point, sp / self.variance(point.beta), newton, V)

    def reported(self, settled: Settled) -> tuple[np.ndarray, np.ndarray]:
        """``H`` and ``V`` for inference: expected curvature where one predictor is modelled."""
        point, at = settled.point, self.likelihood.dispersion
        if not self.likelihood.glm_like or point.kind == "expected":
            return point.H, settled.V
        H = self.likelihood.information(point.eta, "expected")
        if at is not None and point.H[at.column, at.column] > 0:
            # The observed curvature of log t knows the degrees of freedom spent.
            H[at.column, at.column] = point.H[at.column, at.column]
        return H, penalised_cholesky(H + point.S_lam).inverse()

    def criterion(
        self, settled: Settled, method: SmoothingMethod, free: np.ndarray
    ) -> CriterionValue:
        """The criterion and its gradient at settled coefficients."""
        return CRITERIA[method](
            self.likelihood, self.penalties, settled.point, settled.V, settled.lam, free
        )


def _profiled(
    family: Objective, designs: tuple[Design, ...], likelihood: Likelihood
) -> Dispersion | None:
    """The family's dispersion, when its predictor is one unpenalised intercept (and offsets)."""
    if family.dispersion is None or len(likelihood.blocks) < 2:
        return None
    name, power = family.dispersion
    k = family.param_names.index(name)
    block = likelihood.blocks[k]
    if block.shape[1] != 1 or designs[k].penalties:
        return None
    if not np.array_equal(block.matvec(np.ones(1)), np.ones(likelihood.n)):
        return None
    return Dispersion(k, likelihood.slices[k].start, power)


def _null_model(likelihood: Likelihood) -> tuple[np.ndarray, float, float]:
    """Constants ``(K,)`` of the model of intercepts, the floor of ``log t``, its likelihood."""
    family, y, weight = likelihood.family, likelihood.y, likelihood.weight
    offset = likelihood.offset
    K = offset.shape[1]
    if not family.has_intercept:  # a partial likelihood has no constants
        return np.zeros(K), -np.inf, likelihood.loglik(offset)
    ones = tuple(DenseBlock(np.ones((len(y), 1))) for _ in range(K))
    at = None
    if family.dispersion is not None:
        k = family.param_names.index(family.dispersion[0])
        at = Dispersion(k, k, family.dispersion[1])
    constant = Likelihood(family, y, weight, ones, offset, at)
    constant = condensed(constant) or constant
    first = family.initial_eta(torch.from_numpy(y), torch.from_numpy(weight)).numpy()
    centre = offset.T @ weight / weight.sum()
    beta = np.array(first, dtype=float) - centre
    floor = -np.inf
    if at is not None:
        floor = beta[at.column] + 2 / at.power * np.log(_SCALE_FLOOR)
    nothing = np.zeros((K, K))
    moments = beta
    point = evaluate(constant, beta, nothing)
    for _ in range(20):
        point = penalised_newton(constant, point, polish=True).point
        if at is None:
            break
        lowest = floor - point.beta[at.column]
        shift = solve_dispersion(constant, point.eta, degrees=0.0, floor=lowest)
        beta = point.beta.copy()
        beta[at.column] += shift
        point = evaluate(constant, beta, nothing)
        if abs(shift) < 1e-9:
            break
    # Without covariates a shape may have no finite maximum (t with the tails of a mixture looks
    # normal); several predictors start from moments, which are never far off.
    start = moments if at is None and K > 1 else point.beta
    return start, floor, point.loglik


def _constant_start(
    design: Design, block: DesignBlock, weight: np.ndarray, constant: float
) -> np.ndarray:
    """Coefficients whose predictor is nearest to a constant."""
    beta = np.zeros(block.shape[1])
    if "Intercept" in design.names:
        beta[design.names.index("Intercept")] = constant
    elif beta.size and constant != 0.0:
        from_rows = block.rmatvec(weight * constant)
        gram = block.gram(weight)
        scale = np.trace(gram) / beta.size
        beta = np.linalg.solve(gram + 1e-6 * max(scale, 1e-300) * np.eye(beta.size), from_rows)
    return beta
