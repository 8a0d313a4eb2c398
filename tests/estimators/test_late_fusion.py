"""Late fusion: all combinations for numbers, classes and survival; members of all packages."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import torch
from lifelines import CoxPHFitter, WeibullAFTFitter
from pygam import LinearGAM, LogisticGAM, l
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

import semistruct as ss
from semistruct.estimators.late.combination import (
    cox_weights,
    fit_logistic_pool,
    mean_rank,
    simplex_weights,
    votes,
)
from semistruct.estimators.late.cross_predictions import fold_pairs, shared_rows
from semistruct.estimators.late.mixture import mixture_cdf, mixture_quantile
from semistruct.estimators.late_fusion import LateFusion
from semistruct.families import resolve_family

EXACT = 1e-10  # the same sums, row by row or together
OPTIMUM = 1e-5  # of a smooth function, found by two optimisers
N = 240


@pytest.fixture(scope="module")
def frame():
    return ss.datasets.simulate_digits(N, random_state=1)


@pytest.fixture(scope="module")
def follow_up(frame):
    rng = np.random.default_rng(0)
    time = np.exp(-frame["y"].to_numpy()) * rng.exponential(size=N)
    end = rng.uniform(0.5, 3, N) * np.median(time)
    return ss.Surv(np.minimum(time, end) + 1e-3, time <= end)


def image(model, n_components=8):
    return ss.EarlyFusion(model, {"digit": ss.ImageFeatures("pca", n_components)})


COLUMNS = {"table": ["age", "bmi"], "image": ["digit"]}


def numbers(combine="mean", **options):
    members = {"table": LinearRegression(), "image": image(Ridge())}
    return LateFusion(members, combine, columns=COLUMNS, **{"cv": 3, "random_state": 0, **options})


def classes(combine="mean", **options):
    members = {
        "table": make_pipeline(StandardScaler(), LogisticRegression()),
        "image": image(RandomForestClassifier(5, max_depth=3, random_state=0)),
    }
    return LateFusion(members, combine, columns=COLUMNS, **{"cv": 3, "random_state": 0, **options})


def risks(combine="mean", **options):
    members = {"table": ss.CoxPH("age + bmi"), "image": image(CoxPHFitter(penalizer=0.1))}
    columns = {"image": ["digit"]}
    return LateFusion(members, combine, columns=columns, **{"cv": 3, "random_state": 0, **options})


def labels(frame, k=2):
    return np.array(list("abc"))[
        np.digitize(frame["y"], np.quantile(frame["y"], [0.4, 0.7][: k - 1]))
    ]


def check_rows(model, X, method="predict", tolerance=EXACT):
    """A row alone, in another order, and in the whole table has one prediction."""
    together = np.asarray(getattr(model, method)(X))
    assert together.std() > 0
    alone = np.concatenate([np.asarray(getattr(model, method)(X[i : i + 1])) for i in range(6)])
    np.testing.assert_allclose(alone, together[:6], rtol=tolerance, atol=tolerance)
    backwards = np.asarray(getattr(model, method)(X[::-1]))[::-1]
    np.testing.assert_allclose(backwards, together, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------- arithmetic


def test_simplex_weights_are_optimal(rng):
    y = rng.normal(size=60)
    P = y[:, None] + rng.normal(size=(60, 3)) * [1.0, 1.5, 4.0] + [0.0, 0.5, 3.0]
    weight = rng.uniform(0.1, 2, 60)
    w = simplex_weights(P, y, weight)
    found = minimize(
        lambda v: (weight * (y - P @ v) ** 2).sum(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(w, found.x, atol=OPTIMUM)
    assert not np.allclose(w, simplex_weights(P, y, np.ones(60)), atol=1e-3)
    np.testing.assert_allclose(simplex_weights(np.column_stack([y, y + 1]), y, weight), [1, 0])


def test_the_logistic_pool_is_logistic_regression_on_logits(rng):
    y = rng.integers(0, 2, 300)
    logits = (2 * y - 1)[:, None] * [1.0, 0.6] + rng.normal(size=(300, 2))
    p = 1 / (1 + np.exp(-logits))
    P = np.stack([1 - p.T, p.T], axis=2)
    pool = fit_logistic_pool(P, y, np.ones(300))
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(logits, y)
    np.testing.assert_allclose(pool.weights, reference.coef_[0], atol=1e-3)
    np.testing.assert_allclose(pool.probabilities(P), reference.predict_proba(logits), atol=1e-3)
    wrong = fit_logistic_pool(np.concatenate([P, P[:1, :, ::-1]]), y, np.ones(300))
    assert wrong.weights[2] < 1e-4


def test_cox_weights_are_those_of_cox_regression(rng):
    Z = rng.normal(size=(200, 2))
    time = rng.exponential(np.exp(-Z @ [1.0, 0.5])).round(2) + 0.01
    y = ss.Surv(time, rng.random(200) < 0.8)
    weight = rng.integers(1, 4, 200).astype(float)
    reference = ss.CoxPH().fit(pd.DataFrame(Z, columns=["a", "b"]), y, weight)
    np.testing.assert_allclose(cox_weights(Z, y, weight), reference.params, atol=1e-4)
    assert cox_weights(Z * [1, -1], y, weight)[1] == 0


def test_ranks_and_votes():
    reference = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 7.0], [4.0, 8.0]])
    np.testing.assert_allclose(
        mean_rank(np.array([[2.5, 5.0], [9.0, 0.0]]), reference, np.ones(4)), [0.375, 0.5]
    )
    np.testing.assert_allclose(
        mean_rank(np.array([[2.5, 9.0]]), reference, np.array([3.0, 1.0, 1.0, 1.0])), [5 / 6]
    )
    P = np.array([[[0.6, 0.4]], [[0.1, 0.9]], [[0.4, 0.6]]])
    np.testing.assert_allclose(votes(P, np.ones(3)), [[1 / 3, 2 / 3]])
    np.testing.assert_allclose(votes(P, np.array([2.0, 1.0, 0.0])), [[2 / 3, 1 / 3]])


def test_folds_keep_subjects_and_pictures_together(frame):
    table = pd.concat([frame, frame.iloc[:40]])
    subjects = np.arange(len(table)) // 3
    groups = shared_rows(table, subjects)
    strata = (table["y"] > 1).to_numpy()
    often = pd.Series(strata).groupby(groups).transform("max").to_numpy()
    largest = np.bincount(groups).max()
    assert 0 < often.mean() < 1 and largest > 3
    pairs = fold_pairs(4, groups, strata, 0, np.arange(len(table)))
    for train, test in pairs:
        assert not set(groups[train]) & set(groups[test])
        assert abs(often[test].sum() - often.sum() / 4) <= largest
        assert abs(len(test) - len(table) / 4) <= 2 * largest
    assert sorted(np.concatenate([test for _, test in pairs])) == list(range(len(table)))
    assert (groups[:40] == groups[N : N + 40]).all()
    other = fold_pairs(4, groups, strata, 1, np.arange(len(table)))
    assert any(set(a[1]) != set(b[1]) for a, b in zip(pairs, other, strict=True))


# ---------------------------------------------------------------------- numbers


def test_means_medians_and_weights(frame):
    parts = numbers().fit(frame, frame["y"]).member_predictions(frame)
    assert list(parts) == ["table", "image"] and parts.std().min() > 0
    reference = LinearRegression().fit(frame[["age", "bmi"]], frame["y"])
    np.testing.assert_allclose(parts["table"], reference.predict(frame[["age", "bmi"]]))
    expected = {
        "mean": parts.mean(axis=1),
        "median": parts.median(axis=1),
        "weighted": (3 * parts["table"] + parts["image"]) / 4,
    }
    for combine, values in expected.items():
        weights = {"image": 1, "table": 3} if combine == "weighted" else None
        model = numbers(combine, weights=weights).fit(frame, frame["y"])
        np.testing.assert_allclose(model.predict(frame), values)
        check_rows(model, frame)
        assert model.out_of_fold_ is None
    three = LateFusion({c: Ridge(a) for c, a in zip("abc", [0, 1e4, 1e5], strict=True)}, "median")
    table = frame[["age", "bmi"]]
    parts = three.fit(table, frame["y"]).member_predictions(table)
    np.testing.assert_allclose(three.predict(table), parts.median(axis=1))


def test_splitters_must_not_cut_subjects(frame):
    subjects = np.arange(N) // 2
    cv = KFold(3, shuffle=True, random_state=0)
    with pytest.raises(ss.SpecificationError, match="GroupKFold"):
        numbers("stack", cv=cv).fit(frame, frame["y"], groups=subjects)
    numbers("stack", cv=GroupKFold(3)).fit(frame, frame["y"], groups=subjects)


def test_folds_that_were_made_before(frame):
    folds = KFold(4, shuffle=True, random_state=3)
    pairs = list(folds.split(frame))
    model = numbers("stack", cv=pairs).fit(frame, frame["y"])
    reference = numbers("stack", cv=folds).fit(frame, frame["y"])
    pd.testing.assert_series_equal(model.weights_, reference.weights_)
    weight = (np.arange(N) % 4 > 0).astype(float)
    some = [(train[weight[train] > 0], test[weight[test] > 0]) for train, test in pairs]
    kept = np.cumsum(weight).astype(int) - 1
    left = [(kept[train], kept[test]) for train, test in some]
    with_zeros = numbers("stack", cv=pairs).fit(frame, frame["y"], weight)
    reference = numbers("stack", cv=left).fit(frame[weight > 0], frame["y"][weight > 0])
    np.testing.assert_allclose(with_zeros.weights_, reference.weights_)
    with pytest.raises(ss.SpecificationError, match="is held out"):
        numbers("stack", cv=pairs[:3]).fit(frame, frame["y"])


def test_stacked_weights_come_from_rows_not_seen(frame):
    folds = KFold(4, shuffle=True, random_state=3)
    model = numbers("stack", cv=folds).fit(frame, frame["y"])
    unseen = np.column_stack(
        [
            cross_val_predict(LinearRegression(), frame[["age", "bmi"]], frame["y"], cv=folds),
            cross_val_predict(image(Ridge()), frame[["digit"]], frame["y"], cv=folds),
        ]
    )
    np.testing.assert_allclose(model.out_of_fold_, unseen)
    np.testing.assert_allclose(
        model.weights_, simplex_weights(unseen, frame["y"].to_numpy(), np.ones(N))
    )
    check_rows(model, frame)


def test_a_member_that_knows_nothing_gets_no_weight(frame):
    members = {"table": Ridge(), "noise": DummyRegressor(strategy="quantile", quantile=0.05)}
    model = LateFusion(members, "stack", random_state=0).fit(frame[["age", "bmi"]], frame["y"])
    assert model.weights_["noise"] < 0.05
    # In-sample predictions would choose the member that knows the training rows by heart.
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(N, 150))).add_prefix("z").set_index(frame.index)
    table = pd.concat([frame[["age", "bmi"]], noise], axis=1)
    members = {"small": Ridge(), "large": LinearRegression()}
    model = LateFusion(members, "stack", columns={"small": ["age", "bmi"]}, random_state=0)
    assert model.fit(table, frame["y"]).weights_["small"] > 0.8


def test_ranks_of_numbers_are_on_the_scale_of_the_response(frame):
    model = numbers("rank").fit(frame, frame["y"])
    found = model.predict(frame)
    assert frame["y"].min() <= found.min() < found.max() <= frame["y"].max()
    assert model.score(frame, frame["y"]) > 0.3
    check_rows(model, frame)


def test_mixtures_of_distributions(frame):
    members = {
        "table": ss.SemiStructuredRegressor("age + bmi"),
        "image": image(ss.SemiStructuredRegressor({"loc": None, "scale": "digit_0"})),
    }
    columns = {"image": ["digit"]}
    model = LateFusion(members, "weighted", weights=[0.7, 0.3], columns=columns)
    model.fit(frame, frame["y"])
    params = [
        model.members_["table"].predict_params(frame),
        model.members_["image"].predict_params(frame),
    ]
    q = model.predict_quantile(frame, 0.2)
    level = sum(
        w * norm.cdf(q, p["loc"], p["scale"]) for w, p in zip([0.7, 0.3], params, strict=True)
    )
    np.testing.assert_allclose(level, 0.2, atol=1e-9)
    density = sum(
        w * norm.pdf(frame["y"], p["loc"], p["scale"])
        for w, p in zip([0.7, 0.3], params, strict=True)
    )
    np.testing.assert_allclose(model.log_prob(frame, frame["y"]), np.log(density))
    interval = model.predict_interval(frame, 0.9)
    covered = frame["y"].between(interval["lower"], interval["upper"]).mean()
    assert 0.8 < covered < 0.97
    np.testing.assert_allclose(
        model.predict(frame), 0.7 * params[0]["loc"] + 0.3 * params[1]["loc"]
    )
    assert not hasattr(numbers(), "predict_quantile")
    assert not hasattr(model.set_params(combine="median"), "predict_interval")


def test_mixtures_of_counts():
    family = resolve_family("poisson")
    etas = [np.log([[1.0], [20.0]]), np.log([[3.0], [2.0]])]
    w = np.array([0.4, 0.6])
    for q in (0.01, 0.5, 0.99):
        found = mixture_quantile([family, family], etas, w, q)
        assert (found == np.floor(found)).all()
        assert (mixture_cdf([family, family], etas, w, found) >= q).all()
        assert (mixture_cdf([family, family], etas, w, found - 1) < q).all()
    with pytest.raises(ss.UnsupportedCombinationError, match="discrete"):
        mixture_quantile([family, resolve_family("gamma")], etas, w, 0.5)


def test_members_of_every_package(frame):
    members = {
        "ours": ss.SemiStructuredRegressor("age + s(bmi, k=5)"),
        "sklearn": make_pipeline(StandardScaler(), Ridge()),
        "pygam": LinearGAM(l(0) + l(1)),
        "statsmodels": ss.wrap(smf.glm, "y ~ age + C(sex)"),
    }
    columns = {name: ["age", "bmi"] for name in ("sklearn", "pygam")}
    model = LateFusion(members, "stack", columns=columns, cv=3, random_state=0)
    weight = 1.0 + np.arange(N) % 3
    model.fit(frame, frame["y"], weight)
    parts = model.member_predictions(frame)
    reference = smf.wls("y ~ age + C(sex)", frame[["age", "sex", "y"]], weights=weight).fit()
    np.testing.assert_allclose(parts["statsmodels"], reference.predict(frame))
    assert not np.allclose(
        parts, clone(model).fit(frame, frame["y"]).member_predictions(frame), rtol=1e-3
    )
    check_rows(model, frame, tolerance=1e-8)


class Embeddings(nn.Module):
    """Like the image half of CLIP: pixels in a range of its own, several things returned."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(8, 64, generator=generator))

    def forward(self, x):
        assert x.is_floating_point() and x.abs().max() <= 1.5
        return {"image_embeds": torch.tanh(x.flatten(1) @ self.weight.T / 16), "pooled": x}


