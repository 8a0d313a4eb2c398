"""PAMM: formulas over time, causes, pictures, predictions, bad input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

import semistruct as ss
from semistruct.encoders import CNNEncoder
from semistruct.exceptions import DataError, DataWarning, SpecificationError

N = 240


def survival_data(n: int = N, seed: int = 0, causes: int = 1):
    rng = np.random.default_rng(seed)
    bright = rng.random(n) < 0.5
    pixels = rng.normal(0, 0.5, (n, 1, 8, 8)).astype(np.float32)
    pixels[bright, :, 2:6, 2:6] += 1.5
    frame = pd.DataFrame(
        {
            "age": rng.normal(size=n),
            "group": rng.choice(["a", "b", "c"], n),
            "scan": ss.ImageArray(pixels),
        }
    )
    risk = 0.5 * frame["age"].to_numpy() + 1.2 * bright
    times = rng.exponential(np.exp(-risk)[:, None] * np.array([1.0, 1.5])[:causes])
    limit = rng.uniform(0.5, 3.0, n)
    time = np.minimum(times.min(axis=1), limit)
    event = np.where(times.min(axis=1) <= limit, times.argmin(axis=1) + 1, 0)
    return frame, ss.Surv(time, event, n_causes=causes), bright


@pytest.fixture(scope="module")
def competing():
    frame, y, _ = survival_data(causes=2)
    return frame, y, ss.PAMM("s(tend, k=5) + age", cuts=8).fit(frame, y)


def test_incidences_are_the_integrals_of_hazards_times_survival(competing):
    frame, _, model = competing
    rows, end = frame[:2], model.intervals_.ends[-1] * 0.93
    for cause in (1, 2):
        exact = model.predict_cumulative_incidence(rows, [end], cause=cause).to_numpy()[0]
        for i in range(2):
            one = rows.iloc[[i]]

            def density(t, one=one, cause=cause):
                hazard = model.predict_hazard(one, [t], cause=cause).iloc[0, 0]
                return hazard * model.predict_survival_function(one, [t]).iloc[0, 0]

            cuts = model.intervals_.cuts
            pieces = np.append(cuts[cuts < end], end)
            total = sum(quad(density, a, b)[0] for a, b in pairwise(pieces))
            assert_allclose(exact[i], total, rtol=1e-8)


def test_incidences_and_survival_add_up_to_one(competing):
    frame, _, model = competing
    incidence = model.predict_cumulative_incidence(frame)
    assert incidence.columns.names[0] == "cause"
    total = sum(incidence[cause].to_numpy() for cause in (1, 2))
    assert_allclose(total + model.predict_survival_function(frame).to_numpy(), 1.0, rtol=1e-12)


def test_causes_fitted_together_are_those_fitted_alone(competing):
    frame, y, model = competing
    for cause in (1, 2):
        alone = ss.PAMM("s(tend, k=5) + age", cuts=model.intervals_.cuts).fit(
            frame, y.of_cause(cause)
        )
        together = model.params[f"hazard_{cause}", "age"]
        assert_allclose(together, alone.params["hazard", "age"], rtol=1e-4)


def test_bands_of_incidences_hold_the_estimate(competing):
    frame, _, model = competing
    band = model.predict_cumulative_incidence(
        frame[:2], [0.5, 1.0], cause=1, level=0.9, n_draws=200, random_state=0
    )
    values = band.to_numpy().reshape(2, 2, 3)
    assert (values[..., 1] < values[..., 0]).all() and (values[..., 0] < values[..., 2]).all()


def test_formulas_of_their_own_for_each_cause():
    frame, y, _ = survival_data(causes=2)
    model = ss.PAMM({"hazard_1": "s(tend, k=5) + age", "hazard_2": "group"}, cuts=6).fit(frame, y)
    assert list(model.params["hazard_2"].index) == ["Intercept", "group[T.b]", "group[T.c]"]


def test_predictions_do_not_depend_on_how_rows_were_cut():
    frame, y, _ = survival_data()
    whole = ss.PAMM("age", cuts=[1.0, 3.0]).fit(frame, y)
    finer = ss.PAMM("age", cuts=[0.25, 0.5, 1.0, 1.7, 2.0, 3.0]).fit(frame, y)
    times = [0.3, 1.0, 2.4]
    assert_allclose(
        whole.predict_survival_function(frame, times),
        finer.predict_survival_function(frame, times),
        rtol=1e-8,
    )


def test_percentiles_and_restricted_means_invert_and_integrate_survival():
    frame, y, _ = survival_data()
    model = ss.PAMM("s(tend, k=5) + age", cuts=7).fit(frame, y)
    median = model.predict_median(frame)
    finite = median[np.isfinite(median)]
    assert len(finite) > 50
    for i, t in list(finite.items())[:5]:
        assert_allclose(model.predict_survival_function(frame.loc[[i]], [t]).iloc[0, 0], 0.5)
    mean = model.predict_restricted_mean(frame[:2], 1.1)
    grid = np.linspace(0, 1.1, 20001)
    curves = model.predict_survival_function(frame[:2], grid).to_numpy()
    assert_allclose(mean, np.trapezoid(curves, grid, axis=0), rtol=1e-6)
    with pytest.warns(DataWarning, match="constant from there"):
        model.predict_restricted_mean(frame[:2], 100.0)


def test_survival_bands_agree_with_simulated_coefficients():
    frame, y, _ = survival_data()
    model = ss.PAMM("s(tend, k=5) + age", cuts=7).fit(frame, y)
    band = model.predict_cumulative_hazard(frame[:2], [0.4, 1.0], level=0.95).to_numpy()
    band = np.log(band.reshape(2, 2, 3))
    se = (band[..., 2] - band[..., 1]) / (2 * 1.96)
    design = model.fit_.problem.designs[0]
    rng, V = np.random.default_rng(0), model.fit_.marginal.V
    beta = rng.multivariate_normal(model.fit_.marginal.beta, V, 4000)
    grid = model._grid(frame[:2], 1)
    hazards = np.exp(grid.block(design).dense() @ beta.T).T.reshape(-1, len(model.intervals_))
    drawn = model.intervals_.cumulative_hazard(hazards, [0.4, 1.0]).reshape(4000, 2, 2)
    assert_allclose(se, np.log(drawn).std(axis=0).T, rtol=0.1)


def count_encoded(monkeypatch):
    counts = []
    original = CNNEncoder.forward

    def counted(self, x, mask=None):
        counts.append(len(x))
        return original(self, x, mask)

    monkeypatch.setattr(CNNEncoder, "forward", counted)
    return counts


@pytest.mark.parametrize("n_cuts", [2, 12])
def test_a_picture_is_encoded_once_however_many_intervals(monkeypatch, n_cuts):
    counts = count_encoded(monkeypatch)
    frame, y, _ = survival_data()
    model = ss.PAMM(
        "tend + age + cnn(scan, hflip=False)",
        cuts=n_cuts,
        n_folds=2,
        n_repeats=1,
        max_epochs=2,
        learning_rate=1e-2,
        gate=False,
        progress=False,
        random_state=0,
    ).fit(frame, y)
    assert len(model.fit_.problem.y) > N * (n_cuts > 2)
    # Per fold: two epochs over one half, a look at the other before and after them.
    assert sum(counts) == 2 * (2 * N / 2 + 2 * N / 2)
    del counts[:]
    model.predict_survival_function(frame[:10])
    assert sum(counts) == 20  # two members


@pytest.fixture(scope="module")
def with_pictures():
    frame, y, bright = survival_data(400)
    model = ss.PAMM(
        "s(tend, k=5) + age + cnn(scan)",
        cuts=10,
        n_folds=3,
        n_repeats=1,
        progress=False,
        random_state=0,
    ).fit(frame, y)
    return frame, y, bright, model


def test_pictures_are_read(with_pictures):
    frame, y, bright, model = with_pictures
    assert model.fit_.deep.calibration.table["kept"].all()
    deep = model.term_contributions(frame)["hazard", "cnn(scan)"]
    assert deep[bright].mean() - deep[~bright].mean() > 0.6
    assert model.score(frame, y) > ss.PAMM("s(tend, k=5) + age", cuts=10).fit(frame, y).score(
        frame, y
    )
    assert "cluster" in str(model.summary())


def test_a_row_alone_is_the_row_among_others(with_pictures):
    frame, _, _, model = with_pictures
    whole = model.predict_survival_function(frame[:7]).to_numpy()
    alone = np.hstack([model.predict_survival_function(frame.iloc[[i]]) for i in range(7)])
    assert_allclose(alone, whole, rtol=1e-5)


def test_a_subject_without_picture_is_predicted_by_the_table(with_pictures):
    frame, _, _, model = with_pictures
    rows = frame[:4].copy()
    rows.loc[rows.index[1], "scan"] = None
    survival = model.predict_survival_function(rows, [0.5])
    assert survival.notna().all().all()


def test_figures_are_drawn(with_pictures):
    *_, model = with_pictures
    assert len(model.plot().axes) >= 3


def test_the_effect_of_a_picture_may_vary_with_time():
    rng = np.random.default_rng(5)
    frame, _, bright = survival_data(600, seed=5)
    # Bright pictures raise the hazard four times, but after time one only.
    first = rng.exponential(1.2, 600)
    later = 1 + rng.exponential(1.2, 600) / np.where(bright, 4.0, 1.0)
    time = np.where(first < 1, first, later)
    limit = rng.uniform(0.5, 4.0, 600)
    y = ss.Surv(np.minimum(time, limit), time <= limit)
    model = ss.PAMM(
        "s(tend, k=5) + cnn(scan, by=s(tend, k=4))",
        cuts=12,
        n_folds=2,
        n_repeats=1,
        progress=False,
        random_state=0,
    ).fit(frame, y)
    assert [slot.label for slot in model.fit_.deep.slots][:2] == [
        "cnn(scan, by=s(tend))",
        "cnn(scan, by=s(tend)).1",
    ]
    log_hazard = np.log(model.predict_hazard(frame, [0.3, 2.0]).to_numpy())
    early, late = (row[bright].mean() - row[~bright].mean() for row in log_hazard)
    assert abs(early) < 0.6 and late > early + 0.5
    alone = model.predict_hazard(frame.iloc[[3]], [0.3, 2.0]).to_numpy()[:, 0]
    assert_allclose(np.log(alone), log_hazard[:, 3], rtol=1e-5)
    sums = model.term_contributions(frame, time=2.0).sum(axis=1)
    assert_allclose(sums, log_hazard[1], rtol=1e-5, atol=1e-6)


def test_one_network_for_all_causes():
    frame, y, _ = survival_data(causes=2)
    model = ss.PAMM(
        "age + cnn(scan, hflip=False)",
        cuts=4,
        share_encoders=True,
        n_folds=2,
        n_repeats=1,
        max_epochs=3,
        gate=False,
        progress=False,
        random_state=0,
    ).fit(frame, y)
    net = model.fit_.deep.crossfit.members[0].net
    assert len(net.terms) == 1 and len(net.gammas) == 2


def test_scikit_learns_tools_work():
    frame, y, _ = survival_data()
    model = ss.PAMM("s(tend, k=4) + age", cuts=5)
    assert clone(model).get_params()["cuts"] == 5
    assert len(cross_val_score(model, frame, y, cv=3)) == 3
    search = GridSearchCV(model, {"cuts": [5, 8]}, cv=2).fit(frame, y)
    assert search.best_params_["cuts"] in (5, 8)


def test_without_a_formula_every_column_and_a_smooth_baseline():
    frame, y, _ = survival_data()
    model = ss.PAMM(cuts=12).fit(frame.drop(columns="scan"), y)
    assert {"s(tend)", "age", "group"} <= set(model.edf_["hazard"].index)


@pytest.mark.parametrize(("cuts", "baseline"), [(7, "s(tend)"), (3, "C(interval)"), (1, "age")])
def test_the_default_baseline_fits_the_number_of_intervals(cuts, baseline):
    frame, y, _ = survival_data()
    model = ss.PAMM(cuts=cuts).fit(frame.drop(columns="scan"), y)
    assert len(model.intervals_.ends) == cuts
    assert any(name.startswith(baseline) for name in model.edf_["hazard"].index)
    hazards = model.predict_hazard(frame.drop(columns="scan")[:2])
    assert hazards.shape == (cuts, 2) and (hazards > 0).to_numpy().all()


def test_hazard_ratios_have_the_columns_of_lifelines(competing):
    frame, y, model = competing
    several = model.hazard_ratios()
    assert list(several.index) == [("hazard_1", "age"), ("hazard_2", "age")]
    one = ss.PAMM("s(tend, k=4) + age", cuts=6).fit(frame, y.of_cause(1)).hazard_ratios()
    assert list(one.index) == ["age"] and one.index.name == "covariate"
    assert_allclose(one["exp(coef)"], np.exp(one["coef"]))


def test_weights_of_zero_are_absent_rows():
    frame, y, _ = survival_data()
    keep = np.arange(N) % 3 > 0
    cuts = [0.5, 1.0, 3.0]
    weighted = ss.PAMM("age", cuts=cuts).fit(frame, y, keep.astype(float))
    fewer = ss.PAMM("age", cuts=cuts).fit(frame[keep], y[keep])
    assert_allclose(weighted.params, fewer.params, rtol=1e-10)


def test_the_response_may_stand_in_the_formula():
    frame, y, _ = survival_data()
    table = frame.assign(time=y.time, dead=y.event)
    model = ss.PAMM("Surv(time, dead) ~ s(tend, k=4) + age", cuts=6).fit(table)
    other = ss.PAMM("s(tend, k=4) + age", cuts=6).fit(frame, y)
    assert_allclose(model.params, other.params)
    assert model.score(table) == other.score(frame, y)


@pytest.mark.parametrize(
    ("formula", "options", "error", "match"),
    [
        ("age", {"cuts": [2, 1]}, SpecificationError, "cut"),
        ("age", {"cuts": [500, 1000]}, DataError, "follow-up"),
        ("age + cnn(tend)", {}, Exception, "tend"),
        ("s(tend) + mlp(age, tend)", {}, SpecificationError, "mlp"),
        ("age + nothing", {}, DataError, "nothing"),
        ("age + strata(group)", {}, SpecificationError, "strata"),
        ("cause + age", {}, DataError, "cause"),
        ({"hazard_3": "age"}, {}, SpecificationError, "hazard_3"),
    ],
)
def test_what_makes_no_sense_is_refused(formula, options, error, match):
    frame, y, _ = survival_data(60)
    model = ss.PAMM(formula, **{"cuts": 4, **options})
    with pytest.raises(error, match=match):
        model.fit(frame, y)
    assert not hasattr(model, "fit_")


def test_a_column_of_the_table_does_not_hide_behind_time():
    frame, y, _ = survival_data(60)
    with pytest.raises(DataError, match="rename the column"):
        ss.PAMM("s(tend, k=4)", cuts=4).fit(frame.assign(tend=1.0), y)
    ss.PAMM("age", cuts=4).fit(frame.assign(tend=1.0), y)


def test_times_beyond_the_last_cut_are_refused():
    frame, y, _ = survival_data(60)
    model = ss.PAMM("age", cuts=4).fit(frame, y)
    with pytest.raises(DataError, match="last cut point"):
        model.predict_survival_function(frame, [50.0])
    with pytest.raises(SpecificationError, match="cause must be one of"):
        model.predict_hazard(frame, cause=3)


def test_no_event_at_all():
    frame, y, _ = survival_data(60)
    with pytest.raises(DataError, match="event"):
        ss.PAMM("age", cuts=4).fit(frame, ss.Surv(y.time, np.zeros(60)))


def test_average_survival_of_groups_and_its_error():
    frame, y, _ = survival_data()
    model = ss.PAMM("s(tend, k=5) + age + group", cuts=6).fit(frame, y)
    times = [0.4, 1.1]
    found = model.predict_average_survival(frame, times, by="group", level=0.95)
    for name in "abc":
        own = frame[frame["group"] == name]
        mean = model.predict_survival_function(own, times).mean(axis=1)
        assert_allclose(found[name, "estimate"], mean, rtol=1e-12)
    one = model.predict_average_survival(frame[:1], times, level=0.9)
    alone = model.predict_survival_function(frame[:1], times, level=0.9)
    assert_allclose(one, alone, rtol=1e-10)
    with pytest.raises(DataError, match="2 labels"):
        model.predict_average_survival(frame, times, by=["x", "y"])
    with pytest.raises(DataError, match="row 1 is missing"):
        model.predict_average_survival(frame[:2], times, by=["x", None])


def test_hazard_ratios_are_quotients_of_hazards_with_the_band_of_their_contrast():
    frame, y, _ = survival_data()
    model = ss.PAMM("s(tend, k=5) + age + s(tend, by=age, k=5) + group", cuts=6).fit(frame, y)
    found = model.predict_hazard_ratio(frame[:3], frame[3:4], level=0.95)
    quotient = (
        model.predict_hazard(frame[:3]).to_numpy() / model.predict_hazard(frame[3:4]).to_numpy()
    )
    estimates = found.xs("estimate", axis=1, level=1)
    assert np.ptp(estimates.to_numpy(), axis=0).min() > 0
    assert_allclose(estimates, quotient, rtol=1e-10)
    same = model.predict_hazard_ratio(frame[:2], frame[:2], level=0.95)
    assert_allclose(same, 1.0)
    fixed = ss.PAMM("s(tend, k=5) + age + group", cuts=6).fit(frame, y)
    unit = [frame[:1].assign(age=a) for a in (1.0, 0.0)]
    band = fixed.predict_hazard_ratio(*unit, times=[0.5], level=0.95)
    wald = fixed.hazard_ratios().loc["age"]
    names = ["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%"]
    assert_allclose(band.to_numpy()[0], wald[names], rtol=1e-8)
    with pytest.raises(DataError, match="reference has 2 rows"):
        model.predict_hazard_ratio(frame[:3], frame[:2])


def test_hazard_ratios_need_a_cause(competing):
    frame, _, model = competing
    with pytest.raises(SpecificationError, match="that of one cause"):
        model.predict_hazard_ratio(frame[:2], frame[:1])
    assert model.predict_hazard_ratio(frame[:2], frame[:1], cause=2).shape[1] == 2
