"""Rows without pictures: predictions are averages over what the pictures may say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import semistruct as ss
from semistruct.inference.mixed_curves import mixed_standard_error

N = 160
OPTIONS = {
    "n_folds": 2,
    "n_repeats": 1,
    "max_epochs": 40,
    "batch_size": 80,
    "learning_rate": 1e-2,
    "gate": False,
    "progress": False,
    "random_state": 0,
}
TERM = "mlp(ct, hidden=(8,), latent_dim=4, dropout=0.0)"
TWO = f"{TERM} + mlp(pet, hidden=(8,), latent_dim=4, dropout=0.0)"
FUSED = "deep(ct, pet, fusion='mean', latent_dim=4, hidden=(8,), dropout=0.0)"
TIMES = [0.1, 0.5, 1.0]


def study(n: int = N, seed: int = 0) -> pd.DataFrame:
    """What two tensors say moves the response, as age does."""
    rng = np.random.default_rng(seed)
    age, a, b = rng.normal(size=(3, n))
    noise = rng.normal(0, 0.3, (2, n, 6))
    frame = pd.DataFrame(
        {
            "age": age,
            "ct": ss.TensorArray((a[:, None] + noise[0]).astype(np.float32)),
            "pet": ss.TensorArray((b[:, None] + noise[1]).astype(np.float32)),
        }
    )
    eta = 0.5 * age + a + 0.7 * b
    frame["y"] = eta + rng.normal(0, 0.4, n)
    frame["label"] = np.where(eta + rng.logistic(size=n) > 0, "yes", "no")
    frame["count"] = rng.poisson(np.exp(0.5 * eta))
    frame["time"] = np.minimum(rng.exponential(np.exp(-eta)), 1.5) + 1e-6 * np.arange(n)
    frame["event"] = (frame["time"] < 1.5) * rng.integers(1, 3, n)
    return frame


def without(frame: pd.DataFrame, *columns: str, rows=slice(None)) -> pd.DataFrame:
    frame = frame.copy()
    for name in columns:
        column = frame[name].array.copy()
        column[np.arange(len(frame))[rows]] = None
        frame[name] = column
    return frame


STUDY = study()
SURV = ss.Surv(STUDY["time"], STUDY["event"] > 0)
CAUSES = ss.Surv(STUDY["time"], STUDY["event"], n_causes=2)
MAKE = {
    "normal": lambda: ss.SemiStructuredRegressor(f"age + {TERM}", **OPTIONS).fit(STUDY, STUDY["y"]),
    "poisson": lambda: ss.SemiStructuredRegressor(f"age + {TERM}", "poisson", **OPTIONS).fit(
        STUDY, STUDY["count"]
    ),
    "two": lambda: ss.SemiStructuredRegressor(f"age + {TWO}", **OPTIONS).fit(STUDY, STUDY["y"]),
    "fused": lambda: ss.SemiStructuredRegressor(
        f"age + {FUSED}", modality_dropout="one", **OPTIONS
    ).fit(STUDY, STUDY["y"]),
    "token": lambda: ss.SemiStructuredRegressor(
        f"age + {FUSED[:-1]}, absence='token')",
        modality_dropout=0.3,
        **{**OPTIONS, "max_epochs": 120},
    ).fit(STUDY, STUDY["y"]),
    "varying": lambda: ss.SemiStructuredRegressor(f"age + {TERM[:-1]}, by=age)", **OPTIONS).fit(
        STUDY, STUDY["y"]
    ),
    "classes": lambda: ss.SemiStructuredClassifier(f"age + {TERM}", **OPTIONS).fit(
        STUDY, STUDY["label"]
    ),
    "cox": lambda: ss.CoxPH(f"age + {TERM}", **OPTIONS).fit(STUDY, SURV),
    "pamm": lambda: ss.PAMM(f"s(tend, k=4) + age + {TERM}", cuts=6, **OPTIONS).fit(STUDY, SURV),
    "causes": lambda: ss.PAMM(
        f"s(tend, k=4) + age + {TERM}", cuts=6, share_encoders=True, **OPTIONS
    ).fit(STUDY, CAUSES),
    "discrete": lambda: ss.DiscreteHazard(f"s(tend, k=4) + age + {TERM}", cuts=6, **OPTIONS).fit(
        STUDY, SURV
    ),
}
FITTED: dict[str, object] = {}


def fitted(name: str):
    if name not in FITTED:
        FITTED[name] = MAKE[name]()
    model = FITTED[name]
    assert model.fit_.deep.calibration.gamma.any()
    return model


NEW = study(12, seed=1)
GONE = without(NEW, "ct", rows=slice(0, 8))


def nodes_of(model, frame):
    """Predictors of every node of the first row, each put in by hand."""
    nodes = model.fit_.nodes(frame)
    own = nodes.values[nodes.row == 0]
    assert len(own) > 20 and np.ptp(own[:, 0]) > 0
    rows = frame.iloc[np.zeros(len(own), dtype=int)]
    return model.fit_.predictor.eta(rows, model.fit_.weighted(own, rows))


def test_a_response_is_predicted_by_a_mixture():
    model = fitted("normal")
    loc, log_scale = nodes_of(model, GONE).T
    part = stats.norm(loc, np.exp(log_scale))
    first = GONE.iloc[[0]]
    np.testing.assert_allclose(model.predict(first), loc.mean())
    y = 0.7
    expected = logsumexp(part.logpdf(y)) - np.log(len(loc))
    np.testing.assert_allclose(model.log_prob(first, [y]), expected)
    lower, upper = model.predict_interval(first, 0.8).iloc[0]
    np.testing.assert_allclose(part.cdf(lower).mean(), 0.1)
    np.testing.assert_allclose(part.cdf(upper).mean(), 0.9)
    survival = model.predict_survival_function(first, [y]).iloc[0, 0]
    np.testing.assert_allclose(survival, part.sf(y).mean())
    np.testing.assert_allclose(model.quantile_residuals(first, [y]), stats.norm.ppf(1 - survival))
    drawn = model.sample(first, 4000, random_state=0)[:, 0]
    assert stats.kstest(drawn, lambda v: part.cdf(np.asarray(v)[..., None]).mean(-1)).pvalue > 1e-3
    # Wider than that of any picture.
    assert model.sample(NEW.iloc[[0]], 4000, random_state=0).std() < 0.8 * drawn.std()


def test_counts():
    model = fitted("poisson")
    part = stats.poisson(np.exp(nodes_of(model, GONE)[:, 0]))
    first = GONE.iloc[[0]]
    np.testing.assert_allclose(model.predict(first), part.mean().mean())
    np.testing.assert_allclose(np.exp(model.log_prob(first, [2])), part.pmf(2).mean())
    for q in (0.05, 0.5, 0.9, 0.99):
        found = model.predict_quantile(first, q)[0]
        assert part.cdf(found).mean() >= q > part.cdf(found - 1).mean()


def test_classes():
    model = fitted("classes")
    p = 1 / (1 + np.exp(-nodes_of(model, GONE)[:, 0]))
    first = GONE.iloc[[0]]
    np.testing.assert_allclose(model.predict_proba(first)[0], [1 - p.mean(), p.mean()])
    share = (model.sample(first, 4000, random_state=0) == "yes").mean()
    assert share == pytest.approx(p.mean(), abs=0.03)


def test_cox_averages_survival_and_not_hazards():
    model = fitted("cox")
    eta = nodes_of(model, GONE)[:, 0]
    first = GONE.iloc[[0]]
    curves = model.curves_
    hazards = np.outer(curves.baseline.at(TIMES), np.exp(eta - curves.center))
    found = model.predict_survival_function(first, TIMES).to_numpy()[:, 0]
    np.testing.assert_allclose(found, np.exp(-hazards).mean(axis=1))
    assert (found > np.exp(-hazards.mean(axis=1)) + 1e-3).all()
    np.testing.assert_allclose(model.predict(first), np.log(np.exp(eta).mean()))
    average = model.predict_average_survival(GONE, TIMES, level=0.9)["all"]
    np.testing.assert_allclose(
        average["estimate"], model.predict_survival_function(GONE, TIMES).mean(axis=1)
    )
    assert (average["lower"] < average["estimate"]).all()


def test_the_band_of_a_cox_mixture():
    """Against a difference in the direction of one coefficient, the baseline being held."""
    model = fitted("cox")
    curves, nodes = model.curves_, model._nodes(GONE)
    X, stratum = GONE[["age"]].to_numpy(), np.zeros(len(GONE), dtype=int)
    assert X.shape[1] == len(curves.means)
    times = np.array(TIMES)
    at = curves.baseline.position(times, 0)
    level, drift = curves.baseline.cumulative_hazard[at], curves.baseline.drift[at, 0]

    def minus_log_survival(h):
        # H_0 falls by its drift as the coefficient grows.
        hazard = level[:, None] - h * drift[:, None]
        eta = nodes.values - curves.center + h * (X[nodes.row, 0] - curves.means[0])
        return -nodes.logmean(-(hazard * np.exp(eta)).T).T

    h = 1e-5
    slope = (minus_log_survival(h) - minus_log_survival(-h)) / (2 * h)
    total = mixed_standard_error(curves, times, X, nodes, stratum) ** 2
    fixed = np.where(slope == 0, 0, slope**2) * curves.covariance[0, 0]
    free = total - fixed
    # What is left is the baseline's own variance, in the proportion of the mean hazard ratios.
    ratio = np.sqrt(free / curves.baseline.variance[at][:, None])
    weights = np.exp(-np.outer(np.exp(nodes.values - curves.center), level))
    expected = nodes.mean(weights * np.exp(nodes.values - curves.center)[:, None])
    np.testing.assert_allclose(ratio, (expected / nodes.mean(weights)).T, rtol=1e-5)


@pytest.mark.parametrize("name", ["pamm", "discrete", "causes"])
def test_intervals(name):
    model = fitted(name)
    nodes = model.fit_.nodes(GONE)
    own = nodes.values[nodes.row == 0]
    first = GONE.iloc[[0]]
    ends = model.intervals_.ends
    etas = model._eta_of(GONE.iloc[np.zeros(len(own), dtype=int)], own)
    survival = np.exp(-model._cumulative(etas, ends)).mean(axis=0)
    np.testing.assert_allclose(
        model.predict_survival_function(first, ends).iloc[:, 0], survival, rtol=1e-8
    )
    incidences = model._incidences(etas, ends).mean(axis=1)
    for k, cause in enumerate(model.causes_):
        found = model.predict_cumulative_incidence(first, ends, cause=cause)
        np.testing.assert_allclose(found.iloc[:, 0], incidences[k], rtol=1e-8)
    np.testing.assert_allclose(
        model.predict(first),
        np.log(-np.log(model.predict_survival_function(first, [model.reference_time_]).iloc[0, 0])),
    )
    assert np.isfinite(model.predict_median(GONE)[model.predict_median(GONE) < np.inf]).all()
    assert (model.predict_restricted_mean(GONE, 1.0) < 1).all()


@pytest.mark.parametrize("name", ["pamm", "discrete", "causes"])
def test_bands_of_intervals(name):
    """Derivatives in the coefficients are those of the mixture's survival function."""
    model = fitted(name)
    times = np.array(TIMES)
    ((designs, etas),) = model._design_chunks(GONE, len(times))
    slopes = model._cumulative_slopes(designs, etas, times)
    deep = model.fit_.deep
    for p in range(0, len(deep.fit.beta), 3):
        found = []
        for h in (1e-5, -1e-5):
            beta = deep.fit.beta.copy()
            beta[p] += h
            moved = ss.SemiStructuredRegressor.__new__(type(model))
            vars(moved).update(vars(model))
            fit = model.fit_
            moved.fit_ = type(fit)(
                **{**vars(fit), "deep": type(deep)(**{**vars(deep), "fit": _with(deep.fit, beta)})}
            )
            found.append(moved._hazards(GONE, times).T)
        np.testing.assert_allclose(
            slopes[:, :, p], (found[0] - found[1]) / 2e-5, rtol=1e-4, atol=1e-6
        )
    band = model.predict_survival_function(GONE, times, level=0.9).stack(0, future_stack=True)
    assert (band["lower"] < band["estimate"]).all() and (band["estimate"] < band["upper"]).all()