def clip_scaling(x):
    return (x.float() / 255 - 0.5) / 0.5


def test_a_frozen_encoder_with_its_own_preprocessing_is_a_member(frame):
    features = ss.ImageFeatures(Embeddings(), None, preprocess=clip_scaling, output="image_embeds")
    encoder = ss.nn.ModuleEncoder(
        Embeddings(), (1, 8, 8), frozen=True, preprocess=clip_scaling, output="image_embeds"
    )
    quick = {"n_folds": 3, "gate": False, "progress": False, "random_state": 0}
    members = {
        "table": LinearRegression(),
        "ridge of embeddings": ss.EarlyFusion(Ridge(), {"digit": features}),
        "term of a formula": ss.SemiStructuredRegressor(
            "clip(digit)", encoders={"clip": encoder}, **quick
        ),
    }
    columns = {"table": ["age", "bmi"], "ridge of embeddings": ["digit"]}
    model = LateFusion(members, "stack", columns=columns, cv=2, random_state=0)
    model.fit(frame, frame["y"])
    parts = model.member_predictions(frame)
    own = [parts[name].corr(frame["y"]) for name in list(members)[1:]]
    assert min(own) > 0.2 and model.weights_.drop("table").sum() > 0.05
    check_rows(model, frame, tolerance=1e-5)


