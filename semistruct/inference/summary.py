"""The summary of a fitted model, as text and as HTML."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

from semistruct.fitting.model import ModelFit
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.effects import Estimand, effects_table
from semistruct.inference.partial import PartialFit
from semistruct.inference.smooth_tests import smooth_table

__all__ = ["Summary", "frame_table", "summarise"]

_WIDTH = 78
_HEADER_FORMAT = {**fmt_params, "data_aligns": "ll", "colsep": "    "}
_QUESTIONS = {
    "marginal": "coefficients of the best model without the deep terms",
    "projection": "least-squares projection of the true predictor on the table",
    "partial": "coefficients with the deep terms held fixed",
}
_COVARIANCES = {
    "model": "model-based",
    "corrected": "model-based, smoothing estimated",
    "sandwich": "sandwich (heteroscedasticity-consistent)",
    "cluster": "sandwich, clustered",
}


def summarise(
    fit: ModelFit,
    *,
    response: str,
    estimand: Estimand,
    cov_type: CovarianceKind,
    level: float,
    aic: float,
    partial: PartialFit | None = None,
) -> Summary:
    """Tables of the model, its coefficients, smooths and deep terms.

    Parameters
    ----------
    fit : ModelFit
    response : str
        Name of the response.
    estimand : {"marginal", "projection", "partial"}
        The question that the coefficients answer.
    cov_type : {"model", "sandwich", "cluster"}
    level : float
        Of the confidence intervals.
    aic : float
        As :func:`~semistruct.inference.criteria.information_criteria` has it.
    partial : PartialFit, optional
        The coefficients of that estimand.

    Returns
    -------
    statsmodels.iolib.summary.Summary
        Prints as text, renders in a notebook, and has ``as_latex()`` and ``as_csv()``.
    """
    summary = Summary()
    if partial is not None:
        cov_type = "sandwich" if fit.cluster is None and fit.unit is None else "cluster"
    summary.tables.append(_header(fit, response, estimand, cov_type, aic))
    if partial is None:
        effects = effects_table(fit, estimand, cov_type, level)
    else:
        effects = partial.table(level)
    for param in fit.problem.family.param_names:
        if param in effects.index.get_level_values(0):
            summary.tables.append(_coefficients(effects.loc[param], param, fit, level))
    smooths = smooth_table(fit.marginal, fit.problem).set_index(["parameter", "term"])
    if len(smooths):
        summary.tables.append(frame_table(smooths, "smooths and random effects"))
    if fit.deep is not None:
        summary.tables.append(frame_table(_deep_table(fit), "deep terms"))
    summary.add_extra_txt(_notes(fit, estimand))
    return summary


def _header(
    fit: ModelFit, response: str, estimand: Estimand, cov_type: str, aic: float
) -> SimpleTable:
    marginal, problem = fit.marginal, fit.problem
    used = problem.y[problem.sample_weight > 0]
    left: list[tuple[str, object]] = [
        ("Response:", response),
        ("Family:", repr(problem.family).removesuffix("()")),
        ("Observations:", problem.family.observations(used)),
        ("Estimand:", estimand),
        ("Covariance:", _COVARIANCES[cov_type]),
    ]
    right: list[tuple[str, object]] = [
        ("Log-likelihood:", f"{marginal.loglik:.4g}"),
        ("Null log-lik.:", f"{marginal.loglik_null:.4g}"),
        ("Effective df:", f"{float(marginal.edf.sum()):.2f}"),
        ("AIC:", f"{aic:.5g}"),
        ("Smoothing:", f"{marginal.method.upper()}, {marginal.n_iter} iterations"),
    ]
    title = "Semi-structured regression" if fit.deep is not None else "Additive regression"
    cells = [
        [f"{name:<14} {value}", f"{other:<15} {number}"]
        for (name, value), (other, number) in zip(left, right, strict=True)
    ]
    return SimpleTable(cells, title=title, txt_fmt=_HEADER_FORMAT)


def _coefficients(effects: pd.DataFrame, param: str, fit: ModelFit, level: float) -> SimpleTable:
    k = fit.problem.family.param_names.index(param)
    link = fit.problem.family.links[k]
    tail = f"{(1 - level) / 2:.4g}", f"{(1 + level) / 2:.4g}"
    names = {"lower": f"[{tail[0]}", "upper": f"{tail[1]}]", "se": "std err"}
    shown = effects.rename(columns=names)
    if fit.problem.family.ratios:
        shown.insert(1, "exp(coef)", np.exp(effects["coef"]))
    cells = [[_number(value) for value in row] for row in shown.to_numpy()]
    return SimpleTable(
        cells,
        headers=list(shown.columns),
        stubs=[str(name) for name in shown.index],
        title=f"{param} ({link.name} link)",
        txt_fmt=fmt_params,
    )


def frame_table(frame: pd.DataFrame, title: str) -> SimpleTable:
    """A DataFrame of numbers and words as a part of a summary."""
    cells = [[_number(value) for value in row] for row in frame.to_numpy(dtype=object)]
    stubs = [": ".join(map(str, np.atleast_1d(np.array(i, dtype=object)))) for i in frame.index]
    return SimpleTable(
        cells, headers=list(frame.columns), stubs=stubs, title=title, txt_fmt=fmt_params
    )


def _deep_table(fit: ModelFit) -> pd.DataFrame:
    deep = fit.deep
    if deep is None:
        return pd.DataFrame()
    names = fit.problem.family.param_names
    table = deep.calibration.table.copy()
    table.index = pd.MultiIndex.from_tuples(
        [(names[slot.param], slot.label) for slot in deep.slots]
    )
    weight = fit.problem.sample_weight
    spread = [np.sqrt(np.average(column**2, weights=weight)) for column in deep.scores.T]
    table.insert(1, "sd of effect", np.array(spread) * deep.calibration.gamma)
    table["kept"] = np.where(table["kept"], "yes", "no")
    return table.rename(columns={"gain": "gain in loglik", "se": "se of gain"})


def _notes(fit: ModelFit, estimand: Estimand) -> list[str]:
    notes = []
    if fit.deep is not None:
        notes.append(f"Estimand {estimand!r}: {_QUESTIONS[estimand]}.")
        if estimand == "partial":
            notes.append(
                "r2: share of a column's variance that the picture explains on unseen rows. "
                "change: difference of the coefficient between two seeds of the networks, in "
                "standard errors. Standard errors are as good as what the networks have found."
            )
        notes.append(
            f"Log-likelihood, AIC and smooths are those of the model without the deep terms. Gains "
            f"are out-of-fold, over {len(fit.deep.crossfit.members)} cross-fitted network(s)."
        )
        closed = [
            slot.label
            for slot, gamma in zip(fit.deep.slots, fit.deep.calibration.gamma, strict=True)
            if not gamma > 0
        ]
        inside = _columns_inside(fit)
        if inside:
            notes.append(
                f"{', '.join(inside)}: also read by a network, whose effect need not be linear or "
                "additive. The coefficient is the linear part of the effect, on the average of "
                "everything else; it is not the whole of it."
            )
        if closed:
            notes.append(
                f"{', '.join(closed)} did not help on unseen rows and is not used in predictions."
            )
    dropped = [name for design in fit.problem.designs for name in design.dropped]
    if dropped:
        notes.append(f"Dropped as linear combinations of others: {', '.join(dropped)}.")
    return [line for note in notes for line in textwrap.wrap(note, _WIDTH)]


def _columns_inside(fit: ModelFit) -> list[str]:
    """Columns of linear terms that a deep term with several inputs reads as well."""
    if fit.deep is None:
        return []
    read = {name for slot in fit.deep.slots for name in slot.term.variables}
    linear = [
        name
        for design in fit.problem.designs
        for basis in design.bases
        if basis.kind == "parametric"
        for name in basis.variables
    ]
    return [name for name in dict.fromkeys(linear) if name in read]


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or not np.isfinite(value):
        return ""
    magnitude = abs(float(value))
    if magnitude and (magnitude < 1e-3 or magnitude >= 1e6):
        return f"{value:.2e}"
    return f"{value:.4g}" if magnitude >= 1000 else f"{value:.3f}"
