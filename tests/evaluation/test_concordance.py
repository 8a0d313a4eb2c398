from __future__ import annotations

import re
import time

import lifelines.utils
import numpy as np
import pandas as pd
import pytest
from _oracles import load_oracle
from hypothesis import given
from hypothesis import strategies as st

from semistruct import Surv
from semistruct.exceptions import DataError, SpecificationError
from semistruct.metrics import (
    censoring_kaplan_meier,
    concordance,
    concordance_index,
    concordance_index_ipcw,
)

# Both sides are the same sums in another order.
EXACT = {"rtol": 1e-10, "atol": 1e-12}
# R prints coefficients with 15 digits, and the order of the risks is all that matters.
ORACLE = {"rtol": 1e-10}
STEP = 1e-5  # of a central difference in one weight
NUMERICAL = {"rtol": 1e-5, "atol": 1e-9}


def brute_force(y, risk, weights, strata, time_weight):
    """Every pair by itself, by the definition; counts and the share of each row in them."""
    entry = np.zeros(len(y)) - 1 if y.entry is None else y.entry
    counts = dict.fromkeys(["concordant", "discordant", "tied_risk", "tied_time", "tied_both"], 0.0)
    for i in np.flatnonzero(y.event):
        for j in range(len(y)):
            if i == j or strata[i] != strata[j] or entry[j] >= y.time[i]:
                continue
            weight = weights[i] * weights[j] * time_weight[i]
            if y.time[j] == y.time[i] and y.event[j]:
                name = "tied_both" if risk[i] == risk[j] else "tied_time"
                counts[name] += weight / 2
            elif y.time[j] >= y.time[i]:
                order = np.sign(risk[i] - risk[j])
                name = {1: "concordant", -1: "discordant", 0: "tied_risk"}[int(order)]
                counts[name] += weight
    return counts


@st.composite
def cases(draw):
    n = draw(st.integers(2, 25))
    whole = st.integers(0, draw(st.integers(1, 12)))
    column = lambda values: np.array(draw(st.lists(values, min_size=n, max_size=n)))  # noqa: E731
    start = column(whole)
    length = column(st.integers(1, 5))
    delayed = draw(st.booleans())
    y = Surv(start + length, column(st.booleans()), start if delayed else None)
    return y, column(whole), column(st.sampled_from([0.5, 1.0, 2.25])), column(st.integers(0, 2))


@given(cases(), st.booleans())
def test_is_the_sum_over_all_pairs(case, stratified):
    y, risk, weights, strata = case
    if not stratified:
        strata = np.zeros_like(strata)
    counts = brute_force(y, risk, weights, strata, np.ones(len(y)))
    pairs = counts["concordant"] + counts["discordant"] + counts["tied_risk"]
    if not pairs:
        with pytest.raises(DataError, match="no comparable pairs"):
            concordance(y, risk, sample_weight=weights, strata=strata)
        return
    found = concordance(y, risk, sample_weight=weights, strata=strata)
    for name, count in counts.items():
        np.testing.assert_allclose(getattr(found, name), count, **EXACT, err_msg=name)
    index = (counts["concordant"] + counts["tied_risk"] / 2) / pairs
    np.testing.assert_allclose(found.index, index, **EXACT)
    np.testing.assert_allclose(found.influence.sum(), 0, atol=1e-10)


@given(cases())
def test_weighted_by_censoring_is_the_sum_over_all_pairs(case):
    y, risk, weights, _ = case
    y = Surv(y.time, y.event)
    tau = float(np.median(y.time))
    train = Surv(np.append(y.time, 20), np.append(~y.event, True))
    probability = censoring_kaplan_meier(train).before(y.time)
    time_weight = np.zeros(len(y))
    chosen = y.event & (y.time <= tau)
    time_weight[chosen] = probability[chosen] ** -2.0
    counts = brute_force(y, risk, weights, np.zeros(len(y)), time_weight)
    pairs = counts["concordant"] + counts["discordant"] + counts["tied_risk"]
    if not pairs:
        with pytest.raises(DataError, match="no comparable pairs"):
            concordance_index_ipcw(train, y, risk, tau, sample_weight=weights)
        return
    found = concordance_index_ipcw(train, y, risk, tau, sample_weight=weights)
    index = (counts["concordant"] + counts["tied_risk"] / 2) / pairs
    np.testing.assert_allclose(found, index, **EXACT)