# ---------------------------------------------------------------------- classes


@pytest.mark.parametrize("k", [2, 3])
def test_probabilities(frame, k):
    y = labels(frame, k)
    parts = classes().fit(frame, y).member_predictions(frame).to_numpy().reshape(N, 2, k)
    assert parts.std() > 0
    mean = classes().fit(frame, y)
    np.testing.assert_allclose(mean.predict_proba(frame), parts.mean(axis=1))
    np.testing.assert_array_equal(
        mean.predict(frame), mean.classes_[parts.mean(axis=1).argmax(axis=1)]
    )
    weighted = classes("weighted", weights=[1, 3]).fit(frame, y).predict_proba(frame)
    np.testing.assert_allclose(weighted, parts[:, 0] / 4 + 3 * parts[:, 1] / 4)
    for combine in ("median", "stack", "vote"):
        model = classes(combine).fit(frame, y)
        found = model.predict_proba(frame)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert model.score(frame, y) > 1 / k
        check_rows(model, frame, "predict_proba")


def test_stacked_classes_use_rows_not_seen(frame):
    y = labels(frame)
    model = classes("stack").fit(frame, y)
    P = model.out_of_fold_.to_numpy().reshape(N, 2, 2).transpose(1, 0, 2)
    pool = fit_logistic_pool(P, (y == "b").astype(int), np.ones(N))
    np.testing.assert_allclose(model.weights_, pool.weights)
    assert model.out_of_fold_.columns.names == ["member", "class"]
    constant = LateFusion(
        {
            "table": make_pipeline(StandardScaler(), LogisticRegression()),
            "dummy": DummyClassifier(),
        },
        "stack",
        random_state=0,
    )
    # Its probabilities are those of each fold's training rows, which say a little about the fold.
    constant.fit(frame[["age", "bmi"]], y)
    assert constant.weights_["table"] > 0.3


