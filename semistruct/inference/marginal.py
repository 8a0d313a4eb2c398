"""Contrasts of predictions and predicted marginal means, with the delta method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from scipy import stats

from semistruct._registry import lookup
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families.base import Family
from semistruct.families.classes import ClassFamily
from semistruct.fitting.model import ModelFit
from semistruct.inference.simultaneous import largest_deviation

__all__ = [
    "GridPrediction",
    "Scale",
    "combination_table",
    "contrast_rows",
    "grid_prediction",
    "marginal_prediction",
]

Scale = Literal["link", "parameter", "response"]

_STEP = 1e-5  # relative, of central differences in a predictor


@dataclass(frozen=True, eq=False)
class GridPrediction:
    """Predictions and their derivatives in the coefficients.

    Attributes
    ----------
    value : (g,) array
    gradient : (g, P) array
    labels : Index
        Of the ``g`` predictions.
    """

    value: np.ndarray
    gradient: np.ndarray
    labels: pd.Index


def grid_prediction(
    fit: ModelFit, frame: pd.DataFrame, scale: Scale = "link", param: str | None = None
) -> GridPrediction:
    """Predictions of the table model for the rows of a grid.

    Parameters
    ----------
    fit : ModelFit
    frame : DataFrame of g rows
    scale : {"link", "parameter", "response"}
        The predictor of ``param``, the parameter itself, or the mean of the response.
    param : str, optional
        By default the first parameter. For ``scale="response"`` the class whose probability is
        meant, where the response is one of several classes, else none.
    """
    k = _parameter(fit, scale, param)
    eta, blocks = _predictors(fit, frame)
    value, slopes = _values(fit, eta, scale, k)
    gradient = np.zeros((len(frame), fit.marginal.beta.size))
    for j, (block, at) in enumerate(zip(blocks, fit.marginal.slices, strict=True)):
        if slopes[:, j].any():
            gradient[:, at] = block.dense() * slopes[:, [j]]
    return GridPrediction(value, gradient, frame.index)


def marginal_prediction(
    fit: ModelFit,
    at: Mapping[str, Sequence[Any]],
    frame: pd.DataFrame,
    weight: np.ndarray,
    scale: Scale = "response",
    param: str | None = None,
) -> GridPrediction:
    """Averages over the rows of ``frame`` of predictions with some columns set to given values.

    Parameters
    ----------
    fit : ModelFit
    at : mapping from column to values
        Every combination of the values is one prediction.
    frame : DataFrame of n rows
    weight : (n,) array
        Of the rows in the averages.
    scale, param
        As for :func:`grid_prediction`.

    References
    ----------
    Lane and Nelder (1982), Analysis of covariance and standardization as instances of prediction,
    Biometrics 38, 613-621.
    """
    k = _parameter(fit, scale, param)
    share = weight / weight.sum()
    cells = list(product(*at.values()))
    values, gradients = np.zeros(len(cells)), np.zeros((len(cells), fit.marginal.beta.size))
    for c, cell in enumerate(cells):
        changed = frame.copy()
        for name, level in zip(at, cell, strict=True):
            changed[name] = _column(frame, name, level)
        eta, blocks = _predictors(fit, changed)
        value, slopes = _values(fit, eta, scale, k)
        values[c] = share @ value
        for j, (block, columns) in enumerate(zip(blocks, fit.marginal.slices, strict=True)):
            gradients[c, columns] = block.rmatvec(share * slopes[:, j])
    if len(at) == 1:
        index = pd.Index([cell[0] for cell in cells], name=next(iter(at)))
    else:
        index = pd.MultiIndex.from_tuples(cells, names=list(at))
    return GridPrediction(values, gradients, index)


def contrast_rows(contrasts: Any, labels: pd.Index) -> tuple[np.ndarray, list[str]]:
    """Coefficients ``(m, g)`` of linear combinations of ``g`` predictions, and their names.

    Parameters
    ----------
    contrasts : {"pairwise", "reference"}, (g,) or (m, g) array, or mapping from name to (g,) array
        "pairwise" is each prediction minus each before it, "reference" each minus the first.
    labels : Index of g predictions

    Examples
    --------
    >>> rows, names = contrast_rows("reference", pd.Index(["a", "b", "c"]))
    >>> names, rows.tolist()
    (['b - a', 'c - a'], [[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    """
    g = len(labels)
    words = [
        ", ".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels
    ]
    if isinstance(contrasts, str):
        if contrasts not in ("pairwise", "reference"):
            raise SpecificationError(
                "contrasts must be 'pairwise', 'reference', an array of coefficients or a mapping "
                f"from names to these, got {contrasts!r}."
            )
        pairs = list(combinations(range(g), 2))
        pairs = [pair for pair in pairs if contrasts == "pairwise" or pair[0] == 0]
        if not pairs:
            raise SpecificationError("contrasts need two or more predictions, got one.")
        L = np.zeros((len(pairs), g))
        for m, (i, j) in enumerate(pairs):
            L[m, i], L[m, j] = -1.0, 1.0
        return L, [f"{words[j]} - {words[i]}" for i, j in pairs]
    named = list(contrasts) if isinstance(contrasts, Mapping) else None
    given = list(contrasts.values()) if isinstance(contrasts, Mapping) else contrasts
    L = np.atleast_2d(np.asarray(given, dtype=float))
    if L.ndim != 2 or L.shape[1] != g or not np.isfinite(L).all():
        raise SpecificationError(
            f"contrasts must have one finite coefficient for each of the {g} predictions, got an "
            f"array of shape {L.shape}."
        )
    return L, named or [f"contrast {m}" for m in range(1, len(L) + 1)]


def combination_table(
    prediction: GridPrediction,
    cov: np.ndarray,
    *,
    L: np.ndarray | None = None,
    names: Any = None,
    df_resid: float | None = None,
    level: float = 0.95,
    simultaneous: bool = False,
    test: bool = True,
    random_state: int = 0,
) -> pd.DataFrame:
    """Estimates, standard errors, limits and tests of linear combinations of predictions.

    Parameters
    ----------
    prediction : GridPrediction
    cov : (P, P) array
        Covariance of the coefficients.
    L : (m, g) array, optional
        By default each prediction by itself.
    names : sequence of m labels, optional
    df_resid : float, optional
        Of an estimated dispersion: Student's t then replaces the normal.
    level : float
    simultaneous : bool
        Whether limits and p-values hold jointly for all combinations.
    test : bool
        Whether to add the test that a combination is zero.
    random_state : int
        For ``simultaneous``.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``lower``, ``upper`` and with ``test`` the statistic ``t`` or ``z``
        and ``p``.
    """
    if not 0 < level < 1:
        raise SpecificationError(f"level must lie between 0 and 1, got {level!r}.")
    rows = prediction.gradient if L is None else L @ prediction.gradient
    estimate = prediction.value if L is None else L @ prediction.value
    se = np.sqrt(np.einsum("ij,jk,ik->i", rows, cov, rows, optimize=True).clip(min=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(estimate == 0, 0.0, estimate / se)
    student = df_resid is not None and df_resid > 0
    reference = stats.t(df_resid) if student else stats.norm()
    if simultaneous:
        joint = largest_deviation(
            rows, cov, df_resid if student else None, random_state=random_state
        )
        q, p = joint.quantile(level), joint.p_values(statistic)
    else:
        q, p = float(reference.ppf(0.5 + level / 2)), 2 * reference.sf(np.abs(statistic))
    table = pd.DataFrame(
        {"estimate": estimate, "se": se, "lower": estimate - q * se, "upper": estimate + q * se},
        index=prediction.labels if names is None else names,
    )
    if test:
        table.insert(2, "t" if student else "z", statistic)
        table.insert(3, "p", p)
    return table


def _parameter(fit: ModelFit, scale: Scale, param: str | None) -> int:
    names = fit.problem.family.param_names
    if scale not in get_args(Scale):
        raise SpecificationError(
            f"scale must be one of {', '.join(map(repr, get_args(Scale)))}, got {scale!r}."
        )
    if scale == "response":
        if not isinstance(fit.problem.family, Family):
            raise UnsupportedCombinationError(
                f"{type(fit.problem.family).__name__} has no mean of a response; use scale='link' "
                "(differences are then log ratios) or scale='parameter'."
            )
        if isinstance(fit.problem.family, ClassFamily):
            return _class(fit.problem.family, param)
        if param is not None:
            raise SpecificationError(
                f"scale='response' is the mean of the response, of all parameters; got "
                f"param={param!r}. Use scale='parameter' for a parameter."
            )
    lookup(dict.fromkeys(names), param or names[0], "distribution parameter")
    return names.index(param or names[0])


def _class(family: ClassFamily, param: str | None) -> int:
    """The class whose probability is the response."""
    if param is None:
        raise SpecificationError(
            "the response has several classes; say of which one the probability is meant, as in "
            f"param={family.labels[-1]!r}. There are {', '.join(map(repr, family.labels))}."
        )
    lookup(dict.fromkeys(family.labels), str(param), "class")
    return family.labels.index(str(param))


def _predictors(fit: ModelFit, frame: pd.DataFrame) -> tuple[np.ndarray, list[Any]]:
    blocks = [design.block(frame) for design in fit.problem.designs]
    eta = np.column_stack(
        [
            block.matvec(fit.marginal.beta[at]) + design.offset(frame)
            for block, at, design in zip(
                blocks, fit.marginal.slices, fit.problem.designs, strict=True
            )
        ]
    )
    return eta, blocks


def _values(fit: ModelFit, eta: np.ndarray, scale: Scale, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What is predicted ``(n,)``, and its derivatives in the predictors ``(n, K)``."""
    slopes = np.zeros_like(eta)
    if scale == "link":
        slopes[:, k] = 1.0
        return eta[:, k], slopes
    family = fit.problem.family

    def function(at: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            if scale == "parameter":
                return family.links[k].inverse(torch.from_numpy(at[:, k].copy())).numpy()
            if isinstance(family, ClassFamily):
                return family.probabilities(torch.from_numpy(at))[:, k].numpy()
            return family.mean(torch.from_numpy(at)).numpy()  # type: ignore[attr-defined]

    for j in range(eta.shape[1]) if scale == "response" else (k,):
        h = _STEP * (1 + np.abs(eta[:, j]))
        up, down = eta.copy(), eta.copy()
        up[:, j] += h
        down[:, j] -= h
        slopes[:, j] = (function(up) - function(down)) / (up[:, j] - down[:, j])
    return function(eta), slopes


def _column(frame: pd.DataFrame, name: str, level: Any) -> Any:
    """The value in every row, as the column's own type."""
    if name not in frame.columns:
        read = ", ".join(map(repr, frame.columns))
        raise DataError(f"no predictor reads a column {name!r}; they read {read}.")
    dtype = frame[name].dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if level not in dtype.categories:
            raise DataError(
                f"{level!r} is no level of {name!r}, which has "
                f"{', '.join(map(repr, dtype.categories))}."
            )
        return pd.Categorical([level] * len(frame), dtype=dtype)
    return pd.Series([level] * len(frame), index=frame.index)
