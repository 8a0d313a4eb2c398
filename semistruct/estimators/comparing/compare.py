"""Comparison of models by cross-validation on the same folds."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from semistruct._validation import check_length, check_sample_weight, is_positive_whole
from semistruct.estimators._composition import Kind
from semistruct.estimators._fingerprints import fingerprint
from semistruct.estimators._input import response_values
from semistruct.estimators._members import fresh, kind_of, rows_of
from semistruct.estimators.comparing.baselines import add_baselines
from semistruct.estimators.comparing.checkpoint import Checkpoint, Outcome
from semistruct.estimators.comparing.measures import (
    Measure,
    default_measures,
    judged_times,
    measure_of,
)
from semistruct.estimators.comparing.result import ModelComparison
from semistruct.estimators.comparing.running import Data, Fold, evaluate
from semistruct.estimators.late.cross_predictions import fold_pairs, shared_rows
from semistruct.exceptions import (
    DataError,
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)
from semistruct.responses import Surv, as_surv

__all__ = ["compare"]

_FORMAT = 1  # of the checkpoint


def compare(
    models: Mapping[str, Any],
    X: pd.DataFrame,
    y: Any,
    *,
    cv: Any = 5,
    n_repeats: int = 1,
    metrics: Any = None,
    baselines: bool = True,
    groups: Any = None,
    sample_weight: Any = None,
    times: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
    random_state: int = 0,
) -> ModelComparison:
    """Compare models by cross-validation on the same folds, each modality's own model among them.

    Parameters
    ----------
    models : mapping of str to estimator
        By name: models of this package, of scikit-learn or scikit-survival, fitters of lifelines,
        models of pyGAM, formula models of statsmodels by :func:`~semistruct.wrap`, and fusions,
        pipelines and searches of them. A search is tuned inside every training fold. Models that
        read no pictures see the tabular columns.
    X : DataFrame of n rows
    y : array-like or Surv of n rows
        Numbers, classes or follow-up.
    cv : int, splitter of scikit-learn, or list of (training rows, held-out rows)
        Of a number: rows of one subject (``groups``, or the ``id`` of a
        :class:`~semistruct.Surv`) and of one picture stay in one fold, and folds have equal shares
        of classes and events.
    n_repeats : int
        Cross-validations with other folds; more than one needs a number as ``cv``.
    metrics : str, scorer, sequence or mapping of them, optional
        Names as of :func:`semistruct.metrics.scorer` or of scikit-learn's scorers, or functions of
        ``(model, X, y)`` whose larger values are better. The first is what models are ordered by.
        By default R2, log score and CRPS; AUC and log loss for classes; concordance and integrated
        Brier score for follow-up, of competing causes those of each incidence
        (``"incidence_concordance_1"``, ``"incidence_ibs_1"``, ...).
    baselines : bool
        Whether to add what every comparison needs and is not there yet: a model without
        covariates, and of the models with a formula that has pictures the table alone and every
        column of pictures alone.
    groups : (n,) array-like, optional
        Rows with one value stay in one fold.
    sample_weight : (n,) array-like, optional
        Case weights, for fits and scores; a row of weight zero is left out.
    times : (T,) array-like, optional
        At which survival is judged. By default 60 quantiles of the event times, up to their 90th
        percentile and to the shortest follow-up of a fold, from when every fold has had an event.
    checkpoint : path, optional
        A file that every finished fit is written to. A comparison that was interrupted and is
        called again with the same arguments goes on, and ends with the same numbers. Fits that
        failed are tried again.
    n_jobs : int, optional
        Fits at the same time, as in joblib; changes no number.
    progress : bool
        Whether to draw a progress bar.
    random_state : int
        Of the folds, and of every model that leaves its own ``random_state`` open.

    Returns
    -------
    ModelComparison
        With ``table()``, ``differences()``, ``plot()``, and so on.

    Raises
    ------
    SpecificationError
        If an option makes no sense, or what is no model is among the models.
    UnsupportedCombinationError
        If models predict different kinds of responses.
    DataError
        If no model could be fitted to any fold.

    Warns
    -----
    DataWarning
        If a model failed on a fold; what it said is in ``ModelComparison.failures()``.

    Notes
    -----
    Scores of one fold are compared with scores of the same fold, and the uncertainty of their
    differences is corrected for the overlap of training sets, see
    :func:`~semistruct.evaluation.resampled.resampled_mean`. Whatever a model learns, it learns
    inside the training rows: networks, features of pictures, weights of fusions, tuning.

    Distributions are scored by 99 quantiles (CRPS), probabilities of survival with weights for
    censoring that are estimated from the training rows.

    References
    ----------
    Nadeau & Bengio (2003), Machine Learning 52, 239-281. Bouckaert & Frank (2004), PAKDD, 3-12.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from semistruct import SemiStructuredRegressor
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"x": rng.uniform(size=200), "z": rng.normal(size=200)})
    >>> price = np.sin(6 * table["x"]) + table["z"] + rng.normal(0, 0.3, 200)
    >>> found = compare(
    ...     {"linear": LinearRegression(), "smooth": SemiStructuredRegressor("s(x) + z")},
    ...     table,
    ...     price,
    ...     progress=False,
    ... )
    >>> list(found.table().index), found.winner().model
    (['smooth', 'linear', 'no covariates'], 'smooth')
    """
    given = _checked_models(models)
    kind = _kind(given, y)
    if not is_positive_whole(n_repeats):
        raise SpecificationError(f"n_repeats must be a positive whole number, got {n_repeats!r}.")
    if not isinstance(random_state, (int, np.integer)) or isinstance(random_state, bool):
        raise SpecificationError(
            f"random_state must be a whole number, so that the folds can be made again; got "
            f"{random_state!r}."
        )
    X, response, weight, groups = _used(X, y, sample_weight, groups, kind)
    pairs, shared, strata = _folds(cv, int(n_repeats), X, response, groups, kind, random_state)
    measures = _measures(metrics, kind, response)
    survival = kind == "survival"
    grid = judged_times(response, [f for one in pairs for f in one], times) if survival else None
    if times is not None and not survival:
        raise SpecificationError("times= are for survival models; leave them out.")
    data = Data(X, response, weight, groups, shared, strata, np.empty(0) if grid is None else grid)
    every, roles = add_baselines(given, X, kind) if baselines else (given, {})
    folds = [
        Fold(repeat, number, train, test)
        for repeat, one in enumerate(pairs)
        for number, (train, test) in enumerate(one)
    ]
    common = fingerprint(
        (
            _FORMAT,
            version("semistruct"),
            X,
            response,
            weight,
            groups,
            data.times,
            int(random_state),
            _named(measures),
        )
    )
    tasks = [
        (fingerprint((common, name, model, fold.train, fold.test)), name)
        for fold in folds
        for name, model in every.items()
    ]
    jobs = {
        key: (key, name, every[name], fold, data, measures, int(random_state))
        for (key, name), fold in zip(tasks, [f for f in folds for _ in every], strict=True)
    }
    outcomes = _run(jobs, Checkpoint(checkpoint), n_jobs, progress)
    result = ModelComparison(
        outcomes=tuple(outcomes[key] for key, _ in tasks),
        measures=measures,
        models=tuple(every),
        roles=roles,
        kind=kind,
        n_rows=len(X),
        n_groups=int(shared.max()) + 1,
        times=data.times,
    )
    _tell(result)
    return result


def _checked_models(models: Any) -> dict[str, Any]:
    if not isinstance(models, Mapping) or not models:
        raise SpecificationError(
            f"models must map names to models, such as {{'table': ..., 'joint': ...}}; got "
            f"{models!r}."
        )
    for name, model in models.items():
        if not isinstance(name, str):
            raise SpecificationError(f"names of models are text, got {name!r}.")
        fresh(model)  # refuses what is none
    return dict(models)


def _kind(models: Mapping[str, Any], y: Any) -> Kind:
    survival = isinstance(y, Surv)
    kinds = {name: kind_of(model) for name, model in models.items()}
    if survival:
        # Models of lifetimes are regressors that take a follow-up as response.
        kinds = {n: "survival" if kind == "regressor" else kind for n, kind in kinds.items()}
    if len(set(kinds.values())) > 1 or (survival and "survival" not in kinds.values()):
        told = ", ".join(f"{name!r}: {kind}" for name, kind in kinds.items())
        raise UnsupportedCombinationError(
            f"models must predict the same kind of response as y; got {told}"
            f"{' and a follow-up' if survival else ''}."
        )
    return next(iter(kinds.values()))


def _used(
    X: Any, y: Any, sample_weight: Any, groups: Any, kind: Kind
) -> tuple[pd.DataFrame, Any, np.ndarray | None, np.ndarray | None]:
    """Table, response, weights and groups of the rows that count."""
    if not isinstance(X, pd.DataFrame):
        values = np.asarray(X)
        if values.ndim != 2:
            raise DataError(f"X must be a table, got an array of shape {values.shape}.")
        X = pd.DataFrame(values, columns=[f"x{j}" for j in range(values.shape[1])])
    n = len(X)
    if y is None:
        raise DataError("compare() needs y: the response that all models are judged by.")
    response: Any = as_surv(y) if kind == "survival" else response_values(y, n)
    check_length(n, response, "y")
    if kind == "regressor":
        response = response.astype(float)
    if groups is not None:
        check_length(n, groups, "groups")
        groups = np.asarray(groups, dtype=object)
    if sample_weight is None:
        return X, response, None, groups
    weight = check_sample_weight(sample_weight, n)
    rows = np.flatnonzero(weight > 0)
    groups = None if groups is None else groups[rows]
    return X.iloc[rows], rows_of(response, rows), weight[rows], groups


def _folds(
    cv: Any,
    n_repeats: int,
    X: pd.DataFrame,
    y: Any,
    groups: np.ndarray | None,
    kind: Kind,
    random_state: int,
) -> tuple[list[list[tuple[np.ndarray, np.ndarray]]], np.ndarray, np.ndarray]:
    """Folds of every repeat, groups of rows that stay together, and strata."""
    if n_repeats > 1 and not is_positive_whole(cv):
        raise SpecificationError(
            f"n_repeats={n_repeats} makes other folds every time and needs a number as cv, got "
            f"{cv!r}."
        )
    shared = shared_rows(X, groups, y.id if kind == "survival" else None)
    if kind == "survival":
        strata = np.asarray(y.cause)
    else:
        strata = pd.factorize(y, sort=True)[0] if kind == "classifier" else np.zeros(len(X), int)
    seeds = np.random.SeedSequence(int(random_state)).generate_state(n_repeats) >> 1
    every = np.arange(len(X))
    return [fold_pairs(cv, shared, strata, int(seed), every) for seed in seeds], shared, strata


def _measures(metrics: Any, kind: Kind, y: Any) -> tuple[Measure, ...]:
    if metrics is None:
        metrics = default_measures(kind, y)
    n_causes = y.n_causes if kind == "survival" else 1
    if isinstance(metrics, Mapping):
        return tuple(
            measure_of(metric, kind, name, n_causes=n_causes) for name, metric in metrics.items()
        )
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    found = tuple(measure_of(metric, kind, n_causes=n_causes) for metric in metrics)
    names = [measure.name for measure in found]
    if not found or len(set(names)) < len(names):
        raise SpecificationError(f"metrics must be one or more, each once; got {metrics!r}.")
    return found


def _named(measures: Sequence[Measure]) -> list[Any]:
    return [(measure.name, measure.function) for measure in measures]


def _run(
    jobs: Mapping[str, tuple[Any, ...]],
    checkpoint: Checkpoint,
    n_jobs: int | None,
    progress: bool,
) -> dict[str, Outcome]:
    outcomes = {key: found for key, found in checkpoint.finished().items() if key in jobs}
    open_jobs = [job for key, job in jobs.items() if key not in outcomes]
    with tqdm(
        total=len(jobs),
        initial=len(outcomes),
        desc="comparison",
        unit="fit",
        disable=not progress,
    ) as bar:
        for outcome in _evaluated(open_jobs, n_jobs):
            checkpoint.append(outcome)
            outcomes[outcome.key] = outcome
            bar.set_postfix_str(outcome.model)
            bar.update()
    return outcomes


def _evaluated(jobs: Sequence[tuple[Any, ...]], n_jobs: int | None) -> Iterator[Outcome]:
    if n_jobs in (None, 1):
        for job in jobs:
            yield evaluate(*job)
        return
    run: Callable[..., Any] = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    yield from run(delayed(evaluate)(*job) for job in jobs)


def _tell(result: ModelComparison) -> None:
    """Warn of failures; refuse a comparison that has nothing to compare."""
    failed = [outcome for outcome in result.outcomes if outcome.error]
    if not failed:
        return
    first = f"{failed[0].model!r} on fold {failed[0].fold}: {failed[0].error}"
    if len(failed) == len(result.outcomes):
        raise DataError(f"no model could be fitted to any fold. The first failure: {first}")
    names = ", ".join(dict.fromkeys(repr(outcome.model) for outcome in failed))
    warnings.warn(
        f"{len(failed)} of {len(result.outcomes)} fits failed, of {names}. The first: {first} "
        "(all are in failures()).",
        DataWarning,
        stacklevel=3,
    )
