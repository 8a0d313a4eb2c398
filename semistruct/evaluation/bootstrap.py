"""Standard errors and intervals of any score, by drawing rows again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semistruct._validation import check_length, is_positive_whole
from semistruct.exceptions import DataError, SpecificationError
from semistruct.responses import Surv

__all__ = ["BootstrapInterval", "bootstrap_interval"]

_MOST_FAILURES = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapInterval:
    """A score with its uncertainty.

    Attributes
    ----------
    estimate : float
        Of the rows as they are.
    std_error : float
    lower, upper : float
        Percentiles of the samples.
    samples : (B,) array
        Scores of the samples that have one.
    """

    estimate: float
    std_error: float
    lower: float
    upper: float
    samples: np.ndarray

    def __repr__(self) -> str:
        return (
            f"BootstrapInterval({self.estimate:.4f} [{self.lower:.4f}, {self.upper:.4f}], "
            f"standard error {self.std_error:.4f})"
        )


def bootstrap_interval(
    score: Callable[..., float],
    y: Any,
    *predictions: Any,
    groups: Any = None,
    n_samples: int = 500,
    level: float = 0.95,
    random_state: int = 0,
) -> BootstrapInterval:
    """Bootstrap of a score over the rows on which it is computed.

    Parameters
    ----------
    score : callable
        ``score(y, *predictions)`` is a number. What stays the same is set before: the training
        rows of a Brier score by ``lambda y, s: integrated_brier_score(y_train, y, s)``.
    y : Surv or (n,) array-like
    *predictions : array-like of n rows, or DataFrame of curves
        A table with one column per row, as of ``predict_survival_function``, is drawn by column.
    groups : (n,) array-like, optional
        Rows that are drawn together; by default the ``id`` of a :class:`~semistruct.Surv`.
    n_samples : int
    level : float
    random_state : int

    Returns
    -------
    BootstrapInterval
        Of these predictions on such rows. What a refitted model would predict varies more, which
        :func:`semistruct.compare` shows.

    Raises
    ------
    DataError
        If lengths differ, or the score has no value in more than a tenth of the samples.
    SpecificationError
        If an option is out of range.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, sections 6.2 and 13.3.

    Examples
    --------
    >>> from semistruct.metrics import concordance_index
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.normal(size=200)
    >>> y = Surv(rng.exponential(np.exp(-risk)), np.ones(200))
    >>> found = bootstrap_interval(concordance_index, y, risk, n_samples=100)
    >>> found.lower < found.estimate < found.upper
    True
    """
    if not is_positive_whole(n_samples) or n_samples < 2:
        raise SpecificationError(
            f"n_samples must be a whole number of 2 or more, got {n_samples!r}."
        )
    if not 0 < level < 1:
        raise SpecificationError(f"level must be between 0 and 1, got {level!r}.")
    n = len(y)
    if groups is None and isinstance(y, Surv):
        groups = y.id
    if groups is None:
        codes = np.arange(n)
    else:
        check_length(n, groups, "groups")
        codes = pd.factorize(np.asarray(groups, dtype=object))[0]
    values = [y if isinstance(y, (Surv, pd.Series)) else np.asarray(y), *predictions]
    pickers = [_picker(value, n, k) for k, value in enumerate(values)]
    estimate = float(score(*values))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(random_state)
    found = []
    for _ in range(int(n_samples)):
        drawn = rng.integers(0, len(members), len(members))
        rows = drawn if groups is None else np.concatenate([members[g] for g in drawn])
        try:
            found.append(float(score(*(pick(rows) for pick in pickers))))
        except DataError:
            continue  # a sample without a comparable pair, or with one class only
    if len(found) < (1 - _MOST_FAILURES) * n_samples:
        raise DataError(
            f"the score has no value in {n_samples - len(found)} of {n_samples} samples; there are "
            "too few rows or events for a bootstrap."
        )
    samples = np.array(found)
    lower, upper = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(
        estimate, float(samples.std(ddof=1)), float(lower), float(upper), samples
    )


def _picker(value: Any, n: int, position: int) -> Callable[[np.ndarray], Any]:
    """Rows of a value, by position; of a table of curves its columns."""
    if isinstance(value, pd.DataFrame) and len(value) != n and value.shape[1] == n:
        return lambda rows: value.iloc[:, rows]
    if isinstance(value, (pd.DataFrame, pd.Series)):
        check_length(n, value, f"argument {position}")
        return lambda rows: value.iloc[rows]
    if isinstance(value, Surv):
        # Drawn twice, a subject is two: its rows must not be taken for one.
        return lambda rows: Surv(
            value.time[rows],
            value.cause[rows],
            None if value.entry is None else value.entry[rows],
            n_causes=value.n_causes,
        )
    array = np.asarray(value)
    check_length(n, array, f"argument {position}")
    return lambda rows: array[rows]
