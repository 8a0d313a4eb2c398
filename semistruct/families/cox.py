"""The Cox model: a partial likelihood whose baseline hazard is left free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import SpecificationError
from semistruct.families.base import BoundObjective, Curvature, CurvatureKind, Objective
from semistruct.links import LINKS, Link
from semistruct.losses import (
    CoxHessian,
    CoxRiskSets,
    cox_partial_likelihood,
    cox_score_residuals,
)
from semistruct.losses.cox import Ties
from semistruct.losses.cox_information import CoxPoint, SortedDesign, sort_design

__all__ = ["BoundCox", "CoxCurvature", "CoxPartialLikelihood"]

# Columns of an encoded follow-up.
ENTRY, TIME, EVENT, STRATUM = range(4)


@dataclass(frozen=True)
class CoxPartialLikelihood(Objective):
    """Log partial likelihood of one predictor, the log hazard ratio.

    Parameters
    ----------
    ties : {"efron", "breslow"}

    Notes
    -----
    The response of a row is ``(entry, time, event, stratum)``, all numbers, so that rows can be
    taken like those of any response; see :meth:`encode`. A row has no likelihood of its own: what
    a set of rows contributes depends on who else is at risk.

    References
    ----------
    Cox (1972), J. R. Stat. Soc. B 34; Efron (1977), JASA 72; Breslow (1974), Biometrics 30.
    """

    ties: Ties = "efron"

    param_names: ClassVar[tuple[str, ...]] = ("log_hazard",)
    separable: ClassVar[bool] = False
    has_intercept: ClassVar[bool] = False
    ratios: ClassVar[bool] = True
    links: ClassVar[tuple[Link, ...]] = (LINKS["identity"],)

    def __post_init__(self) -> None:
        if self.ties not in ("efron", "breslow"):
            raise SpecificationError(f"ties must be 'efron' or 'breslow', got {self.ties!r}.")

    @staticmethod
    def encode(
        time: np.ndarray,
        event: np.ndarray,
        entry: np.ndarray | None = None,
        stratum: np.ndarray | None = None,
    ) -> np.ndarray:
        """Follow-up as an array ``(n, 4)``; without entry a row is at risk from the start."""
        n = len(time)
        started = np.full(n, -np.inf) if entry is None else entry
        return np.column_stack([started, time, event, np.zeros(n) if stratum is None else stratum])

    def bind(self, y: np.ndarray, weight: np.ndarray) -> BoundCox:
        risk_sets = _risk_sets(y[:, ENTRY], y[:, TIME], y[:, EVENT], y[:, STRATUM])
        plain = bool((weight == 1.0).all())
        return BoundCox(risk_sets, None if plain else weight, self.ties)

    def batch_loss(self, eta: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Risk sets are those within the batch; per unit of weight of its events."""
        return cox_partial_likelihood(
            eta[:, 0],
            risk_sets=_risk_sets(y[:, ENTRY], y[:, TIME], y[:, EVENT], y[:, STRATUM]),
            weights=weight,
            ties=self.ties,
            reduction="mean",
        )

    def observations(self, y: np.ndarray) -> str:
        return f"{len(y)}, {int(y[:, EVENT].sum())} events"

    def batch_strata(self, y: np.ndarray) -> np.ndarray:
        return y[:, EVENT].astype(int)


def _risk_sets(entry: Any, time: Any, event: Any, stratum: Any) -> CoxRiskSets:
    """Risk sets from encoded columns; entry and strata are left out where they do nothing."""
    device = time.device if isinstance(time, Tensor) else None
    entry, time, event, stratum = (
        np.asarray(torch.as_tensor(c).cpu()) for c in (entry, time, event, stratum)
    )
    return CoxRiskSets.from_data(
        time,
        event,
        entry if np.isfinite(entry).any() else None,
        stratum if len(stratum) and (stratum != stratum[0]).any() else None,
        device=device,
    )


@dataclass(frozen=True, eq=False)
class CoxCurvature(Curvature):
    """Curvature of a partial likelihood: ``diag(d) - R' R``, never formed.

    The information of the last block asked for is kept: a Newton iteration ends where the next
    one, and the report, begin.
    """

    hessian: CoxHessian
    dense: _DenseDesign
    _known: list[tuple[Any, np.ndarray]] = field(default_factory=list, repr=False)

    def gram(self, blocks: Sequence[Any]) -> np.ndarray:
        (block,) = blocks
        if not block.shape[1]:
            return np.zeros((0, 0))
        if not (self._known and self._known[0][0] is block):
            design = self.dense.sorted(block) if self.hessian.walks else None
            if design is None:
                found = self.hessian.gram(self.dense.of(block))
            else:
                found = self.hessian.sorted_gram(design)
            self._known[:] = [(block, found.numpy())]
        return self._known[0][1].copy()


