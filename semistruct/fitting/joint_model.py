"""Network and structured coefficients as one function of a batch: predictors, losses, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch import Tensor, nn

from semistruct.fitting.members import DeepProblem
from semistruct.fitting.two_pass import two_pass_backward
from semistruct.network import SemiStructuredNet
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.weighted_sum import Mean, ObjectiveSum, SumValue
from semistruct.terms.base import DesignBlock

__all__ = ["Judgement", "JointLoss", "JointModel"]

_DENSE_FLOATS = 5 * 10**7
_CHUNK = 256  # units scored at a time
_EIGENVALUE_FLOOR = 1e-8  # of the information with unit diagonal


@dataclass(frozen=True, eq=False)
class JointLoss:
    """What a step minimises: ``fit + aside.total``.

    Attributes
    ----------
    fit : scalar tensor
        Minus the penalised log-likelihood per unit of weight.
    aside : SumValue
        Auxiliary objectives.
    """

    fit: Tensor
    aside: SumValue

    def backward(self) -> JointLoss:
        """Add the gradient to every parameter, and forget the graph."""
        (self.fit + self.aside.total).backward()
        return JointLoss(self.fit.detach(), self.aside.detached())


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the model says of units it may not have seen, in evaluation mode.

    Attributes
    ----------
    scores : (u, T) array
    loss : float
        Minus their mean log-likelihood; infinite where that is not finite.
    aside : (J,) array
        Auxiliary objectives.
    """

    scores: np.ndarray
    loss: float
    aside: np.ndarray