def test_votes_of_models_without_probabilities(frame):
    y = labels(frame, 3)
    members = {
        "svm": make_pipeline(StandardScaler(), LinearSVC()),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "dummy": DummyClassifier(strategy="constant", constant="c"),
    }
    table = frame[["age", "bmi"]]
    model = LateFusion(members, "vote").fit(table, y)
    chosen = np.stack([m.predict(table) for m in model.members_.values()])
    shares = np.stack([(chosen == c).mean(axis=0) for c in "abc"], axis=1)
    np.testing.assert_allclose(model.predict_proba(table), shares)
    heavy = LateFusion(members, "vote", weights=[1, 1, 9]).fit(table, y)
    assert set(heavy.predict(table)) == {"c"}
    with pytest.raises(ss.DataError, match=r"'svm' \(LinearSVC\) failed to predict: .*vote"):
        LateFusion(members, "mean").fit(table, y).predict(table)


def test_ranks_of_two_classes(frame):
    y = labels(frame)
    model = classes("rank").fit(frame, y)
    assert not hasattr(model, "predict_proba")
    found = model.decision_function(frame)
    assert 0 <= found.min() < found.max() <= 1
    share = (model.predict(frame) == "b").mean()
    assert abs(share - (y == "b").mean()) < 0.15
    check_rows(model, frame, "decision_function")
    with pytest.raises(ss.UnsupportedCombinationError, match="two classes"):
        model.fit(frame, labels(frame, 3))