class _DenseDesign:
    """The dense columns of the last block asked for, as every Newton step asks for the same."""

    def __init__(self, risk_sets: CoxRiskSets) -> None:
        self._risk_sets = risk_sets
        self._block: Any = None
        self._known: dict[str, Any] = {}

    def of(self, block: Any) -> np.ndarray:
        """The columns ``(n, p)``."""
        return self._at(block, "columns", block.dense)

    def sorted(self, block: Any) -> SortedDesign | None:
        """The columns sorted by the risk sets, where these are sorted."""
        return self._at(block, "sorted", lambda: sort_design(block.readable(), self._risk_sets))

    def _at(self, block: Any, name: str, make: Callable[[], Any]) -> Any:
        if self._block is not block:
            self._block, self._known = block, {}
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


class _Kept:
    """What is known at the last predictor: solvers come back to where they just were."""

    def __init__(self) -> None:
        self._eta: np.ndarray | None = None
        self._values: dict[str, Any] = {}

    def at(self, eta: np.ndarray, name: str, compute: Callable[[], Any]) -> Any:
        if self._eta is None or not np.array_equal(self._eta, eta):
            self._eta, self._values = eta.copy(), {}
        if name not in self._values:
            self._values[name] = compute()
        return self._values[name]


@dataclass(frozen=True, eq=False)
class BoundCox(BoundObjective):
    """A partial likelihood with its risk sets, sorted once.

    Attributes
    ----------
    risk_sets : CoxRiskSets
    weight : (n,) array or None
    ties : {"efron", "breslow"}
    """

    risk_sets: CoxRiskSets
    weight: np.ndarray | None
    ties: Ties
    _kept: _Kept = field(default_factory=_Kept, repr=False)

    @cached_property
    def _dense(self) -> _DenseDesign:
        return _DenseDesign(self.risk_sets)

    def contributions(self, eta: np.ndarray) -> np.ndarray:
        return -self._loss(eta, "none")

    def loglik(self, eta: np.ndarray) -> float:
        if not np.isfinite(eta).all():
            return -np.inf
        value = self._kept.at(eta, "loglik", lambda: self._point(eta).loglik)
        return value if np.isfinite(value) else -np.inf

    def score(self, eta: np.ndarray) -> np.ndarray:
        event = self.risk_sets.event.numpy()
        weighted = event if self.weight is None else event * self.weight
        return (weighted - self.hessian(eta).diagonal.numpy())[:, None]

    def curvature(self, eta: np.ndarray, kind: CurvatureKind = "observed") -> Curvature:
        """The observed one; the partial likelihood has no other."""
        return self._kept.at(eta, "curvature", lambda: CoxCurvature(self.hessian(eta), self._dense))

    def score_residuals(self, eta: np.ndarray, blocks: Sequence[Any]) -> np.ndarray:
        """Lin and Wei's (1989), weighted."""
        (block,) = blocks
        residuals = cox_score_residuals(
            eta[:, 0], self._dense.of(block), self.risk_sets, weights=self.weight, ties=self.ties
        )
        return residuals.numpy()

    def hessian(self, eta: np.ndarray) -> CoxHessian:
        """The Hessian of the negative log partial likelihood at ``eta`` ``(n, 1)``."""
        return self._point(eta).hessian

    def _point(self, eta: np.ndarray) -> CoxPoint:
        return self._kept.at(
            eta,
            "point",
            lambda: CoxPoint.of(eta[:, 0], self.risk_sets, weights=self.weight, ties=self.ties),
        )

    def _loss(self, eta: np.ndarray, reduction: Any) -> np.ndarray:
        with torch.no_grad():
            loss = cox_partial_likelihood(
                torch.from_numpy(np.ascontiguousarray(eta[:, 0])),
                risk_sets=self.risk_sets,
                weights=None if self.weight is None else torch.from_numpy(self.weight),
                ties=self.ties,
                reduction=reduction,
            )
        return loss.numpy()
