"""The numbers behind a plot of a smooth or a random effect: curves, surfaces, groups and bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats import norm, t

from semistruct._registry import lookup
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families.base import RowCurvature
from semistruct.fitting.model import ModelFit
from semistruct.inference.simultaneous import largest_deviation
from semistruct.terms import Basis
from semistruct.terms.random_effect import RandomEffectBasis
from semistruct.terms.smooth_basis import SmoothBasis

__all__ = [
    "PlacedTerm",
    "band_quantile",
    "partial_residuals",
    "placed_terms",
    "random_effects",
    "smooth_curve",
    "smooth_surface",
]


@dataclass(frozen=True, eq=False)
class PlacedTerm:
    """A smooth or random effect and where its coefficients are.

    Attributes
    ----------
    param : str
        The distribution parameter.
    basis : SmoothBasis or RandomEffectBasis
    columns : slice
        Within the coefficients of all parameters.
    edf : (p,) array
        Effective degrees of freedom per coefficient.
    """

    param: str
    basis: Basis
    columns: slice
    edf: np.ndarray

    @property
    def label(self) -> str:
        """``"s(area)"``."""
        return self.basis.label

    @property
    def covariates(self) -> tuple[str, ...]:
        """The variables of the curve, a ``by`` column not among them."""
        if isinstance(self.basis, SmoothBasis) and self.basis.by.by is not None:
            return self.basis.variables[:-1]
        return self.basis.variables

    @property
    def by(self) -> str | None:
        """The column that the curve varies with."""
        return self.basis.by.by if isinstance(self.basis, SmoothBasis) else None

    @property
    def levels(self) -> tuple[Any, ...] | None:
        """Groups of ``by`` with a curve each; None where it is a number or there is none."""
        return self.basis.by.levels if isinstance(self.basis, SmoothBasis) else None

    @property
    def level_edf(self) -> tuple[float, ...]:
        """Effective degrees of freedom of every curve."""
        if not isinstance(self.basis, SmoothBasis):
            return (float(self.edf.sum()),)
        return tuple(float(self.edf[own].sum()) for _, own in self.basis.curves)


def placed_terms(fit: ModelFit) -> tuple[PlacedTerm, ...]:
    """All smooths and random effects, parameter by parameter, in the order of the formulas."""
    found = []
    marginal = fit.marginal
    names = fit.problem.family.param_names
    for name, design, at in zip(names, fit.problem.designs, marginal.slices, strict=True):
        for basis in design.bases:
            if isinstance(basis, SmoothBasis | RandomEffectBasis):
                own = design.slices[basis.label]
                columns = slice(at.start + own.start, at.start + own.stop)
                found.append(PlacedTerm(name, basis, columns, marginal.edf[columns]))
    return tuple(found)


def smooth_curve(
    fit: ModelFit,
    param: str,
    label: str,
    grid: int | np.ndarray = 100,
    level: float = 0.95,
    *,
    simultaneous: bool = False,
    random_state: int = 0,
) -> pd.DataFrame:
    """A smooth of one variable on a grid, with its pointwise or simultaneous band.

    Parameters
    ----------
    fit : ModelFit
    param : str
        The distribution parameter, ``"loc"``.
    label : str
        The term, ``"s(area)"``.
    grid : int or (m,) array
        Number of equidistant points over the range of the training rows, or the points. A curve of
        one group covers the range of its own rows.
    level : float
        Coverage of the band.
    simultaneous : bool
        Whether the band is as wide as it has to be to contain the whole curve with probability
        ``level``, from simulated coefficients (Ruppert, Wand and Carroll 2003, section 6.5).
    random_state : int
        For the simulation.

    Returns
    -------
    DataFrame
        ``x``, ``fit``, ``se``, ``lower``, ``upper`` on the scale of the parameter's predictor; for
        a smooth by groups one block of rows per group, with the group in a first column ``by``.

    Raises
    ------
    SpecificationError
        If there is no such parameter or smooth, or it has several variables.
    DataError
        If the range is not known because the model was kept without its training rows.

    Notes
    -----
    The fit is the one without deep terms. A curve is centred: it sums to zero over the training
    rows, and the band leaves out the uncertainty of the model's constant. With a numeric ``by``
    column it is the effect of one unit of that column, not centred. The band is
    ``fit -+ q sqrt(x' V x)`` with the Bayesian covariance ``V``, whose coverage averaged over the
    curve is near ``level`` (Nychka 1988; Marra and Wood 2012); ``q`` is Student's quantile where a
    dispersion is estimated, else the normal one.

    References
    ----------
    Marra, G. and Wood, S. N. (2012). Coverage properties of confidence intervals for generalized
    additive model components. *Scandinavian Journal of Statistics* 39, 53-74.
    """
    term = _smooth(fit, param, label, 1)
    q = band_quantile(fit, level)
    blocks = []
    for group in (None,) if term.levels is None else term.levels:
        x = _points(fit, term, 0, grid, group)
        rows = _rows(term, [x], group)
        if simultaneous:
            V = fit.marginal.V[term.columns, term.columns]
            q = largest_deviation(
                term.basis.design(rows).dense(),
                V,
                fit.marginal.df_resid,
                random_state=random_state,
            ).quantile(level)
        block = _effect(fit, term, rows, q)
        block.insert(0, "x", x)
        if group is not None:
            block.insert(0, "by", [group] * len(x))
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def smooth_surface(
    fit: ModelFit,
    param: str,
    label: str,
    grid: int = 40,
    level: float = 0.95,
    too_far: float = 0.1,
) -> pd.DataFrame:
    """A smooth of two variables on a grid; of more, with the others at their medians.

    Parameters
    ----------
    fit, param, label, level
        As for :func:`smooth_curve`.
    grid : int
        Points per variable.
    too_far : float
        Distance to the nearest training row, as a share of the ranges, beyond which a point counts
        as not observed.

    Returns
    -------
    DataFrame
        ``x``, ``z``, ``fit``, ``se``, ``lower``, ``upper`` and ``observed``, the rows of one ``x``
        after the other; groups of a ``by`` column in a first column ``by``.
    """
    term = _smooth(fit, param, label, 2)
    q = band_quantile(fit, level)
    frame = _training_rows(fit, term)
    others = [np.median(_values(frame, name)) for name in term.covariates[2:]]
    blocks = []
    for group in (None,) if term.levels is None else term.levels:
        x, z = (_points(fit, term, j, grid, group) for j in range(2))
        first, second = np.repeat(x, grid), np.tile(z, grid)
        values = [first, second, *(np.full(grid * grid, value) for value in others)]
        block = _effect(fit, term, _rows(term, values, group), q)
        block.insert(0, "z", second)
        block.insert(0, "x", first)
        own = _group_rows(fit, frame, term, group)
        seen = np.column_stack([_values(own, name) for name in term.covariates[:2]])
        corner, size = np.array([x[0], z[0]]), np.array([np.ptp(x), np.ptp(z)])
        size[size == 0.0] = 1.0
        tree = cKDTree((np.unique(seen, axis=0) - corner) / size)
        distance, _ = tree.query((np.column_stack([first, second]) - corner) / size)
        block["observed"] = distance <= too_far
        if group is not None:
            block.insert(0, "by", [group] * len(block))
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def partial_residuals(fit: ModelFit, param: str, label: str) -> np.ndarray:
    """The effect of a smooth plus the working residual of every training row, ``(n,)``.

    The working residual of a row is its score over its expected information in the predictor; for
    the normal location it is the residual. NaN for rows of weight zero.

    Raises
    ------
    UnsupportedCombinationError
        If the likelihood is not a sum over rows, so that a row has no residual of its own.
    """
    term = _term(fit, param, label)
    problem, marginal = fit.problem, fit.marginal
    k = problem.family.param_names.index(param)
    family = problem.family
    if not family.separable:
        raise UnsupportedCombinationError(
            f"partial residuals need a likelihood that is a sum over rows, and "
            f"{type(family).__name__} is not; leave residuals out."
        )
    bound = family.bind(problem.y, np.ones(len(problem.y)))
    score = bound.score(marginal.eta)[:, k]
    curvature = bound.curvature(marginal.eta, "expected")
    if not isinstance(curvature, RowCurvature):
        raise UnsupportedCombinationError(
            f"partial residuals need the curvature of single rows, which {type(family).__name__} "
            "does not give; leave residuals out."
        )
    information = curvature.w[:, k, k]
    usable = (information > 0) & (problem.sample_weight > 0)
    working = np.divide(score, information, out=np.full(len(score), np.nan), where=usable)
    block = term.basis.design(_training_rows(fit, term))
    return block.matvec(marginal.beta[term.columns]) + working


def random_effects(fit: ModelFit, param: str, label: str, level: float = 0.95) -> pd.DataFrame:
    """Predicted random effects with their intervals, one row per group.

    Returns
    -------
    DataFrame
        Indexed by group: ``fit``, ``se``, ``lower``, ``upper`` on the scale of the parameter's
        predictor. Standard errors are posterior standard deviations.

    Raises
    ------
    SpecificationError
        If there is no such parameter or random effect.
    """
    term = _term(fit, param, label)
    if not isinstance(term.basis, RandomEffectBasis):
        raise SpecificationError(
            f"{label} is a smooth, not a random effect; its curve is smooth_curve()."
        )
    effect = fit.marginal.beta[term.columns]
    se = np.sqrt(np.diag(fit.marginal.V)[term.columns])
    index = pd.Index(term.basis.levels, name=term.covariates[0])
    return _band(effect, se, band_quantile(fit, level)).set_axis(index)


def band_quantile(fit: ModelFit, level: float) -> float:
    """Standard errors on either side of an estimate for a band of coverage ``level``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(marginal=SimpleNamespace(df_resid=None))
    >>> round(band_quantile(model, 0.95), 2)
    1.96
    """
    if not 0 < level < 1:
        raise SpecificationError(f"level must be between 0 and 1, for example 0.95, got {level!r}.")
    df = fit.marginal.df_resid
    return float(norm.isf((1 - level) / 2) if not df else t.isf((1 - level) / 2, df))


def _term(fit: ModelFit, param: str, label: str) -> PlacedTerm:
    lookup(dict.fromkeys(fit.problem.family.param_names), param, "distribution parameter")
    own = {term.label: term for term in placed_terms(fit) if term.param == param}
    if not own:
        raise SpecificationError(
            f"the predictor of {param!r} has neither smooths nor random effects; got {label!r}."
        )
    return lookup(own, label, f"term of {param!r}")


def _smooth(fit: ModelFit, param: str, label: str, dimension: int) -> PlacedTerm:
    term = _term(fit, param, label)
    if isinstance(term.basis, RandomEffectBasis):
        raise SpecificationError(
            f"{label} is a random effect and has no curve; see random_effects()."
        )
    if min(len(term.covariates), 2) != dimension:
        other = "smooth_surface" if dimension == 1 else "smooth_curve"
        raise SpecificationError(
            f"{label} is a smooth of {len(term.covariates)} variable(s); use {other}()."
        )
    return term


def _training_rows(fit: ModelFit, term: PlacedTerm) -> pd.DataFrame:
    if fit.frame is None:
        raise DataError(
            f"the values of {', '.join(term.basis.variables)} in the training rows are not known "
            "to this model (it was kept without them); give the points of the grid."
        )
    return fit.frame


def _values(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(dtype=float)


def _group_rows(fit: ModelFit, frame: pd.DataFrame, term: PlacedTerm, group: Any) -> pd.DataFrame:
    """Rows of positive weight, of one group where there is one."""
    inside = fit.problem.sample_weight > 0
    if group is not None:
        inside = inside & (frame[term.by] == group).to_numpy()
    return frame[inside]


def _points(
    fit: ModelFit, term: PlacedTerm, j: int, grid: int | np.ndarray, group: Any
) -> np.ndarray:
    """The given points, or equidistant ones over the range of the training rows."""
    if not isinstance(grid, int | np.integer):
        return np.asarray(grid, dtype=float)
    if fit.frame is None and isinstance(term.basis, SmoothBasis):
        low, high = term.basis.raw.support[j]
        if np.isfinite([low, high]).all():
            return np.linspace(low, high, grid)
    x = _values(_group_rows(fit, _training_rows(fit, term), term, group), term.covariates[j])
    return np.linspace(x.min(), x.max(), grid)


def _rows(term: PlacedTerm, values: list[np.ndarray], group: Any) -> pd.DataFrame:
    """A table that holds only the variables of the term."""
    rows = pd.DataFrame(dict(zip(term.covariates, values, strict=True)))
    if term.by is not None:
        rows[term.by] = np.ones(len(rows)) if group is None else [group] * len(rows)
    return rows


def _effect(fit: ModelFit, term: PlacedTerm, rows: pd.DataFrame, q: float) -> pd.DataFrame:
    columns = term.columns
    X = term.basis.design(rows).dense()
    V = fit.marginal.V[columns, columns]
    se = np.sqrt(np.einsum("ij,ij->i", X @ V, X).clip(min=0.0))
    return _band(X @ fit.marginal.beta[columns], se, q)


def _band(effect: np.ndarray, se: np.ndarray, q: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"fit": effect, "se": se, "lower": effect - q * se, "upper": effect + q * se}
    )