def _with(fit, beta):
    return type(fit)(**{**vars(fit), "beta": beta})


def test_one_of_two_pictures():
    model = fitted("two")
    both, ct, pet = (without(NEW, *gone) for gone in (("ct", "pet"), ("ct",), ("pet",)))
    spread = {
        name: np.diff(model.predict_interval(frame, 0.8).to_numpy(), axis=1).mean()
        for name, frame in {"none": NEW, "ct": ct, "pet": pet, "both": both}.items()
    }
    assert spread["none"] < spread["pet"] < spread["ct"] < spread["both"]
    # The picture that is there is used.
    assert np.corrcoef(model.predict(ct), model.predict(NEW))[0, 1] > 0.5
    np.testing.assert_allclose(
        model.term_contributions(pet)["loc", "mlp(ct)"],
        model.term_contributions(NEW)["loc", "mlp(ct)"],
    )


@pytest.mark.parametrize("name", ["fused", "token"])
def test_one_of_two_pictures_of_one_term(name):
    model = fitted(name)
    widths = [
        np.diff(model.predict_interval(without(NEW, *gone), 0.8).to_numpy(), axis=1).mean()
        for gone in ((), ("pet",), ("ct", "pet"))
    ]
    assert widths[0] < widths[1] < widths[2]
    partly = model.predict(without(NEW, "pet"))
    assert np.corrcoef(partly, NEW["ct"].array.batch().mean(axis=1) + 0.5 * NEW["age"])[0, 1] > 0.7