class JointModel:
    """Penalised likelihood of a network and structured coefficients ``b`` in white coordinates.

    Parameters
    ----------
    problem : DeepProblem
    net : SemiStructuredNet
    device : torch device
    auxiliary : ObjectiveSum, optional
        What is minimised along with it.
    """

    def __init__(
        self,
        problem: DeepProblem,
        net: SemiStructuredNet,
        device: torch.device,
        auxiliary: ObjectiveSum | None = None,
    ) -> None:
        structured = problem.structured
        self.problem, self.net, self.device = problem, net, device
        self.auxiliary = ObjectiveSum() if auxiliary is None else auxiliary
        self.family = structured.family
        self.dtype = torch.get_default_dtype()
        # Follow-up times keep all their digits: rounding could tie them.
        digits = self.dtype if self.family.separable else torch.float64
        self.y = torch.as_tensor(structured.y, dtype=digits, device=device)
        self.strata = self._of_units(self.family.batch_strata(structured.y))
        self.offset = self._tensor(structured.offset)
        self.weight = self._tensor(structured.sample_weight)
        weights = problem.row_weights
        self.row_weights = None if weights is None else self._tensor(weights)
        self.white = _white_designs(problem)
        trained = {slot.param for slot in problem.blueprint.slots}
        self.b = [
            nn.Parameter(self._tensor(white.start), requires_grad=k in trained)
            for k, white in enumerate(self.white)
        ]
        self.penalty = [self._tensor(white.penalty) for white in self.white]
        self.slots = [(t, slot.param) for t, slot in enumerate(problem.blueprint.slots)]

    def eta(self, units: np.ndarray) -> Tensor:
        """Predictors of all rows of the units, one unit after the other."""
        return self._predictors(units, self._seen(units).scores)

    def _seen(self, units: np.ndarray) -> ForwardPass:
        return ForwardPass.of(self.net, self.problem.modalities, units, self.device)

    def _predictors(self, units: np.ndarray, scores: Tensor) -> Tensor:
        rows, place = self.problem.rows_of(units)
        if place is not None:
            scores = scores[torch.from_numpy(place).to(self.device)]
        if self.row_weights is not None:
            scores = scores * self.row_weights[rows]
        columns = [
            self._tensor(white.rows(rows)) @ b for white, b in zip(self.white, self.b, strict=True)
        ]
        for t, k in self.slots:
            columns[k] = columns[k] + scores[:, t]
        return torch.stack(columns, dim=1) + self.offset[rows]

    def _of_units(self, strata: np.ndarray | None) -> np.ndarray | None:
        """Batch strata of the units: of each the largest of its rows."""
        unit = self.problem.unit
        if strata is None or unit is None:
            return strata
        largest = np.full(int(unit.max()) + 1, strata.min())
        np.maximum.at(largest, unit, strata)
        return largest

    def shuffled(self, units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The units in an order whose every stretch has its share of every batch stratum."""
        order = rng.permutation(units)
        if self.strata is None:
            return order
        codes = self.strata[order]
        place = np.empty(len(order))
        for code in np.unique(codes):
            members = np.flatnonzero(codes == code)
            place[members] = (np.arange(len(members)) + rng.random()) / len(members)
        return order[np.argsort(place, kind="stable")]

    def loss(self, units: np.ndarray) -> JointLoss:
        """Minus the penalised log-likelihood per unit of weight, estimated from some units."""
        seen = self._seen(units)
        fit = self._fit(self._predictors(units, seen.scores), units)
        return JointLoss(fit + self.penalties(), self.auxiliary(seen))

    def loss_of(self, rows: np.ndarray, fit: Callable[[Tensor], Tensor]) -> JointLoss:
        """The same from a loss of the predictors of given rows."""
        units = self.problem.units(rows)
        read, _ = self.problem.rows_of(units)
        order = np.argsort(read)
        place = order[np.searchsorted(read[order], rows)]
        seen = self._seen(units)
        eta = self._predictors(units, seen.scores)
        own = fit(eta[torch.from_numpy(place).to(self.device)])
        return JointLoss(own + self.penalties(), self.auxiliary(seen))

    def _fit(self, eta: Tensor, units: np.ndarray) -> Tensor:
        rows, _ = self.problem.rows_of(units)
        return self.family.batch_loss(eta, self.y[rows], self.weight[rows])

    def backward_in_parts(self, chunks: list[np.ndarray]) -> JointLoss:
        """Back-propagate :meth:`loss` of all chunks together, holding the graph of one of them.

        Auxiliary objectives are those of the chunks, averaged.
        """
        units = np.concatenate(chunks)
        objectives = Mean(len(self.auxiliary))
        total = torch.zeros((), device=self.device)

        def second(chunk: np.ndarray) -> tuple[Tensor, Tensor]:
            nonlocal total
            seen = self._seen(chunk)
            aside = self.auxiliary(seen)
            share = aside.total * (len(chunk) / len(units))
            objectives.add(aside)
            total = total + share.detach()
            return self._predictors(chunk, seen.scores), share

        fit = two_pass_backward(
            self.net,
            self.eta,
            lambda eta: self._fit(eta, units),
            chunks,
            self.device,
            again=second if len(self.auxiliary) else None,
        )
        penalties = self.penalties()
        if penalties.requires_grad:
            penalties.backward()
        return JointLoss(fit + penalties.detach(), objectives.sum_value(total))

    def penalties(self) -> Tensor:
        """Half the quadratic forms of the structured coefficients."""
        return sum(
            (0.5 * (b @ M @ b) for b, M in zip(self.b, self.penalty, strict=True)),
            start=torch.zeros((), device=self.device),
        )

    @torch.no_grad()
    def judged(self, units: np.ndarray) -> Judgement:
        """Scores of units and the losses there, in evaluation mode."""
        self.net.eval()
        self.auxiliary.eval()
        objectives = Mean(len(self.auxiliary))
        scores, eta = [], []
        for part in np.array_split(units, max(1, math.ceil(len(units) / _CHUNK))):
            seen = self._seen(part)
            objectives.add(self.auxiliary(seen))
            scores.append(seen.scores)
            eta.append(self._predictors(part, scores[-1]))
        loss = float(self._fit(torch.cat(eta), units))
        return Judgement(
            torch.cat(scores).cpu().numpy(),
            loss if math.isfinite(loss) else math.inf,
            objectives.value,
        )

    def beta(self) -> np.ndarray:
        """The structured coefficients ``(P,)`` in the coordinates of the designs."""
        own = [b.detach().double().cpu().numpy() for b in self.b]
        return np.concatenate([white.T @ b for white, b in zip(self.white, own, strict=True)])

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)


class _WhiteDesign:
    """Design of one predictor times ``sqrt(n) L^-T``, where ``L L'`` is its penalised information.

    Then ``beta = sqrt(n) L^-T b`` and ``beta' S beta / n = b' M b`` with ``M = L^-1 S L^-T``.
    """

    def __init__(
        self, block: DesignBlock, beta: np.ndarray, H: np.ndarray, S_lam: np.ndarray
    ) -> None:
        n, p = block.shape
        L = _root(H + S_lam)
        self.block = block
        self.T = np.sqrt(n) * solve_triangular(L, np.eye(p), lower=True, trans="T")
        self.start = L.T @ beta / np.sqrt(n)
        half = solve_triangular(L, S_lam, lower=True)
        self.penalty = solve_triangular(L, half.T, lower=True)
        small = n * p <= _DENSE_FLOATS
        self.dense = block.matvec(self.T).astype(np.float32) if small else None

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """White columns of some rows, ``(b, p)``."""
        if self.dense is not None:
            return self.dense[rows]
        return self.block.take(rows).matvec(self.T)


def _root(information: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor, with a ridge where the information is not positive definite."""
    d = np.maximum(np.diag(information), np.finfo(float).tiny)
    unit = information / np.sqrt(np.outer(d, d))
    values, vectors = np.linalg.eigh(unit)
    floored = (vectors * np.maximum(values, _EIGENVALUE_FLOOR)) @ vectors.T
    return np.sqrt(d)[:, None] * np.linalg.cholesky((floored + floored.T) / 2)


def _white_designs(problem: DeepProblem) -> list[_WhiteDesign]:
    start = problem.start
    return [
        _WhiteDesign(block, start.beta[at], start.H[at, at], start.S_lam[at, at])
        for block, at in zip(problem.structured.blocks, start.slices, strict=True)
    ]
