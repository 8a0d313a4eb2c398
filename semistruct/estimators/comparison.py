"""Comparisons and checks of fitted models, as functions."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators._reporting import ReportingMixin
from semistruct.exceptions import SpecificationError
from semistruct.inference.comparison import compare_fits, term_tests
from semistruct.inference.covariance import CovarianceKind
from semistruct.inference.diagnostics import basis_check, concurvity_table

__all__ = ["anova", "check_basis", "concurvity"]


def anova(
    *models: Any, dispersion: float | None = None, cov_type: CovarianceKind | None = None
) -> pd.DataFrame:
    """Tests of nested models, or Wald tests of the terms of one.

    Parameters
    ----------
    *models : fitted estimators
        One, or several in the order of the comparisons: each is tested against the one before.
    dispersion : float, optional
        Of F tests; by default the estimate of the largest model. R's ``glm`` and statsmodels'
        ``GLM`` estimate it from Pearson residuals.
    cov_type : {"model", "corrected", "sandwich", "cluster"}, optional
        Of Wald tests.

    Returns
    -------
    DataFrame
        Of one model: index ``(parameter, term)``, columns ``edf``, ``ref_df``, ``statistic``,
        ``test``, ``p``. Of several: one row per model, columns ``loglik``, ``edf``, ``df``,
        ``statistic``, ``test``, ``p``.

    Raises
    ------
    SpecificationError
        If a model is no fitted estimator of this package, or offsets differ.
    UnsupportedCombinationError
        If models have deep terms, other likelihoods, other rows or responses, or are not nested.

    Notes
    -----
    Where a dispersion is one estimated number the test is an F test of the drop in deviance over
    the largest model's dispersion, as in R; else the statistic is twice the gain in log-likelihood
    and the reference a chi-square. Without penalties these are the classical tests.

    Penalised models are compared as if each were unpenalised with ``edf1 + edf2 - edf`` parameters:
    ``edf1 = tr(2 F - F F)`` and the correction ``edf2 - edf`` for estimated smoothing parameters,
    as ``anova.gam`` of mgcv does. This is an approximation; p-values are usually somewhat low, and
    much too low for terms that are penalised to zero (random effects), which the tests of terms of
    ``anova(model)`` handle.

    References
    ----------
    Wood (2017), Generalized Additive Models, second edition, section 6.12.4. Scheipl, Greven and
    Kuechenhoff (2008), CSDA 52, 3283-3299.

    Examples
    --------
    >>> import numpy as np
    >>> from semistruct import SemiStructuredRegressor
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"x": rng.uniform(size=100), "z": rng.uniform(size=100)})
    >>> y = np.sin(6 * table["x"]) + rng.normal(size=100)
    >>> small, large = (
    ...     SemiStructuredRegressor(formula).fit(table, y) for formula in ("z", "s(x) + z")
    ... )
    >>> bool(anova(small, large).loc[2, "p"] < 1e-5)
    True
    >>> list(anova(large).index)
    [('loc', 'z'), ('loc', 's(x)')]
    """
    if not models:
        raise SpecificationError("anova() needs one or more fitted models.")
    for model in models:
        _check_model(model)
    if len(models) == 1:
        if dispersion is not None:
            raise SpecificationError("dispersion= is for comparisons of two or more models.")
        return term_tests(models[0].fit_, cov_type or models[0]._cov_type())
    if cov_type is not None:
        raise SpecificationError("cov_type= is for the Wald tests of one model; leave it out.")
    return compare_fits([model.fit_ for model in models], dispersion=dispersion)


def concurvity(model: Any, full: bool = True) -> pd.DataFrame:
    """How much of each term could be written with the other terms.

    See :func:`semistruct.inference.diagnostics.concurvity_table`.
    """
    _check_model(model)
    return concurvity_table(model.fit_, full)


def check_basis(
    model: Any, *, n_rep: int = 400, subsample: int = 5000, random_state: int = 0
) -> pd.DataFrame:
    """Whether the bases of smooths are large enough: residuals against their covariates.

    See :func:`semistruct.inference.diagnostics.basis_check`.
    """
    _check_model(model)
    return basis_check(model.fit_, n_rep=n_rep, subsample=subsample, random_state=random_state)


def _check_model(model: Any) -> None:
    if not isinstance(model, ReportingMixin):
        raise SpecificationError(
            f"expected a fitted model of this package, such as SemiStructuredRegressor, got "
            f"{type(model).__name__}."
        )
    check_is_fitted(model)
