"""The scores that models are compared by, and the same as scorers for scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk
from sklearn.metrics import get_scorer, get_scorer_names

from semistruct._registry import lookup
from semistruct._validation import check_sample_weight
from semistruct.estimators._composition import Kind
from semistruct.estimators.comparing.held_out import HeldOut
from semistruct.evaluation.antolini import antolini_concordance
from semistruct.evaluation.auc import integrated_auc
from semistruct.evaluation.brier import integrated_brier_score
from semistruct.evaluation.competing import (
    incidence_concordance,
    integrated_incidence_brier_score,
)
from semistruct.evaluation.concordance import concordance_index, concordance_index_ipcw
from semistruct.evaluation.scores import crps_sample, interval_score, log_score
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses import Surv, as_surv

__all__ = [
    "MEASURES",
    "Measure",
    "Scorer",
    "default_measures",
    "judged_times",
    "measure_of",
    "scorer",
]

_LEVEL = 0.9  # of the interval score
_N_TIMES = 60


@dataclass(frozen=True)
class Measure:
    """A score of predictions of held-out rows.

    Attributes
    ----------
    name : str
    label : str
        In tables and on axes.
    greater_is_better : bool
    kinds : tuple of str
        Responses that it is for: regressor, classifier, survival.
    function : callable
        From :class:`~semistruct.estimators.comparing.held_out.HeldOut` to a number.
    """

    name: str
    label: str
    greater_is_better: bool
    kinds: tuple[str, ...]
    function: Callable[[HeldOut], float]

    @property
    def sign(self) -> int:
        """1 where larger is better, else -1."""
        return 1 if self.greater_is_better else -1


def _auc(held: HeldOut) -> float:
    scores = held.class_scores
    options = {"sample_weight": held.sample_weight}
    if scores.ndim == 1:
        return float(sk.roc_auc_score(held.y, scores, **options))
    if len(held.classes) == 2:
        return float(sk.roc_auc_score(held.y == held.classes[1], scores[:, 1], **options))
    areas = [
        sk.roc_auc_score(held.y == label, scores[:, k], **options)
        for k, label in enumerate(held.classes)
    ]
    return float(np.mean(areas))


def _class_log_loss(held: HeldOut) -> float:
    return float(
        sk.log_loss(
            held.y, held.probabilities, labels=held.classes, sample_weight=held.sample_weight
        )
    )


def _class_brier(held: HeldOut) -> float:
    hit = np.asarray(held.y)[:, None] == held.classes
    losses = ((held.probabilities - hit) ** 2).sum(axis=1)
    return float(np.average(losses, weights=held.sample_weight))


def _interval(held: HeldOut) -> float:
    limits = held.interval(_LEVEL)
    return interval_score(
        held.y,
        limits["lower"].to_numpy(),
        limits["upper"].to_numpy(),
        level=_LEVEL,
        sample_weight=held.sample_weight,
    )


def _rmse(held: HeldOut) -> float:
    error = np.average((held.y - held.point) ** 2, weights=held.sample_weight)
    return float(np.sqrt(error))


def _integrated_brier(held: HeldOut) -> float:
    times = np.concatenate([[0.0], held.times])
    survival = np.vstack([np.ones(len(held.X)), held.survival.to_numpy()])
    return integrated_brier_score(
        held.y_train, held.y, survival.T, times, sample_weight=held.sample_weight
    )


def _antolini(held: HeldOut) -> float:
    return antolini_concordance(
        held.y,
        held.survival.to_numpy().T,
        held.times,
        tau=held.times[-1],
        sample_weight=held.sample_weight,
    )


def _incidence_brier(held: HeldOut, cause: int) -> float:
    times = np.concatenate([[0.0], held.times])
    incidence = np.vstack([np.zeros(len(held.X)), held.incidence(cause).to_numpy()])
    weight = held.sample_weight
    return integrated_incidence_brier_score(
        held.y_train, held.y, incidence.T, times, cause=cause, sample_weight=weight
    )


def _incidence_concordance(held: HeldOut, cause: int) -> float:
    risk = held.incidence(cause).iloc[-1].to_numpy()
    return incidence_concordance(held.y_train, held.y, risk, cause=cause, tau=held.times[-1])


_NUMBERS, _CLASSES, _SURVIVAL = ("regressor",), ("classifier",), ("survival",)


def _r2(held: HeldOut) -> float:
    return float(sk.r2_score(held.y, held.point, sample_weight=held.sample_weight))


def _mae(held: HeldOut) -> float:
    return float(np.average(np.abs(held.y - held.point), weights=held.sample_weight))


def _log_score(held: HeldOut) -> float:
    return log_score(held.log_prob, sample_weight=held.sample_weight)


def _crps(held: HeldOut) -> float:
    return crps_sample(held.y, held.quantiles, sample_weight=held.sample_weight)


def _accuracy(held: HeldOut) -> float:
    return float(np.average(held.labels == held.y, weights=held.sample_weight))


def _harrell(held: HeldOut) -> float:
    return concordance_index(held.y, held.risk, sample_weight=held.sample_weight)


def _uno(held: HeldOut) -> float:
    tau = held.times[-1]
    weight = held.sample_weight
    return concordance_index_ipcw(held.y_train, held.y, held.risk, tau, sample_weight=weight)


def _integrated_auc(held: HeldOut) -> float:
    risk = (1 - held.survival).to_numpy().T
    return integrated_auc(held.y_train, held.y, risk, held.times, sample_weight=held.sample_weight)


_NUMBERS, _CLASSES, _SURVIVAL = ("regressor",), ("classifier",), ("survival",)
_BOTH = (*_NUMBERS, *_CLASSES)

MEASURES: dict[str, Measure] = {
    "r2": Measure("r2", "R2", True, _NUMBERS, _r2),
    "rmse": Measure("rmse", "root mean squared error", False, _NUMBERS, _rmse),
    "mae": Measure("mae", "mean absolute error", False, _NUMBERS, _mae),
    "log_score": Measure("log_score", "log score", False, _BOTH, _log_score),
    "crps": Measure("crps", "CRPS", False, _NUMBERS, _crps),
    "interval_score": Measure("interval_score", "interval score", False, _NUMBERS, _interval),
    "auc": Measure("auc", "AUC", True, _CLASSES, _auc),
    "log_loss": Measure("log_loss", "log loss", False, _CLASSES, _class_log_loss),
    "brier": Measure("brier", "Brier score", False, _CLASSES, _class_brier),
    "accuracy": Measure("accuracy", "accuracy", True, _CLASSES, _accuracy),
    "concordance": Measure("concordance", "concordance", True, _SURVIVAL, _harrell),
    "uno": Measure("uno", "Uno's concordance", True, _SURVIVAL, _uno),
    "antolini": Measure("antolini", "Antolini's concordance", True, _SURVIVAL, _antolini),
    "ibs": Measure("ibs", "integrated Brier score", False, _SURVIVAL, _integrated_brier),
    "integrated_auc": Measure("integrated_auc", "integrated AUC", True, _SURVIVAL, _integrated_auc),
}


def competing_measures(n_causes: int) -> dict[str, Measure]:
    """Measures of the incidence of each of several causes."""
    found = {}
    for cause in range(1, n_causes + 1):
        for name, label, greater, function in (
            ("incidence_concordance", "concordance", True, _incidence_concordance),
            ("incidence_ibs", "integrated Brier score", False, _incidence_brier),
        ):
            own = f"{name}_{cause}"
            scored = partial(function, cause=cause)
            found[own] = Measure(own, f"{label}, cause {cause}", greater, _SURVIVAL, scored)
    return found


def default_measures(kind: Kind, y: Any) -> tuple[str, ...]:
    """The measures of a comparison where none are named."""
    if kind == "survival":
        if y.n_causes > 1:
            return tuple(competing_measures(y.n_causes))
        delayed = y.entry is not None and bool((y.entry > 0).any())
        return ("concordance",) if delayed else ("concordance", "ibs")
    return ("r2", "log_score", "crps") if kind == "regressor" else ("auc", "log_loss")


def measure_of(metric: Any, kind: Kind, name: str | None = None, *, n_causes: int = 1) -> Measure:
    """A measure by its name, by the name of a scorer of scikit-learn, or from a scorer.

    Raises
    ------
    SpecificationError
        If it is unknown or not for this kind of response.
    """
    if isinstance(metric, Measure):
        return metric
    if n_causes > 1 and isinstance(metric, str):
        return lookup(competing_measures(n_causes), metric, "metric of competing causes")
    if isinstance(metric, str) and metric in MEASURES:
        found = MEASURES[metric]
        if kind not in found.kinds:
            known = [m.name for m in MEASURES.values() if kind in m.kinds]
            raise SpecificationError(
                f"{metric!r} is no metric of {kind} models; these have {', '.join(known)}."
            )
        return found
    if isinstance(metric, str):
        if metric not in get_scorer_names():
            known = [m.name for m in MEASURES.values() if kind in m.kinds]
            raise SpecificationError(
                f"unknown metric {metric!r}; choose from {', '.join(known)}, a name of "
                "scikit-learn's scorers, or give a function of (model, X, y)."
            )
        scoring = get_scorer(metric)
        return Measure(metric, metric, True, (kind,), lambda held: held.foreign(scoring))
    if callable(metric):
        own = str(name or getattr(metric, "__name__", type(metric).__name__))
        return Measure(own, own, True, (kind,), lambda held: held.foreign(metric))
    raise SpecificationError(
        f"a metric is a name or a function of (model, X, y) whose larger values are better; got "
        f"{metric!r}."
    )


def judged_times(y: Surv, folds: Sequence[tuple[np.ndarray, np.ndarray]], times: Any) -> np.ndarray:
    """Times ``(T,)`` at which survival is judged in every fold.

    By default 60 quantiles of the event times, up to the 90th percentile and to the shortest
    follow-up of a fold; from when every fold has had an event.

    Raises
    ------
    DataError
        If a time is beyond the follow-up of a fold.
    """
    follow_up = min(min(y.time[train].max(), y.time[test].max()) for train, test in folds)
    if times is not None:
        grid = np.unique(np.asarray(times, dtype=float))
        if not grid.size or grid[-1] >= follow_up or not grid[0] > 0:
            raise DataError(
                f"times must be positive and before {follow_up:g}, the shortest follow-up of a "
                f"fold; got {times!r}."
            )
        return grid
    events = y.time[y.event & (y.time > 0)]
    first = max(y.time[test][y.event[test]].min(initial=np.inf) for _, test in folds)
    late = events <= np.quantile(events, 0.9)
    events = events[late & (events < follow_up) & (events >= first)]
    if not events.size:
        raise DataError("there is no event before the shortest follow-up of a fold; give times=.")
    return np.unique(np.quantile(events, np.linspace(0, 1, _N_TIMES), method="nearest"))


@dataclass(frozen=True)
class Scorer:
    """A measure as scikit-learn's searches call it: larger is better.

    Attributes
    ----------
    measure : Measure
    times : (T,) tuple of float or None
    y_train : Surv or None
    """

    measure: Measure
    times: tuple[float, ...] | None = None
    y_train: Any = None

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score of a fitted model on rows; the losses among the measures with a minus."""
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
        grid = np.empty(0)
        if "survival" in self.measure.kinds:
            y = as_surv(y)
            every = np.arange(len(y))
            grid = judged_times(y, [(every, every)], self.times)
        else:
            y = np.asarray(y)
        weight = check_sample_weight(sample_weight, len(frame))
        train = y if self.y_train is None else as_surv(self.y_train)
        held = HeldOut(estimator, frame, y, train, weight, grid)
        return self.measure.sign * self.measure.function(held)


