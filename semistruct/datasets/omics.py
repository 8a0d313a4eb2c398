"""A simulated cancer study as large as a TCGA cohort: a table, two omics blocks, lifetimes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from semistruct.columns import TensorArray
from semistruct.exceptions import SpecificationError

__all__ = ["simulate_omics", "true_log_hazard"]

AGE = 0.03
STAGES = {"I": 0.0, "II": 0.3, "III": 0.6, "IV": 1.0}
# Effects of module scores on the log hazard. Module 0 of the RNA also decides on the stage.
RNA = {"0": 0.5, "1": -0.5, "2": 0.4}
METHYLATION = {"-1": 0.5}  # the last module, of which the RNA knows nothing
SQUARE, PRODUCT = "3", ("1", "4")
NONLINEAR = 0.5

RNA_MODULE, METHYLATION_MODULE = 50, 25
_CORRELATION = (0.3, 0.7)
_SHAPE, _SCALE = 1.2, 5.0
_FOLLOW_UP = (1.0, 9.0)
_STAGE_SHARES = (0.25, 0.55, 0.8)


def simulate_omics(
    n: int = 400,
    *,
    n_rna: int = 3000,
    n_methylation: int = 1000,
    nonlinear: float = 0.0,
    random_state: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Patients with clinical columns, many more molecular measurements than rows, and lifetimes.

    Parameters
    ----------
    n : int
        Number of patients.
    n_rna, n_methylation : int
        Numbers of genes and of methylation sites, in modules of at least 50 and 25 that belong
        together; at least five and two modules.
    nonlinear : float
        Size of what no linear model of the genes can see: 0 for none, 1 for about as much as the
        linear part.
    random_state : int, Generator or None

    Returns
    -------
    DataFrame
        ``age`` (years), ``sex``, ``stage`` (I to IV), ``rna`` and ``methylation``
        (:class:`~semistruct.TensorArray` of standardised measurements, float32), ``time`` (years)
        and ``event``. The truth is in ``frame.attrs["truth"]``, a dictionary of plain numbers, and
        in :func:`true_log_hazard`.

    Notes
    -----
    Genes of a module share a factor and have one correlation, between 0.3 and 0.7; modules are
    independent. The methylation of the first half of its modules follows, negatively, the factors
    of the RNA modules of the same number: what both know is shared, the rest is not. With module
    scores ``z`` and ``w``, means of the standardised measurements of a module scaled to variance
    one, the log hazard is ``0.03 (age - 60) + stage + 0.5 z0 - 0.5 z1 + 0.4 z2 + 0.5 w_last +
    nonlinear * 0.5 ((z3^2 - 1) + z1 z4)``, with 0, 0.3, 0.6, 1 for the stages, which are higher
    where ``z0`` is. Lifetimes are Weibull with shape 1.2, proportional hazards, censored uniformly
    between 1 and 9 years; sex has no effect.

    Examples
    --------
    >>> frame = simulate_omics(50, n_rna=300, n_methylation=100)
    >>> frame.columns.tolist()
    ['age', 'sex', 'stage', 'rna', 'methylation', 'time', 'event']
    >>> frame["rna"].array.tensor_shape
    (300,)
    >>> genes = pd.DataFrame(frame["rna"].array.batch(), frame.index).add_prefix("gene_")
    >>> frame.join(genes).filter(like="gene_").shape
    (50, 300)
    """
    for name, size, module, fewest in (
        ("n_rna", n_rna, RNA_MODULE, 5),
        ("n_methylation", n_methylation, METHYLATION_MODULE, 2),
    ):
        if size < fewest * module:
            raise SpecificationError(
                f"{name}={size} is too small: {fewest} modules of {module} need {fewest * module}."
            )
    rng = np.random.default_rng(random_state)
    n_modules = n_rna // RNA_MODULE, n_methylation // METHYLATION_MODULE
    factors = rng.normal(size=(n, n_modules[0]))
    own = rng.normal(size=(n, n_modules[1]))
    shared = min(n_modules[1] // 2, n_modules[0])
    own[:, :shared] = -factors[:, :shared]
    correlations = [rng.uniform(*_CORRELATION, size) for size in n_modules]
    rna = _measured(factors, correlations[0], n_rna, rng)
    methylation = _measured(own, correlations[1], n_methylation, rng)
    stage_score = 0.7 * factors[:, 0] + rng.normal(size=n)
    cuts = np.sqrt(1 + 0.7**2) * norm.ppf(_STAGE_SHARES)
    frame = pd.DataFrame(
        {
            "age": rng.normal(60.0, 10.0, n).clip(25.0, 90.0),
            "sex": pd.Categorical.from_codes((rng.random(n) < 0.5).astype(int), ["female", "male"]),
            "stage": pd.Categorical.from_codes(np.searchsorted(cuts, stage_score), list(STAGES)),
            "rna": TensorArray(rna),
            "methylation": TensorArray(methylation),
        }
    )
    truth: dict[str, Any] = {
        "coefficients": {"age": AGE, **{f"stage[T.{k}]": v for k, v in STAGES.items() if v}},
        "rna": dict(RNA),
        "methylation": dict(METHYLATION),
        "nonlinear": float(nonlinear),
        "correlations": [each.tolist() for each in correlations],
    }
    frame.attrs["truth"] = truth
    eta = true_log_hazard(frame).to_numpy()
    time = _SCALE * (rng.exponential(size=n) * np.exp(-eta)) ** (1 / _SHAPE)
    end = rng.uniform(*_FOLLOW_UP, n)
    frame["time"], frame["event"] = np.minimum(time, end), time <= end
    return frame


def true_log_hazard(frame: pd.DataFrame) -> pd.Series:
    """The log hazard ratio of each row of :func:`simulate_omics`, up to a constant.

    Parameters
    ----------
    frame : DataFrame
        The simulated table or any selection of its rows.

    Returns
    -------
    Series
        Indexed as ``frame``.
    """
    truth = frame.attrs["truth"]
    z, w = (
        _scores(frame[name].array.batch(), np.asarray(correlations))
        for name, correlations in zip(("rna", "methylation"), truth["correlations"], strict=True)
    )
    eta = AGE * (frame["age"].to_numpy() - 60.0) + frame["stage"].map(STAGES).astype(float)
    for scores, effects in ((z, truth["rna"]), (w, truth["methylation"])):
        for module, effect in effects.items():
            eta = eta + effect * scores[:, int(module)]
    first, second = map(int, PRODUCT)
    curved = z[:, int(SQUARE)] ** 2 - 1 + z[:, first] * z[:, second]
    return eta + truth["nonlinear"] * NONLINEAR * curved


def _measured(
    factors: np.ndarray, correlations: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Measurements ``(n, size)`` of variance one; modules lie side by side."""
    n, n_modules = factors.shape
    module = np.arange(size) * n_modules // size
    shares = correlations[module]
    noise = rng.normal(size=(n, size))
    return (np.sqrt(shares) * factors[:, module] + np.sqrt(1 - shares) * noise).astype(np.float32)


def _scores(measured: np.ndarray, correlations: np.ndarray) -> np.ndarray:
    """Means of modules ``(n, modules)`` scaled to the variance one that they have on average."""
    size, n_modules = measured.shape[1], len(correlations)
    module = np.arange(size) * n_modules // size
    counts = np.bincount(module, minlength=n_modules)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.add.reduceat(measured.astype(float), starts, axis=1) / counts
    return means / np.sqrt(correlations + (1 - correlations) / counts)
