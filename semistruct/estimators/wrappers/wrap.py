"""Models of lifelines, pyGAM and statsmodels among those of scikit-learn."""

from __future__ import annotations

from typing import Any

from lifelines.fitters import RegressionFitter
from pygam.pygam import GAM

from semistruct.estimators.wrappers.lifelines_model import LifelinesModel
from semistruct.estimators.wrappers.pygam_model import PyGAMModel
from semistruct.estimators.wrappers.statsmodels_model import StatsmodelsModel
from semistruct.exceptions import SpecificationError

__all__ = ["wrap"]


def wrap(model: Any, formula: str | None = None, **options: Any) -> Any:
    """Give a model of another package scikit-learn's methods.

    Parameters
    ----------
    model : fitter of lifelines, model of pyGAM, or formula function of statsmodels
    formula : str, optional
        For statsmodels: ``wrap(smf.glm, "y ~ age", options={"family": ...})``.
    **options
        Of :class:`~semistruct.estimators.wrappers.lifelines_model.LifelinesModel`,
        :class:`~semistruct.estimators.wrappers.pygam_model.PyGAMModel` or
        :class:`~semistruct.estimators.wrappers.statsmodels_model.StatsmodelsModel`.

    Returns
    -------
    A scikit-learn estimator; ``model`` itself where it is one already.

    Raises
    ------
    SpecificationError
        If the model is of no known kind.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import statsmodels.formula.api as smf
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"x": rng.normal(size=50)})
    >>> y = 2 * table["x"] + rng.normal(0, 0.1, 50)
    >>> wrap(smf.ols, "y ~ x").fit(table, y).fitted_.params.round(1)["x"]
    np.float64(2.0)
    """
    if isinstance(model, RegressionFitter):
        wrapped: Any = LifelinesModel(model, **options)
    elif isinstance(model, GAM):
        wrapped = PyGAMModel(model, **options)
    elif formula is not None and callable(model):
        return StatsmodelsModel(model, formula, **options)
    elif callable(getattr(model, "fit", None)) and not isinstance(model, type) and not options:
        wrapped = model
    else:
        raise SpecificationError(
            f"{model!r} is no model that can be wrapped; give a fitter of lifelines, a model of "
            "pyGAM, or a formula function of statsmodels with formula=."
        )
    if formula is not None:
        raise SpecificationError(f"formula= is for statsmodels; {type(model).__name__} takes none.")
    return wrapped