def scorer(name: str, *, times: Any = None, y_train: Any = None) -> Scorer:
    """One of this package's scores as a scorer for ``GridSearchCV`` and ``cross_val_score``.

    Parameters
    ----------
    name : str
        Of numbers ``"r2"``, ``"rmse"``, ``"mae"``, ``"log_score"``, ``"crps"``,
        ``"interval_score"``; of classes ``"auc"``, ``"log_loss"``, ``"brier"``, ``"accuracy"``,
        ``"log_score"``; of survival ``"concordance"``, ``"uno"``, ``"antolini"``, ``"ibs"``,
        ``"integrated_auc"``.
    times : (T,) array-like, optional
        At which survival is judged; by default quantiles of the event times of the rows judged.
    y_train : Surv, optional
        From which the distribution of censoring is estimated; by default the rows judged.

    Returns
    -------
    Scorer
        ``scorer(model, X, y)``: larger is better, so that losses have a minus.

    Raises
    ------
    SpecificationError
        If the name is unknown.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from semistruct import CoxPH
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"x": rng.normal(size=90)})
    >>> y = Surv(rng.exponential(np.exp(-table["x"])), np.ones(90))
    >>> search = GridSearchCV(CoxPH("x"), {"ties": ["efron", "breslow"]}, scoring=scorer("ibs"))
    >>> bool(search.fit(table, y).best_score_ < 0)
    True
    """
    if name not in MEASURES:
        raise SpecificationError(f"unknown metric {name!r}; choose from {', '.join(MEASURES)}.")
    grid = None if times is None else tuple(float(t) for t in np.atleast_1d(times))
    return Scorer(MEASURES[name], grid, y_train)