@given(cases(), st.sampled_from(["harrell", "exclude"]), st.booleans(), st.booleans())
def test_the_index_alone_is_the_same(case, ties, early, weighted):
    y, risk, _, _ = case
    y = Surv(y.time, y.event)
    options = {"ties": ties, "tau": float(np.median(y.time)) if early else None}
    if weighted:
        alone = lambda: concordance_index_ipcw(y, y, risk, **options)  # noqa: E731
        options["y_train"] = y
    else:
        alone = lambda: concordance_index(y, risk, **options)  # noqa: E731
    try:
        expected = concordance(y, risk, **options)
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error))):
            options.pop("y_train", None)
            alone()
        return
    options.pop("y_train", None)
    np.testing.assert_allclose(alone(), expected.index, **EXACT)


# Above 32, 2048 and 131072 numbers there is another level of blocks; one block is 8192 of them.
@pytest.mark.parametrize("n", [2, 33, 2048, 2049, 9000, 140_000])
def test_the_index_alone_at_every_depth(rng, n):
    risk = rng.normal(size=n)
    death, end = rng.exponential(np.exp(-risk)), rng.exponential(1.0, n)
    y = Surv(np.minimum(death, end), np.append(True, death[1:] <= end[1:]))
    if n == 2:
        y = Surv([1.0, 2.0], [1, 0])
    expected = concordance(y, risk).index
    np.testing.assert_allclose(concordance_index(y, risk), expected, **EXACT)
    rounded = np.round(risk, 1)
    expected = concordance(y, rounded, y_train=y, tau=1.5).index
    found = concordance_index_ipcw(y, y, rounded, 1.5)
    np.testing.assert_allclose(found, expected, **EXACT)


def sample(rng, n=80, entry=False):
    start = rng.integers(0, 10, n) if entry else None
    end = rng.integers(1, 15, n) + (0 if start is None else start)
    y = Surv(end, rng.random(n) < 0.6, start)
    risk = rng.integers(0, 12, n) - 0.4 * y.time
    weights = rng.uniform(0.5, 2, n)
    assert 5 < y.event.sum() < n - 5
    assert np.unique(y.time).size < n  # tied times
    return y, risk, weights


@pytest.mark.parametrize("ties", ["harrell", "exclude"])
@pytest.mark.parametrize("entry", [False, True])
def test_influence_is_the_derivative_in_the_weights(rng, entry, ties):
    y, risk, weights = sample(rng, entry=entry)
    risk = np.round(risk)
    options = {"ties": ties, "strata": rng.integers(0, 2, len(y))}
    found = concordance(y, risk, sample_weight=weights, **options)
    assert found.tied_risk > 0
    for row in range(0, len(y), 7):
        up, down = weights.copy(), weights.copy()
        up[row] += STEP
        down[row] -= STEP
        slope = concordance_index(y, risk, sample_weight=up, **options)
        slope -= concordance_index(y, risk, sample_weight=down, **options)
        expected = weights[row] * slope / (2 * STEP)
        np.testing.assert_allclose(found.influence[row], expected, **NUMERICAL)
    np.testing.assert_allclose(found.std_error, np.sqrt(np.sum(found.influence**2)), **EXACT)


def test_standard_error_is_the_spread_over_samples(rng):
    n_samples, n = 400, 150
    indices, errors = [], []
    for _ in range(n_samples):
        risk = rng.normal(size=n)
        time, censored = rng.exponential(np.exp(-risk)), rng.exponential(2, n)
        found = concordance(Surv(np.minimum(time, censored), time <= censored), risk)
        indices.append(found.index)
        errors.append(found.std_error)
    # A standard deviation of 400 values has a relative standard error of 3.5 percent.
    np.testing.assert_allclose(np.std(indices), np.mean(errors), rtol=0.12)


def test_subjects_are_the_unit_of_the_standard_error(rng):
    y, risk, weights = sample(rng)
    ids = rng.integers(0, 20, len(y))
    found = concordance(Surv(y.time, y.event, id=ids), risk, sample_weight=weights)
    sums = pd.Series(found.influence).groupby(ids).sum()
    np.testing.assert_allclose(found.std_error, np.sqrt((sums**2).sum()), **EXACT)
    assert found.std_error != concordance(y, risk, sample_weight=weights).std_error