def test_binary_models_of_pygam_and_statsmodels(frame):
    members = {
        "pygam": LogisticGAM(l(0) + l(1)),
        "statsmodels": ss.wrap(
            smf.logit, "y ~ age + bmi", kind="classifier", fit_options={"disp": 0}
        ),
    }
    table = frame[["age", "bmi"]]
    model = LateFusion(members).fit(table, labels(frame))
    parts = model.member_predictions(table)
    assert np.abs(parts["pygam"] - parts["statsmodels"]).to_numpy().max() < 0.1
    assert is_classifier(model) and model.score(table, labels(frame)) > 0.6


# ---------------------------------------------------------------------- survival


@pytest.mark.parametrize("combine", ["mean", "median", "rank", "stack", "weighted"])
def test_risks(frame, follow_up, combine):
    weights = [0.8, 0.2] if combine == "weighted" else None
    model = risks(combine, weights=weights).fit(frame, follow_up)
    parts = model.member_predictions(frame)
    np.testing.assert_allclose(parts.mean(), 0, atol=1e-9)
    standard = parts / model.out_of_fold_.std(ddof=0)
    expected = {
        "mean": standard.mean(axis=1),
        "median": standard.median(axis=1),
        "weighted": standard @ [0.8, 0.2],
        "stack": standard @ (model.weights_ if combine == "stack" else [0, 0]),
    }
    if combine == "rank":
        assert model.predict(frame).min() >= 0 and model.predict(frame).max() <= 1
    else:
        np.testing.assert_allclose(model.predict(frame), expected[combine], rtol=1e-6)
    assert model.score(frame, follow_up) > 0.65
    check_rows(model, frame, tolerance=1e-8)


