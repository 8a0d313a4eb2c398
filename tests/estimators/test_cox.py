"""CoxPH as an estimator: responses, strata, pictures, prediction and refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

import semistruct as ss

QUICK = {"n_folds": 2, "n_repeats": 1, "max_epochs": 3, "progress": False, "random_state": 0}


def study(n=200, seed=0, pictures=False):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(-1, 1, n),
            "site": rng.choice(["a", "b", "c"], n),
        }
    )
    mark = rng.integers(0, 2, n)
    eta = 0.8 * frame["x"] + 1.5 * mark * pictures
    time = rng.exponential(np.exp(-eta.to_numpy()))
    censored = rng.exponential(2.0, n)
    frame["time"], frame["event"] = np.minimum(time, censored), time <= censored
    if pictures:
        scans = rng.integers(0, 60, (n, 1, 8, 8)).astype(np.uint8)
        scans[mark == 1, :, 2:6, 2:6] += 150
        frame["scan"] = ss.ImageArray(scans)
    return frame


def follow_up(frame):
    return ss.Surv(frame["time"], frame["event"])


def test_agrees_with_lifelines():
    frame = study()
    theirs = CoxPHFitter(strata=["site"]).fit(
        frame, "time", "event", formula="x + z", fit_options={"precision": 1e-12}
    )
    model = ss.CoxPH("x + z + strata(site)").fit(frame, follow_up(frame))
    table = model.hazard_ratios()
    expected = theirs.summary.drop(columns="cmp to")
    assert list(table.columns) == list(expected.columns)
    assert_allclose(table, expected.loc[table.index], rtol=1e-6, atol=1e-8)
    assert model.loglik_ == pytest.approx(theirs.log_likelihood_, rel=1e-10)
    # Step functions at the times of everybody; lifelines returns the rows stratum by stratum.
    expected = theirs.predict_survival_function(frame[:20]).sort_index()
    surv = model.predict_survival_function(frame[:20], expected.index)
    assert_allclose(surv, expected[surv.columns], atol=1e-6)
    assert_allclose(model.predict_median(frame), theirs.predict_median(frame).loc[frame.index])


def test_response_in_the_formula():
    frame = study()
    apart = ss.CoxPH("x").fit(frame, follow_up(frame))
    inside = ss.CoxPH("Surv(time, event) ~ x").fit(frame)
    pd.testing.assert_series_equal(apart.params, inside.params)
    assert inside.score(frame) == apart.score(frame, follow_up(frame))
    late = frame.assign(start=frame["time"] * 0.3)
    named = ss.CoxPH("Surv(time, event, entry=start) ~ x").fit(late)
    entered = ss.Surv(late["time"], late["event"], late["start"])
    pd.testing.assert_series_equal(ss.CoxPH("x").fit(late, entered).params, named.params)
    assert abs(named.params.iloc[0] - inside.params.iloc[0]) > 1e-6
    with pytest.raises(ss.SpecificationError, match="given twice"):
        ss.CoxPH("Surv(time, event) ~ x").fit(frame, follow_up(frame))
    with pytest.raises(ss.SpecificationError, match="one column"):
        ss.CoxPH("time ~ x").fit(frame)
    with pytest.raises(ss.DataError, match="no column 'dead'"):
        ss.CoxPH("Surv(time, dead) ~ x").fit(frame)


def test_splitting_follow_up_changes_nothing():
    frame = study().assign(id=np.arange(200))
    whole = ss.CoxPH("x + z").fit(frame, follow_up(frame))
    cut = 0.4 * frame["time"]
    first = frame.assign(start=0.0, stop=cut, died=False)
    second = frame.assign(start=cut, stop=frame["time"], died=frame["event"])
    both = pd.concat([first, second], ignore_index=True)
    y = ss.Surv(both["stop"], both["died"], both["start"], both["id"])
    split = ss.CoxPH("x + z + cluster(id)").fit(both, y)
    assert_allclose(split.params, whole.params, rtol=1e-8)
    robust = ss.CoxPH("x + z", cov_type="sandwich").fit(frame, follow_up(frame))
    assert_allclose(split.bse, robust.bse, rtol=1e-8)


def test_weight_zero_is_absent_and_constants_are_dropped():
    frame = study()
    weight = (np.arange(200) % 3 > 0) * 1.0
    part = frame[weight > 0]
    weighted = ss.CoxPH("s(z) + x").fit(frame, follow_up(frame), weight)
    absent = ss.CoxPH("s(z) + x").fit(part, follow_up(part))
    assert_allclose(weighted.params, absent.params, rtol=1e-8)
    assert weighted.n_events_ == absent.n_events_
    with pytest.warns(ss.DataWarning, match="'one'"):
        dropped = ss.CoxPH("x + one").fit(frame.assign(one=1.0), follow_up(frame))
    assert list(dropped.params.index.get_level_values(1)) == ["x"]


def test_no_structured_terms():
    frame = study(pictures=True)
    empty = ss.CoxPH("1").fit(frame, follow_up(frame))
    assert empty.predict(frame).tolist() == [0.0] * 200
    assert empty.loglik_ == empty.loglik_null_
    surv = empty.predict_survival_function(frame[:1], times=[0.5])
    assert 0 < surv.iloc[0, 0] < 1
    deep = ss.CoxPH("cnn(scan)", **QUICK).fit(frame, follow_up(frame))
    assert np.isfinite(deep.predict(frame)).all()


def test_a_picture_that_matters_is_found_and_rows_stand_alone():
    frame = study(400, pictures=True)
    flat = ss.nn.ModuleEncoder(nn.Flatten(), (1, 8, 8), frozen=True)
    y = follow_up(frame)
    model = ss.CoxPH(
        "x + own(scan) + strata(site)", encoders={"own": flat}, random_state=0, progress=False
    ).fit(frame, y)
    table = ss.CoxPH("x + strata(site)").fit(frame, y)
    assert model.fit_.deep.calibration.table["kept"].all()
    new = study(1000, seed=1, pictures=True)
    assert model.score(new, follow_up(new)) > table.score(new, follow_up(new)) + 0.05
    pd.testing.assert_series_equal(model.params, table.params)
    together = model.predict(new)
    alone = [model.predict(new.iloc[[i]])[0] for i in range(5)]
    assert_allclose(alone, together[:5], rtol=1e-5, atol=1e-6)
    band = model.predict_survival_function(new[:3], times=[0.5], level=0.9)
    ends = band.T.unstack()
    assert (ends.xs("lower", axis=1, level=1) < ends.xs("estimate", axis=1, level=1)).all(axis=None)
    assert "cnn" not in str(model.summary()) and "own(scan)" in str(model.summary())


def test_networks_train_on_batches_with_events():
    frame = study(200, pictures=True)
    rare = frame.assign(event=frame["event"] & (frame["x"] > 0.8))
    assert 3 < rare["event"].sum() < 60
    model = ss.CoxPH("x + cnn(scan)", batch_size=16, **QUICK).fit(rare, follow_up(rare))
    assert np.isfinite(model.history_["train_loss"].dropna()).all()
    again = ss.CoxPH("x + cnn(scan)", batch_size=16, **QUICK).fit(rare, follow_up(rare))
    assert_allclose(again.predict(rare), model.predict(rare))


def test_scikit_learn_tools():
    frame = study()
    y = follow_up(frame)
    model = ss.CoxPH("x + s(z)")
    scores = cross_val_score(model, frame, y, cv=3)
    assert (scores > 0.6).all()
    search = GridSearchCV(model, {"ties": ["efron", "breslow"]}, cv=2).fit(frame, y)
    assert search.best_params_["ties"] in ("efron", "breslow")
    fitted = clone(model).fit(frame, y)
    assert_allclose(pickle.loads(pickle.dumps(fitted)).predict(frame), fitted.predict(frame))
    everything = ss.CoxPH().fit(frame[["x", "z"]], y)
    assert list(everything.params.index.get_level_values(1)) == ["x", "z"]
    array = ss.CoxPH().fit(frame[["x", "z"]].to_numpy(), y)
    assert_allclose(array.params, everything.params)


def test_curves_percentiles_and_means_belong_together():
    frame = study()
    model = ss.CoxPH("x").fit(frame, follow_up(frame))
    surv = model.predict_survival_function(frame[:5])
    assert (surv.diff().dropna() <= 0).all(axis=None)
    hazard = model.predict_cumulative_hazard(frame[:5], surv.index, level=0.8)
    assert_allclose(np.exp(-hazard.xs("estimate", axis=1, level=1)), surv)
    for i, median in enumerate(model.predict_median(frame[:5])):
        if np.isfinite(median):
            assert surv.iloc[:, i].loc[median] <= 0.5
            assert (surv.iloc[:, i].loc[: median - 1e-9] > 0.5).all()
    short = model.predict_restricted_mean(frame[:5], 0.7)
    grid = np.linspace(0, 0.7, 20001)
    steps = model.predict_survival_function(frame[:5], grid).mean()
    assert_allclose(short, 0.7 * steps, rtol=1e-3)
    with pytest.warns(ss.DataWarning, match="follow-up ends"):
        model.predict_restricted_mean(frame[:1], 1e3)
    unseen = frame[:5].assign(x=-8.0)
    assert np.isinf(model.predict_median(unseen)).all()
    ratio = model.predict_partial_hazard(frame)
    assert_allclose(np.log(ratio).mean(), 0, atol=1e-10)
    assert model.predict_survival_function(frame[:2], times=[0.0]).to_numpy().tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"event": False}, ss.DataError, "none of the 200 rows has an event"),
        ({"time": -1.0}, ss.DataError, "negative"),
        ({"time": np.nan}, ss.DataError, "time is missing"),
        ({"time": np.inf}, ss.DataError, "finite"),
        ({"event": 2}, ss.DataError, "event"),
        ({"event": np.nan}, ss.DataError, "event is missing"),
        ({"time": pd.Timestamp("2020-01-01")}, ss.DataError, "dates .*whose unit would be lost"),
        ({"time": pd.Timedelta(days=3)}, ss.DataError, "durations"),
    ],
)
def test_follow_up_that_cannot_be_used(change, error, words):
    frame = study()
    model = ss.CoxPH("Surv(time, event) ~ x")
    with pytest.raises(error, match=words):
        model.fit(frame.assign(**change))
    assert not hasattr(model, "fit_")


@pytest.mark.parametrize(
    ("entry", "words"),
    [(1.0, "entry must be before time"), (np.nan, "entry is missing"), (-1.0, "not be negative")],
)
def test_entries_that_cannot_be_used(entry, words):
    frame = study().assign(start=entry)
    frame["time"] = np.minimum(frame["time"], 1.0)
    with pytest.raises(ss.DataError, match=words):
        ss.CoxPH("Surv(time, event, entry=start) ~ x").fit(frame)


def test_times_at_zero_and_in_whole_days():
    frame = study()
    days = np.floor(frame["time"] * 10).astype(int)
    assert (days == 0).any()
    theirs = CoxPHFitter().fit(
        frame.assign(days=days), "days", "event", formula="x", fit_options={"precision": 1e-12}
    )
    model = ss.CoxPH("x").fit(frame, ss.Surv(days, frame["event"].astype(int)))
    assert_allclose(model.params, theirs.params_, rtol=1e-6)
    surv = model.predict_survival_function(frame[:1], [0.0, 1e6])
    assert surv.iloc[0, 0] < 1.0  # there are events at zero
    assert surv.iloc[1, 0] == model.predict_survival_function(frame[:1]).iloc[-1, 0]


def test_extremes_of_size():
    frame = study()
    y = follow_up(frame)
    for scale, shift in ((1e8, 1e12), (1e-12, 0.0)):
        moved = ss.CoxPH("x").fit(frame.assign(x=frame["x"] * scale + shift), y)
        assert_allclose(moved.params * scale, ss.CoxPH("x").fit(frame, y).params, rtol=1e-3)
    last = np.arange(200) == frame["time"].argmax()
    with pytest.warns(ss.DataWarning) as found:
        ss.CoxPH("x").fit(frame, ss.Surv(frame["time"], last))
    assert any("nobody else is at risk" in str(w.message) for w in found)
    with pytest.warns(ss.DataWarning, match="nobody else is at risk"):
        ss.CoxPH("x").fit(frame, ss.Surv(frame["time"], frame["event"], frame["time"] * 0.99999))
    with pytest.warns(ss.DataWarning, match="'x'"):
        empty = ss.CoxPH("x").fit(frame[:1], ss.Surv([1.0], [1]))
    assert empty.predict(frame).tolist() == [0.0] * 200
    everyone = ss.CoxPH("x").fit(frame, ss.Surv(np.ones(200), np.ones(200)))
    assert abs(everyone.params.iloc[0]) < 1e-8
    one = frame["event"] & (frame["time"] == frame["time"][frame["event"]].iloc[0])
    assert one.sum() == 1
    single = ss.CoxPH("x").fit(frame, ss.Surv(frame["time"], one))
    with pytest.raises(ss.DataError, match="two times"):
        single.check_assumptions()
    with pytest.raises(ss.DataError, match="none of the"):
        ss.CoxPH("x").fit(frame, y, (~frame["event"]).astype(float))
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(10, 15))).add_prefix("v")
    with pytest.warns(Warning) as found:
        ss.CoxPH().fit(wide, y[np.arange(10)])
    assert any("linear combinations" in str(w.message) for w in found)


def test_refusals():
    frame = study()
    y = follow_up(frame)
    with pytest.raises(ss.DataError, match="no response"):
        ss.CoxPH("x").fit(frame)
    with pytest.raises(ss.DataError, match="rows"):
        ss.CoxPH("x").fit(frame[:50], y)
    with pytest.raises(ss.SpecificationError, match="ties"):
        ss.CoxPH("x", ties="exact").fit(frame, y)
    with pytest.raises(ss.UnsupportedCombinationError, match="saturated"):
        ss.CoxPH("s(z)", smoothing="gcv").fit(frame, y)
    with pytest.raises(ss.UnsupportedCombinationError, match="competing"):
        ss.CoxPH("x").fit(frame, ss.Surv(frame["time"], frame["event"] * 2, n_causes=2))
    with pytest.raises(ss.DataError, match="missing in row 3"):
        holes = frame.assign(site=frame["site"].where(frame.index != 3))
        ss.CoxPH("x + strata(site)").fit(holes, y)
    model = ss.CoxPH("x + strata(site)").fit(frame, y)
    with pytest.raises(ss.DataError, match="no baseline"):
        model.predict_survival_function(frame.assign(site="d"), times=[1.0])
    for bad in ([np.nan], [-1.0], [[1.0]]):
        with pytest.raises(ss.SpecificationError, match="times"):
            model.predict_survival_function(frame, times=bad)
    with pytest.raises(ss.SpecificationError, match="transform"):
        model.predict_survival_function(frame, level=0.9, transform="probit")
    with pytest.raises(ss.SpecificationError, match="between 0 and 1"):
        model.predict_percentile(frame, 1.5)
    with pytest.raises(ss.SpecificationError, match="positive"):
        model.predict_restricted_mean(frame, 0)
    with pytest.raises(ss.SpecificationError, match="kind"):
        model.residuals("pearson")
    with pytest.raises(ss.DataError, match="comparable"):
        model.score(frame[:1], y[:1])


def test_separation_and_a_stratum_without_events_are_survived():
    frame = study(60)
    apart = frame.assign(flag=(frame["event"] * 1.0))
    with pytest.warns(ss.ConvergenceWarning, match="separation"):
        ss.CoxPH("x + flag").fit(apart, follow_up(apart))
    quiet = frame.assign(event=frame["event"] & (frame["site"] != "a"))
    model = ss.CoxPH("x + strata(site)").fit(quiet, follow_up(quiet))
    surv = model.predict_survival_function(quiet[quiet["site"] == "a"][:1], times=[1.0])
    assert surv.iloc[0, 0] == 1.0
    single = frame.assign(event=frame["time"] == frame["time"].min())
    assert np.isfinite(ss.CoxPH("x", cov_type="model").fit(single, follow_up(single)).bse).all()


def test_curves_are_computed_when_asked_for_and_forgotten_by_the_next_fit():
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"x": rng.normal(size=60)})
    y = ss.Surv(rng.exponential(size=60), np.ones(60, dtype=bool))
    model = ss.CoxPH("x").fit(table, y)
    assert "curves_" not in vars(model)
    first = model.curves_
    assert model.curves_ is first
    assert model.fit(table[:30], y[np.arange(30)]).curves_ is not first
    with pytest.raises(ss.SemistructError, match="cluster"):
        ss.CoxPH("x", cov_type="cluster").fit(table, y)


def test_average_survival_in_strata_has_the_error_of_its_gradient():
    rng = np.random.default_rng(3)
    n = 200
    table = pd.DataFrame({"age": rng.normal(size=n), "centre": rng.choice(["a", "b"], n)})
    y = ss.Surv(rng.exponential(np.exp(-0.5 * table["age"])), rng.random(n) < 0.7)
    model = ss.CoxPH("age + strata(centre)").fit(table, y)
    rows, times = table[:40], np.array([0.3, 0.9])
    found = model.predict_average_survival(rows, times, level=0.95, transform="plain")
    mean = model.predict_survival_function(rows, times).mean(axis=1)
    np.testing.assert_allclose(found["all", "estimate"], mean, rtol=1e-12)
    # The variance from known coefficients adds up over strata, that of the coefficient by the
    # numerical derivative of the mean; the baseline moves with the coefficient.
    curves, h = model.curves_, 1e-5
    eta, stratum = model.predict(rows) - curves.center, (rows["centre"] == "b").to_numpy(int)
    variance = np.zeros(2)
    slope = np.zeros(2)
    for s in (0, 1):
        own = stratum == s
        assert own.any()
        H, at = curves.baseline.at(times, s), curves.baseline.position(times, s)
        weight = np.exp(eta[own] - H[:, None] * np.exp(eta[own]))
        variance += (weight.sum(axis=1) / 40) ** 2 * curves.baseline.variance[at]
        x = rows["age"].to_numpy()[own] - curves.means[0]
        drift = curves.baseline.drift[at, 0]

        def moved(step, own=own, x=x, H=H, drift=drift):
            level = H - step * drift
            return np.exp(-level[:, None] * np.exp(eta[own] + step * x)).sum(axis=1) / 40

        slope += (moved(h) - moved(-h)) / (2 * h)
    error = np.sqrt(variance + slope**2 * curves.covariance[0, 0])
    half = (found["all", "upper"] - found["all", "estimate"]) / 1.959963984540054
    np.testing.assert_allclose(half, error, rtol=1e-6)