@pytest.mark.parametrize("entry", [False, True])
def test_invariances(rng, entry):
    y, risk, weights = sample(rng, entry=entry)
    index = concordance_index(y, risk, sample_weight=weights)
    same = [
        concordance_index(y, np.exp(risk), sample_weight=weights),
        concordance_index(y, 3 * risk - 7, sample_weight=3 * weights),
        1 - concordance_index(y, -risk, sample_weight=weights),
    ]
    rows = rng.permutation(len(y))
    same.append(concordance_index(y[rows], risk[rows], sample_weight=weights[rows]))
    np.testing.assert_allclose(same, index, **EXACT)


def test_a_weight_of_two_is_two_rows_of_a_pair(rng):
    y, risk, _ = sample(rng)
    # A row is not compared with its copy: only events are copied, which tie with themselves.
    weights = np.where(y.event, 2, 1)
    rows = np.repeat(np.arange(len(y)), weights)
    weighted = concordance(y, risk, sample_weight=weights)
    copied = concordance(y[rows], risk[rows])
    np.testing.assert_allclose(weighted.index, copied.index, **EXACT)


def test_ties_in_risk(rng):
    y, risk, _ = sample(rng)
    risk = np.round(risk / 4)
    found = concordance(y, risk)
    assert found.tied_risk > 0
    excluded = concordance_index(y, risk, ties="exclude")
    expected = found.concordant / (found.concordant + found.discordant)
    np.testing.assert_allclose(excluded, expected, **EXACT)
    assert excluded != found.index
    assert concordance_index(y, np.zeros(len(y))) == 0.5


def test_agrees_with_lifelines(rng):
    # At distinct times: of tied events, lifelines compares some, R and we none.
    y, risk, _ = sample(rng, n=200)
    risk = np.round(risk)
    y = Surv(rng.permutation(200) + 1, y.event)
    expected = lifelines.utils.concordance_index(y.time, -risk, y.event)
    np.testing.assert_allclose(concordance_index(y, risk), expected, **EXACT)


def test_censoring_weights_change_the_index_and_tau_does(rng):
    y, risk, _ = sample(rng, n=200)
    values = [
        concordance_index(y, risk),
        concordance_index(y, risk, tau=8),
        concordance_index_ipcw(y, y, risk, tau=12),
        concordance_index_ipcw(y, y, risk, tau=8),
    ]
    assert np.unique(np.round(values, 8)).size == 4


def model_column(data, name):
    if ":" in name:
        return np.prod([model_column(data, part) for part in name.split(":")], axis=0)
    if name in data and not isinstance(data[name].dtype, pd.CategoricalDtype):
        return data[name].to_numpy(float)
    factor = next(
        f
        for f in data.select_dtypes("category")
        if name.startswith(f) and name[len(f) :] in data[f].cat.categories
    )
    return (data[factor] == name[len(factor) :]).to_numpy(float)


RIGHT = {"time": "time", "event": "status"}
CASES = {
    "lung": ("A01_cox_lung_efron", "efron", "concordance", RIGHT),
    "veteran": ("A02_cox_veteran_ties", "efron", "concordance", RIGHT),
    "veteran_strata": (
        "A02_cox_veteran_ties",
        "stratified_breslow",
        "concordance_stratified",
        {**RIGHT, "strata": "celltype"},
    ),
    "colon": (
        "A03_cox_colon_strata_weights_offset",
        "efron_weighted",
        "concordance",
        {**RIGHT, "strata": "differ", "weights": "w", "offset": "off"},
    ),
    "colon_unweighted": (
        "A03_cox_colon_strata_weights_offset",
        "efron_unweighted",
        "concordance_unweighted",
        {**RIGHT, "strata": "differ", "offset": "off"},
    ),
    "cgd": (
        "A04_cox_cgd_andersen_gill",
        "efron",
        "concordance",
        {"time": "tstop", "event": "status", "entry": "tstart", "id": "id"},
    ),
    "heart": (
        "A05_cox_heart_startstop_lefttrunc",
        "breslow",
        "concordance",
        {"time": "stop", "event": "event", "entry": "start"},
    ),
}