def test_survival_functions_are_averaged(frame, follow_up):
    times = [0.1, 0.3, 0.6]
    model = risks("weighted", weights={"table": 1, "image": 3}).fit(frame, follow_up)
    curves = model.predict_survival_function(frame[:7], times)
    table = model.members_["table"].predict_survival_function(frame[:7], times)
    picture = model.members_["image"].predict_survival_function(frame[["digit"]][:7], times)
    np.testing.assert_allclose(curves, table.to_numpy() / 4 + 3 * picture.to_numpy() / 4)
    assert curves.columns.equals(frame.index[:7]) and curves.index.name == "time"
    np.testing.assert_allclose(model.predict_cumulative_hazard(frame[:7], times), -np.log(curves))
    every = model.predict_survival_function(frame[:7])
    median = model.predict_median(frame[:7])
    for row in median.index:
        reached = every.index[every[row] <= 0.5]
        assert median[row] == (reached[0] if len(reached) else np.inf)
    assert not hasattr(risks("rank"), "predict_survival_function")


def test_stacked_survival_is_a_cox_model_of_the_stacked_risk(frame, follow_up):
    model = risks("stack").fit(frame, follow_up)
    standard = model.out_of_fold_ / model.head_.scale
    reference = ss.CoxPH().fit(standard, follow_up)
    assert (reference.params > 0).all()
    np.testing.assert_allclose(model.weights_, reference.params, atol=1e-4)
    risk = pd.DataFrame({"risk": standard @ model.weights_})
    given = ss.CoxPH("risk").fit(risk, follow_up)
    assert given.params.iloc[0] == pytest.approx(1, abs=1e-3)
    new = pd.DataFrame({"risk": model.predict(frame[:3])})
    np.testing.assert_allclose(
        model.predict_survival_function(frame[:3], [0.2]),
        given.predict_survival_function(new, [0.2]),
        rtol=1e-3,
    )


def test_a_risk_that_says_nothing_gets_no_weight(frame, follow_up):
    known = frame.assign(nothing=0.0)
    members = {"table": ss.CoxPH("age + bmi"), "nothing": ss.CoxPH("offset(nothing)")}
    model = LateFusion(members, "stack", random_state=0).fit(known, follow_up)
    assert model.weights_["nothing"] == 0 and model.weights_["table"] > 0.3
    alone = LateFusion({"nothing": members["nothing"]}, "stack", random_state=0)
    curves = alone.fit(known, follow_up).predict_survival_function(known[:2], [0.1])
    assert curves.iloc[0, 0] == curves.iloc[0, 1] < 1


def test_weights_reach_searches_of_pipelines(frame):
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1.0]}, cv=2)
    table, weight = frame[["age", "bmi"]], 1.0 + np.arange(N) % 5
    model = LateFusion({"a": search}).fit(table, frame["y"], weight)
    reference = clone(search).fit(table, frame["y"], ridge__sample_weight=weight)
    np.testing.assert_allclose(model.predict(table), reference.predict(table))


def test_levels_of_risks_do_not_matter(frame, follow_up):
    class Shifted(ss.CoxPH):
        def predict(self, X):
            return super().predict(X) + 1000 * len(self.fit_.problem.y)

    plain = risks("rank", cv=2).fit(frame, follow_up)
    members = {**plain.members, "table": Shifted("age + bmi")}
    shifted = risks("rank", cv=2).set_params(members=members).fit(frame, follow_up)
    np.testing.assert_allclose(shifted.predict(frame), plain.predict(frame), atol=1e-6)


def test_survival_members_of_every_kind(frame, follow_up):
    members = {
        "cox": ss.CoxPH("age + bmi"),
        "pamm": ss.PAMM("s(tend, k=5) + age", cuts=6),
        "weibull": WeibullAFTFitter(),
        "search": GridSearchCV(ss.CoxPH(), {"formula": ["age", "age + bmi"]}, cv=2),
    }
    model = LateFusion(members, columns={"weibull": ["age"]}, cv=2, random_state=0)
    model.fit(frame, follow_up)
    parts = model.member_predictions(frame)
    assert parts.corr(method="spearman").to_numpy().min() > 0.8
    curves = model.predict_survival_function(frame[:4], [0.05, 0.5])
    assert ((curves > 0) & (curves <= 1)).all(axis=None)


