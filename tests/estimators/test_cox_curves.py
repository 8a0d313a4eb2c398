"""Limits of times and means, and survival along changing columns, of Cox models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import semistruct as ss
from semistruct.losses import CoxRiskSets, cox_baseline

STEP = 1e-5  # of a central difference whose error is its square
Z = stats.norm.ppf(0.975)


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    n = 120
    table = pd.DataFrame(
        {"x": rng.normal(size=n), "z": rng.uniform(size=n), "site": rng.choice(["a", "b"], n)}
    )
    death = rng.exponential(np.exp(-0.7 * table["x"]))
    censored = rng.exponential(2.0, n)
    y = ss.Surv(np.minimum(death, censored).round(2) + 0.01, death <= censored)
    assert len(np.unique(y.time[y.event])) < y.event.sum()  # some are tied
    return table, y, ss.CoxPH("x + z + strata(site)").fit(table, y)


def by_delta_method(study, functional):
    """Standard error of a functional of the baseline hazards of both strata and the coefficients.

    ``functional`` maps jumps of the baseline, by stratum and time, and coefficients to a number.
    Its derivatives are differences; the jumps move with the coefficients as well.
    """
    table, y, model = study
    X = table[["x", "z"]].to_numpy()
    risk_sets = CoxRiskSets.from_data(y.time, y.event, strata=table["site"].to_numpy())
    beta = model.params.to_numpy()

    def jumps(beta):
        return cox_baseline(X @ beta, risk_sets).hazard

    base = cox_baseline(X @ beta, risk_sets)
    variance = np.concatenate(
        [np.diff(base.variance[base.stratum == s], prepend=0.0) for s in (0, 1)]
    )

    def slope(move):
        return (functional(*move(STEP)) - functional(*move(-STEP))) / (2 * STEP)

    of_beta = [
        slope(lambda h, e=e: (base, jumps(beta + h * e), beta + h * e)) for e in np.eye(len(beta))
    ]
    of_jumps = [
        slope(lambda h, e=e: (base, base.hazard + h * e, beta)) for e in np.eye(len(base.hazard))
    ]
    V = model.cov_params().to_numpy()
    return np.sqrt(of_beta @ V @ of_beta + np.square(of_jumps) @ variance)


def test_restricted_mean(study):
    table, _, model = study
    row, end = table.iloc[[7]], 1.5
    x, stratum = row[["x", "z"]].to_numpy()[0], int(row["site"].iloc[0] == "b")

    def mean(base, jumps, beta):
        own = (base.stratum == stratum) & (base.time < end)
        lengths = np.diff(np.concatenate([[0.0], base.time[own], [end]]))
        hazard = np.concatenate([[0.0], np.cumsum(jumps[own])]) * np.exp(x @ beta)
        return float(np.exp(-hazard) @ lengths)

    found = model.predict_restricted_mean(row, end, level=0.95)
    plain = model.predict_restricted_mean(row, end)
    assert found["estimate"].iloc[0] == plain.iloc[0]
    half = Z * by_delta_method(study, mean)
    assert_allclose(found["upper"] - found["estimate"], half, rtol=1e-6)
    assert_allclose(found["estimate"] - found["lower"], half, rtol=1e-6)
    # Within what is possible.
    early = model.predict_restricted_mean(table, 0.02, level=0.999)
    assert (early["upper"] <= 0.02).all() and (early["lower"] >= 0).all()


def test_path_of_columns(study):
    table, _, model = study
    rows = table.iloc[[3, 8, 20]]
    y = ss.Surv([0.3, 1.2, 0.8], [0, 0, 0], [0.1, 0.8, 0.3], ["p", "p", "p"])
    X, stratum = rows[["x", "z"]].to_numpy(), (rows["site"] == "b").to_numpy(int)
    assert len(set(stratum)) == 2

    def log_survival(base, jumps, beta):
        total = 0.0
        for k in range(3):
            own = (base.stratum == stratum[k]) & (base.time > y.entry[k])
            total -= np.exp(X[k] @ beta) * jumps[own & (base.time <= y.time[k])].sum()
        return total

    band = model.predict_survival_path(rows, y, [1.2], level=0.95)
    estimate, lower = band["p", "estimate"].iloc[0], band["p", "lower"].iloc[0]
    half = Z * by_delta_method(study, log_survival)
    assert_allclose(np.log(estimate / lower), half, rtol=1e-6)
    plain = model.predict_survival_path(rows, y, [0.05, 1.2, 1.3])["p"]
    assert plain.iloc[0] == 1.0 and plain.iloc[1] == estimate and np.isnan(plain.iloc[2])


def test_path_of_one_interval_is_the_curve(study):
    table, _, model = study
    curves = model.predict_survival_function(table[:4], [0.4, 0.9], level=0.9, transform="log-log")
    whole = ss.Surv(np.full(4, 2.0), np.zeros(4))
    paths = model.predict_survival_path(
        table[:4], whole, [0.4, 0.9], level=0.9, transform="log-log"
    )
    assert_allclose(paths, curves, rtol=1e-12)
    parts = table.iloc[[0, 0, 1]]
    cut = ss.Surv([1.0, 2.0, 2.0], [0, 0, 0], [0.0, 1.0, 0.0], [7, 7, 5])
    found = model.predict_survival_path(parts, cut, [0.9, 1.7])
    assert list(found.columns) == [7, 5]
    assert_allclose(found, model.predict_survival_function(table[:2], [0.9, 1.7]), rtol=1e-12)


@pytest.mark.parametrize(("entry", "what"), [(1.1, "begins at 1.1"), (0.9, "begins at 0.9")])
def test_paths_with_gaps_are_refused(study, entry, what):
    table, _, model = study
    y = ss.Surv([1.0, 2.0], [0, 0], [0.0, entry], [7, 7])
    with pytest.raises(ss.DataError, match=f"of 7 row 0 ends at 1 and row 1 {what}"):
        model.predict_survival_path(table[:2], y)
    with pytest.raises(ss.DataError, match="y has 2 rows and the table 3"):
        model.predict_survival_path(table[:3], y)


def test_limits_of_percentiles_depend_on_level_and_scale(study):
    table, _, model = study
    wide, narrow, other = (
        model.predict_median(table[:30], level=level, transform=transform)
        for level, transform in ((0.95, "log"), (0.5, "log"), (0.95, "log-log"))
    )
    assert_allclose(wide["estimate"], model.predict_median(table[:30]))
    assert (wide["lower"] <= narrow["lower"]).all() and (narrow["upper"] <= wide["upper"]).all()
    assert (wide["lower"] < narrow["lower"]).any()
    assert (wide["lower"] != other["lower"]).any()
    with pytest.raises(ss.SpecificationError, match="level"):
        model.predict_median(table, level=95)
    with pytest.raises(ss.SpecificationError, match="level"):
        model.predict_restricted_mean(table, 1.0, level=95)