def oracle_case(name):
    case, block, key, columns = CASES[name]
    oracle = load_oracle(case)
    data = oracle.data
    risk = sum(b * model_column(data, v) for v, b in oracle.expected[block]["coef"].items())
    if "offset" in columns:
        risk = risk + data[columns["offset"]].to_numpy(float)
    values = {k: data[v] for k, v in columns.items() if k in ("time", "event", "entry", "id")}
    options = {
        "strata": data[columns["strata"]].astype(str) if "strata" in columns else None,
        "sample_weight": data[columns["weights"]] if "weights" in columns else None,
    }
    # Coefficients of 15 digits: equal rows of the design have equal risk only up to rounding.
    return Surv(**values), np.round(risk, 10), options, oracle.expected[key]


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_harrell_agrees_with_r(name):
    y, risk, options, expected = oracle_case(name)
    found = concordance(y, risk, **options)
    np.testing.assert_allclose(found.index, expected["harrell"], **ORACLE)
    np.testing.assert_allclose(found.std_error, expected["harrell_se"], **ORACLE)
    counts = expected["counts"]
    if isinstance(counts, dict):
        counts = [counts[k] for k in ("concordant", "discordant", "tied.x", "tied.y", "tied.xy")]
    counts = np.reshape(counts, (5, -1)).sum(axis=1)  # R gives them by stratum
    ours = [found.concordant, found.discordant, found.tied_risk, found.tied_time, found.tied_both]
    np.testing.assert_allclose(ours, counts, **ORACLE)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["lung", "veteran"])
def test_uno_agrees_with_r(name):
    y, risk, _, expected = oracle_case(name)
    found = concordance(y, risk, y_train=y)
    np.testing.assert_allclose(found.index, expected["uno_nG2"], **ORACLE)
    np.testing.assert_allclose(found.std_error, expected["uno_nG2_se"], **ORACLE)
    if "uno_tau" in expected:
        found = concordance_index_ipcw(y, y, risk, tau=expected["uno_tau"])
        np.testing.assert_allclose(found, expected["uno_at_tau"], **ORACLE)


def test_time_is_that_of_sorts_and_no_matrix_of_pairs_is_held(rng):
    n = 100_000
    risk = rng.normal(size=n)
    death, censored = rng.exponential(np.exp(-risk)), rng.exponential(1, n)
    y = Surv(np.minimum(death, censored), death <= censored)
    stable = min(timed(lambda: np.argsort(risk, kind="stable")) for _ in range(3))
    ours = min(timed(lambda: concordance_index(y, risk)) for _ in range(3))
    # About 8 stable sorts were measured; a matrix of pairs would be 80 gigabytes.
    assert ours < 80 * stable


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


Y = Surv([5, 3, 8], [1, 1, 0])
RISK = [0.1, 0.2, 0.3]
MISUSE = {
    "no_events": (lambda: concordance_index(Surv([5, 3], [0, 0]), [1, 2]), "none of the 2 rows"),
    "one_row": (lambda: concordance_index(Surv([5], [1]), [1]), "no comparable pairs"),
    "late_events": (lambda: concordance_index(Y, RISK, tau=2), "has an event up to tau"),
    "all_tied": (lambda: concordance_index(Y, [1, 1, 1], ties="exclude"), "equal risk"),
    "length": (lambda: concordance_index(Y, [1, 2]), "risk has 2 rows but 3"),
    "nan": (lambda: concordance_index(Y, [1, np.nan, 2]), "risk is missing in 1 row"),
    "strata_length": (lambda: concordance_index(Y, RISK, strata=["a"]), "strata has 1 rows"),
    "strata_nan": (lambda: concordance_index(Y, RISK, strata=["a", None, "a"]), "strata is miss"),
    "weights": (lambda: concordance_index(Y, RISK, sample_weight=[1, -1, 1]), "not negative"),
    "causes": (lambda: concordance_index(Surv([1, 2], [1, 2], n_causes=2), [1, 2]), "of_cause"),
    "follow_up": (
        lambda: concordance_index_ipcw(Surv([2, 3], [1, 0]), Y, RISK),
        "everybody in y_train is censored before|longest follow-up",
    ),
    "censored": (
        lambda: concordance_index_ipcw(Surv([2, 2.5, 9], [1, 0, 0])[:2], Y, RISK),
        "everybody in y_train is censored before time 3",
    ),
    "no_response": (lambda: concordance_index([1, 2, 3], RISK), "survival response is needed"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(case):
    call, message = MISUSE[case]
    with pytest.raises(DataError, match=message):
        call()


def test_options_that_do_not_exist():
    with pytest.raises(SpecificationError, match="harrell, exclude"):
        concordance_index(Y, RISK, ties="breslow")
    with pytest.raises(SpecificationError, match="tau must be"):
        concordance_index(Y, RISK, tau=-1)