def test_scikit_survival(frame, follow_up):
    ensemble = pytest.importorskip("sksurv.ensemble")
    svm = pytest.importorskip("sksurv.svm")
    members = {
        "cox": ss.CoxPH("age + bmi"),
        "forest": ensemble.RandomSurvivalForest(20, random_state=0),
    }
    model = LateFusion(members, columns={"forest": ["age", "bmi"]}, cv=2, random_state=0)
    model.fit(frame, follow_up)
    curves = model.predict_survival_function(frame[:4], [0.0, 0.1, 50.0])
    assert (curves.iloc[0] == 1).all() and (curves.diff().iloc[1:] <= 0).all(axis=None)
    assert model.score(frame, follow_up) > 0.65
    members["forest"] = svm.FastSurvivalSVM(random_state=0, rank_ratio=0.0, fit_intercept=True)
    model = clone(model).set_params(members=members).fit(frame, follow_up)
    assert model.score(frame, follow_up) > 0.6
    with pytest.raises(ss.UnsupportedCombinationError, match=r"'forest'.*no predict_survival"):
        model.predict_survival_function(frame[:4], [0.1])


def test_rows_of_a_subject_stay_in_one_fold(frame, follow_up):
    half = follow_up.time / 2
    start = ss.Surv(
        np.concatenate([half, follow_up.time]),
        np.concatenate([np.zeros(N, bool), follow_up.event]),
        entry=np.concatenate([np.zeros(N), half]),
        id=np.tile(np.arange(N), 2),
    )
    table = frame[["age", "bmi"]]
    twice = pd.concat([table, table])
    members = {"a": ss.CoxPH("age"), "b": CoxPHFitter()}
    model = LateFusion(members, random_state=0).fit(twice, start)
    unseen = model.out_of_fold_.to_numpy()
    np.testing.assert_allclose(unseen[:N], unseen[N:], rtol=1e-6)
    once = LateFusion(members, random_state=0).fit(table, follow_up)
    assert np.corrcoef(once.predict(table), model.predict(table))[0, 1] > 0.99


# ---------------------------------------------------------------------- weights, scikit-learn


@pytest.mark.parametrize("make", [numbers, risks])
def test_rows_of_weight_zero_are_absent(make, frame, follow_up):
    y = frame["y"].to_numpy() if make is numbers else follow_up
    weight = (np.arange(N) % 4 > 0).astype(float)
    some = weight > 0
    with_zeros = make("stack", cv=2).fit(frame, y, weight)
    reference = make("stack", cv=2).fit(frame[some], y[some], weight[some])
    np.testing.assert_allclose(with_zeros.predict(frame), reference.predict(frame), rtol=1e-8)


def test_scikit_learns_tools(frame):
    model = numbers("weighted", weights=[1, 1])
    assert is_regressor(model) and not is_regressor(risks()) and not is_classifier(risks())
    search = GridSearchCV(
        model,
        {"image__digit__n_components": [1, 8], "table__fit_intercept": [True, False]},
        cv=3,
    ).fit(frame, frame["y"])
    assert search.best_params_["image__digit__n_components"] == 8
    assert model.members["image"].features["digit"].n_components == 8
    fitted = numbers("stack").fit(frame, frame["y"])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))
    assert cross_val_score(numbers("stack"), frame, frame["y"], cv=3).mean() > 0.3
    copy = clone(model).set_params(table=Ridge(), image__estimator__alpha=7.0)
    assert isinstance(copy.members["table"], Ridge)
    assert copy.members["image"].estimator.alpha == 7.0
    assert model.members["image"].estimator.alpha == 1.0
    fitter = risks().set_params(image__estimator__penalizer=2.0)
    assert fitter.members["image"].estimator.penalizer == 2.0
    assert fitter.get_params()["image__estimator__penalizer"] == 2.0


@pytest.mark.parametrize(
    "model",
    [
        LateFusion({"a": Ridge(), "b": LinearRegression()}),
        LateFusion({"a": Ridge(), "b": LinearRegression()}, "stack", cv=2),
        LateFusion({"a": LogisticRegression(), "b": LogisticRegression(C=0.1)}),
    ],
)
def test_scikit_learns_checks(model):
    assert len(check_estimator(model, on_skip=None)) > 30