@pytest.mark.parametrize("name", MAKE)
def test_rows_are_predicted_as_if_alone(name):
    model = fitted(name)
    mixed = without(GONE, "pet", rows=slice(4, 12))
    together = np.asarray(model.predict(mixed))
    order = np.random.default_rng(0).permutation(len(mixed))
    shuffled = np.asarray(model.predict(mixed.iloc[order]))
    if name == "classes":
        together, shuffled = model.predict_proba(mixed), model.predict_proba(mixed.iloc[order])
    np.testing.assert_allclose(shuffled, together[order], rtol=1e-5, atol=1e-6)
    for i in (0, 5, 11):
        one = mixed.iloc[[i]]
        alone = model.predict_proba(one) if name == "classes" else model.predict(one)
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_no_picture_at_all(name):
    model = fitted(name)
    empty = NEW.assign(ct=pd.Series([None] * len(NEW), dtype=object), pet=np.nan)
    found = model.predict(empty)
    gone = model.predict(without(NEW, "ct", "pet"))
    if name == "classes":
        assert (found == gone).all()
    else:
        np.testing.assert_allclose(found, gone)
    # What the table knows is kept.
    table = model.table_model()
    if name != "classes":
        assert np.corrcoef(table.predict(NEW), found)[0, 1] > 0.95