def test_the_image_member_helps():
    train = ss.datasets.simulate_digits(800, random_state=0)
    new = ss.datasets.simulate_digits(800, random_state=5)
    members = {"table": Ridge(), "image": image(Ridge(), 20)}
    model = LateFusion(members, "stack", columns=COLUMNS, random_state=0).fit(train, train["y"])
    table = model.members_["table"].score(new[["age", "bmi"]], new["y"])
    assert model.score(new, new["y"]) > table + 0.02


def test_networks_as_members(frame):
    options = {"n_folds": 2, "n_repeats": 1, "max_epochs": 2, "progress": False, "random_state": 0}
    members = {
        "table": Ridge(),
        "image": ss.SemiStructuredRegressor("cnn(digit)", gate=False, **options),
    }
    model = LateFusion(members, columns={"table": ["age"]}, random_state=0)
    model.fit(frame, frame["y"])
    assert model.member_predictions(frame)["image"].std() > 0
    check_rows(model, frame, tolerance=1e-5)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"members": {}}, ss.SpecificationError, "members must map names"),
        ({"members": {"cv": Ridge()}}, ss.SpecificationError, "cannot be a name"),
        ({"members": {"a": 3}}, ss.SpecificationError, "has no fit"),
        ({"members": {"a": Ridge(), "b": ss.CoxPH()}}, ss.UnsupportedCombinationError, "same kind"),
        ({"combine": "sum"}, ss.SpecificationError, "combine must be one of"),
        ({"combine": "vote"}, ss.UnsupportedCombinationError, "counts classes"),
        ({"combine": "weighted"}, ss.SpecificationError, "needs weights"),
        ({"weights": [1, 1]}, ss.SpecificationError, "no use for them"),
        ({"combine": "weighted", "weights": [1]}, ss.SpecificationError, "2 numbers"),
        ({"combine": "weighted", "weights": [-1, 2]}, ss.SpecificationError, "not negative"),
        ({"combine": "weighted", "weights": {"x": 1}}, ss.SpecificationError, "the members are"),
        ({"columns": {"x": ["age"]}}, ss.SpecificationError, "no member"),
        ({"columns": {"table": "age"}}, ss.SpecificationError, "must be a list"),
        ({"columns": {"table": ["height"]}}, ss.DataError, "no column 'height'"),
        ({"combine": "stack", "cv": 1}, ss.SpecificationError, "cv must be"),
        ({"combine": "stack", "cv": 500}, ss.DataError, "there are 240"),
        (
            {"columns": {"table": ["sex"]}},
            ss.DataError,
            r"'table' \(LinearRegression\) failed to fit",
        ),
    ],
)
def test_what_cannot_be_fitted(frame, options, error, message):
    model = numbers().set_params(**options)
    with pytest.raises(error, match=message):
        model.fit(frame, frame["y"])
    assert not [name for name in vars(model) if name.endswith("_")]


def test_responses_that_cannot_be_used(frame, follow_up):
    with pytest.raises(ss.DataError, match="requires y to be passed"):
        numbers().fit(frame)
    with pytest.raises(ss.UnsupportedCombinationError, match="y is a follow-up"):
        numbers().fit(frame, follow_up)
    with pytest.raises(ss.DataError, match="one class only"):
        classes().fit(frame, np.zeros(N, int))
    with pytest.raises(ss.DataError, match="has an event"):
        risks().fit(frame, ss.Surv(follow_up.time, np.zeros(N)))
    two = ss.Surv(follow_up.time, np.arange(N) % 3, n_causes=2)
    with pytest.raises(ss.UnsupportedCombinationError, match="competing causes"):
        risks().fit(frame, two)
    with pytest.raises(ss.UnsupportedCombinationError, match=r"'table'.*no sample_weight"):
        LateFusion({"table": make_pipeline(KNeighborsRegressor())}).fit(
            frame[["age"]], frame["y"], np.ones(N)
        )


def test_a_failed_fit_leaves_nothing(frame):
    model = numbers().fit(frame, frame["y"])
    with pytest.raises(ss.DataError):
        model.fit(frame, frame["y"][:-1])
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(model)