def test_the_table_model():
    model = fitted("cox")
    alone = ss.CoxPH("age").fit(STUDY, SURV)
    table = model.table_model()
    new = NEW.drop(columns=["ct", "pet"])
    np.testing.assert_allclose(table.predict(new), alone.predict(new))
    pd.testing.assert_frame_equal(
        table.predict_survival_function(new, TIMES, level=0.9),
        alone.predict_survival_function(new, TIMES, level=0.9),
    )
    assert "mlp" not in str(table.summary()) and "mlp" in str(model.summary())
    assert model.fit_.deep is not None


def test_mixtures_are_calibrated_where_zeros_are_not():
    """Of subjects without pictures, beside the same model told that the picture is black."""
    model = fitted("normal")
    new = study(1500, seed=2)
    gone = without(new, "ct")
    zeros = new.assign(ct=ss.TensorArray(np.zeros((1500, 6), np.float32)))
    mixed, table, filled = (
        m.log_prob(frame, new["y"]).mean()
        for m, frame in [(model, gone), (model.table_model(), gone), (model, zeros)]
    )
    assert mixed > table - 0.02 and mixed > filled + 0.05
    covered = [
        np.mean((band["lower"] < new["y"]) & (new["y"] < band["upper"]))
        for band in (model.predict_interval(frame, 0.9) for frame in (gone, zeros))
    ]
    assert abs(covered[0] - 0.9) < 0.04 < 0.9 - covered[1]


def test_without_orthogonalisation_the_table_predicts_the_score():
    rng = np.random.default_rng(3)
    frame = study()
    shifted = frame["ct"].array.batch() + 2 * frame["age"].to_numpy()[:, None]
    frame["ct"] = ss.TensorArray(shifted.astype(np.float32) + rng.normal(size=(N, 6)) * 0.01)
    options = {**OPTIONS, "orthogonalize": "none"}
    model = ss.SemiStructuredRegressor(f"age + {TERM}", **options).fit(frame, frame["y"])
    scores = model.fit_.scores(without(frame, "ct"))[:, 0]
    assert np.corrcoef(scores, frame["age"])[0, 1] > 0.99
    gone = model.predict(without(frame, "ct"))
    table = model.table_model().predict(frame)
    assert np.abs(gone - table).mean() < 0.2


def test_saved_models_know_what_pictures_may_say(tmp_path):
    for name in ("fused", "cox"):
        model = fitted(name)
        model.save(tmp_path / f"{name}.semistruct")
        again = ss.load(tmp_path / f"{name}.semistruct")
        np.testing.assert_array_equal(again.predict(GONE), model.predict(GONE))
        assert not np.allclose(again.predict(GONE)[:8], model.predict(NEW)[:8])


def test_explanations_of_rows_without_pictures():
    model = fitted("normal")
    assert model.embeddings(GONE).iloc[:8].isna().all(axis=None)
    contributions = model.term_contributions(GONE)["loc"]
    np.testing.assert_allclose(contributions.sum(axis=1), model.predict(GONE))
    model.plot_waterfall(GONE, 0)
    model.plot_embeddings(GONE, "age", method="pca")
    model.plot_diagnostics()
    # Pictures of no row are shown where there are none.
    assert len(fitted("two").term_contributions(without(NEW, "pet"))) == len(NEW)


@pytest.mark.parametrize("name", ["normal", "cox", "pamm"])
def test_training_rows_without_pictures_are_used(name):
    gaps = without(STUDY, "ct", rows=slice(0, N, 3))
    formula = f"s(tend, k=4) + age + {TERM}" if name == "pamm" else f"age + {TERM}"
    kind, more, y = {
        "normal": (ss.SemiStructuredRegressor, {}, STUDY["y"]),
        "cox": (ss.CoxPH, {}, SURV),
        "pamm": (ss.PAMM, {"cuts": 6}, SURV),
    }[name]
    model = kind(formula, **OPTIONS, **more).fit(gaps, y)
    full = kind(formula.split(" + mlp")[0], **more).fit(STUDY, y)
    np.testing.assert_allclose(model.params, full.params, rtol=1e-6)  # those of all rows
    assert len(model.fit_.problem.y) == len(full.fit_.problem.y)
    assert model.fit_.deep.lacking.any() and not model.fit_.deep.lacking.all()
    assert np.isfinite(model.predict(gaps)).all()
