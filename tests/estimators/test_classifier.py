"""The classifier: two classes, several, ordered ones; labels; with and without pictures."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from statsmodels.miscmodels.ordinal_model import OrderedModel

import semistruct as ss
from semistruct import SemiStructuredClassifier
from semistruct.families import Bernoulli, Categorical, Normal, Ordinal

COEFFICIENT = 1e-6  # statsmodels stops its search at a gradient of 1e-9
STANDARD_ERROR = 1e-5  # of OrderedModel, whose second derivatives are by differences
LOGLIK = 1e-9
SKLEARN = 1e-5  # its search stops at a gradient of 1e-10 of the mean loss
SINGLE = 1e-5  # encoders are float32
EXACT = 1e-10
MONTE_CARLO = 4.5  # standard errors of a share of draws, sixty at a time

N = 400
GRADES = ["low", "mid", "high", "top"]
QUICK = {"n_folds": 2, "n_repeats": 1, "progress": False, "random_state": 0}
NET = {**QUICK, "max_epochs": 12, "learning_rate": 5e-3}


def study(n=N, seed=0):
    """Three responses that depend on the age and on the brightness of halves of a picture."""
    rng = np.random.default_rng(seed)
    age, left, top = rng.normal(size=(3, n))
    pixels = rng.normal(0, 0.3, (n, 1, 8, 8))
    pixels[:, :, :, :4] += left[:, None, None, None]
    pixels[:, :, :4] += top[:, None, None, None]
    frame = pd.DataFrame(
        {
            "age": age,
            "dose": rng.uniform(-1, 1, n),
            "scan": ss.ImageArray(np.clip(128 + 30 * pixels, 0, 255).astype(np.uint8)),
        },
        index=[f"p{i}" for i in range(n)],
    )
    eta = np.column_stack([np.zeros(n), 0.8 * age + 1.5 * left, -0.5 * age + 1.5 * top])
    frame["kind"] = np.array(list("abc"))[(eta + rng.gumbel(size=eta.shape)).argmax(axis=1)]
    grade = np.digitize(age + 2 * left + rng.logistic(size=n), [-1.5, 0.0, 1.5])
    frame["grade"] = pd.Categorical.from_codes(grade, GRADES, ordered=True)
    frame["ill"] = np.where(0.8 * age + 2 * left + rng.logistic(size=n) > 0, "yes", "no")
    assert frame["kind"].value_counts().min() > n / 8
    assert frame["grade"].value_counts().min() > n / 8
    return frame


@pytest.fixture(scope="module")
def frame():
    return study()


@pytest.fixture(scope="module")
def new():
    return study(300, seed=1)


# Separation and more columns than rows are what some checks are about; both are tested below.
@pytest.mark.filterwarnings("ignore:the columns .* linear combinations")
@pytest.mark.filterwarnings("ignore:the predictor of .* diverges")
@parametrize_with_checks(
    [
        SemiStructuredClassifier(),
        SemiStructuredClassifier(family="categorical", missing="drop", cov_type="sandwich"),
    ]
)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# ---------------------------------------------------------------------- other packages


def test_categorical_is_that_of_statsmodels(frame):
    model = SemiStructuredClassifier("kind ~ age + dose").fit(frame)
    X = sm.add_constant(frame[["age", "dose"]])
    reference = sm.MNLogit(pd.Categorical(frame["kind"]).codes, X).fit(
        disp=0, method="newton", tol=1e-12
    )
    assert model.family_ == Categorical(categories=("a", "b", "c"))
    np.testing.assert_allclose(
        model.params, reference.params.to_numpy().T.ravel(), rtol=COEFFICIENT
    )
    np.testing.assert_allclose(model.bse, reference.bse.to_numpy().T.ravel(), rtol=STANDARD_ERROR)
    np.testing.assert_allclose(model.loglik_, reference.llf, rtol=LOGLIK)
    assert list(model.params.index[:2]) == [("b", "Intercept"), ("b", "age")]


@pytest.mark.parametrize(
    ("link", "noise"),
    [("logit", stats.logistic), ("probit", stats.norm), ("cloglog", stats.gumbel_l)],
)
def test_ordinal_is_that_of_statsmodels(frame, link, noise):
    model = SemiStructuredClassifier("grade ~ age + dose", Ordinal(link=link)).fit(frame)
    reference = OrderedModel(frame["grade"], frame[["age", "dose"]], distr=noise).fit(
        method="bfgs", disp=0, gtol=1e-9, maxiter=500
    )
    np.testing.assert_allclose(model.params["location"][1:], reference.params[:2], rtol=COEFFICIENT)
    np.testing.assert_allclose(model.bse["location"][1:], reference.bse[:2], rtol=STANDARD_ERROR)
    np.testing.assert_allclose(model.loglik_, reference.llf, rtol=LOGLIK)
    np.testing.assert_allclose(model.loglik_null_, reference.llnull, rtol=LOGLIK)
    cuts = reference.model.transform_threshold_params(reference.params)[1:-1]
    np.testing.assert_allclose(model.thresholds_, cuts, rtol=COEFFICIENT)
    # statsmodels has standard errors of the first threshold and of logarithms of differences.
    C = reference.cov_params().to_numpy()[2:, 2:]
    J = np.tril(np.ones((3, 3))) * np.r_[1.0, np.exp(reference.params[3:])]
    se = np.sqrt(np.diag(J @ C @ J.T))
    np.testing.assert_allclose(model.thresholds()["se"], se, rtol=STANDARD_ERROR)
    np.testing.assert_allclose(
        model.predict_proba(frame), reference.predict(), rtol=COEFFICIENT, atol=COEFFICIENT
    )


def test_two_and_more_classes_are_those_of_scikit_learn(frame):
    X = frame[["age", "dose"]]
    for name in ("ill", "kind"):
        reference = LogisticRegression(C=np.inf, tol=1e-10).fit(X, frame[name])
        model = SemiStructuredClassifier().fit(X, frame[name])
        np.testing.assert_array_equal(model.classes_, reference.classes_)
        np.testing.assert_allclose(
            model.predict_proba(X), reference.predict_proba(X), rtol=SKLEARN, atol=SKLEARN
        )
        np.testing.assert_array_equal(model.predict(X), reference.predict(X))
        assert model.score(X, frame[name]) == reference.score(X, frame[name])
    ill = SemiStructuredClassifier().fit(X, frame["ill"])
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(X, frame["ill"])
    np.testing.assert_allclose(
        ill.decision_function(X), reference.decision_function(X), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "c": 0.5}])
def test_class_weights_are_those_of_scikit_learn(frame, class_weight):
    X, weight = frame[["age", "dose"]], np.linspace(0.5, 2, N)
    reference = LogisticRegression(C=np.inf, tol=1e-10, class_weight=class_weight)
    model = SemiStructuredClassifier(class_weight=class_weight)
    model.fit(X, frame["kind"], weight)
    # Weights given as such: how a version of scikit-learn balances weighted rows is its matter.
    sums = pd.Series(weight).groupby(frame["kind"].to_numpy()).sum()
    factor = sums.sum() / (3 * sums) if class_weight == "balanced" else pd.Series(class_weight)
    scaled = weight * frame["kind"].map(factor).fillna(1.0).to_numpy()
    reference.set_params(class_weight=None).fit(X, frame["kind"], scaled)
    np.testing.assert_allclose(
        model.predict_proba(X), reference.predict_proba(X), rtol=SKLEARN, atol=SKLEARN
    )
    plain = SemiStructuredClassifier().fit(X, frame["kind"], weight)
    assert np.abs(plain.predict_proba(X) - model.predict_proba(X)).max() > 0.01


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("labels", "family", "classes"),
    [
        (np.array([0, 1]), Bernoulli(), [0, 1]),
        (np.array(["yes", "no"]), Bernoulli(), ["no", "yes"]),
        (np.array([True, False]), Bernoulli(), [False, True]),
        (np.array([3.0, 1.0, 2.0]), Categorical(("1.0", "2.0", "3.0")), [1.0, 2.0, 3.0]),
        (np.array([10, 9, 11]), Categorical(("9", "10", "11")), [9, 10, 11]),
        (pd.Series(["u", "t", "v"], dtype="string"), Categorical(("t", "u", "v")), list("tuv")),
        (pd.Categorical(["u", "t", "v"]), Categorical(("t", "u", "v")), list("tuv")),
        (
            pd.Categorical(["mid", "low", "top"], GRADES, ordered=True),
            Ordinal(("low", "mid", "top")),
            ["low", "mid", "top"],
        ),
        (pd.Categorical(["top", "low"], GRADES, ordered=True), Bernoulli(), ["low", "top"]),
        (
            pd.Categorical([5, 20, 3], [20, 5, 3], ordered=True),
            Ordinal(("20", "5", "3")),
            [20, 5, 3],
        ),
    ],
    ids=str,
)
def test_families_and_classes_of_labels(labels, family, classes):
    rows = np.random.default_rng(0).integers(0, len(labels), 90)
    y = pd.Series(labels).iloc[rows].reset_index(drop=True)
    X = np.random.default_rng(1).normal(size=(90, 1))
    model = SemiStructuredClassifier().fit(X, y)
    assert model.family_ == family
    assert model.classes_.tolist() == classes
    assert set(model.predict(X)) <= set(classes)
    assert model.score(X, y) == np.mean(model.predict(X) == y.to_numpy(dtype=object))
    shuffled = SemiStructuredClassifier().fit(X[::-1], y[::-1])
    np.testing.assert_allclose(shuffled.predict_proba(X), model.predict_proba(X), rtol=1e-6)


def test_the_family_may_name_the_order(frame):
    y = frame["grade"].astype(str)
    ordered = SemiStructuredClassifier("age").fit(frame, frame["grade"])
    named = SemiStructuredClassifier("age", Ordinal(tuple(GRADES))).fit(frame, y)
    np.testing.assert_allclose(named.predict_proba(frame), ordered.predict_proba(frame), rtol=EXACT)
    assert named.classes_.tolist() == GRADES
    reference = SemiStructuredClassifier("age", Categorical(("c", "a", "b"))).fit(
        frame, frame["kind"]
    )
    assert reference.params.index.get_level_values(0).unique().tolist() == ["a", "b"]
    plain = SemiStructuredClassifier("age").fit(frame, frame["kind"])
    np.testing.assert_allclose(
        reference.predict_proba(frame)[:, [1, 2, 0]], plain.predict_proba(frame), rtol=1e-8
    )


def test_numbers_have_an_order(frame):
    codes = frame["grade"].cat.codes.to_numpy()
    model = SemiStructuredClassifier("age", "ordinal").fit(frame, codes)
    ordered = SemiStructuredClassifier("age").fit(frame, frame["grade"])
    np.testing.assert_allclose(model.predict_proba(frame), ordered.predict_proba(frame), rtol=EXACT)
    np.testing.assert_array_equal(np.array(GRADES)[model.predict(frame)], ordered.predict(frame))
    for link in ("probit", "cloglog"):
        other = SemiStructuredClassifier("age", Ordinal(link=link)).fit(frame, codes)
        assert np.abs(other.predict_proba(frame) - model.predict_proba(frame)).max() > 1e-3


# ---------------------------------------------------------------------- formulas


def test_formulas_by_class(frame):
    same = SemiStructuredClassifier({"b": "age", "c": "age"}).fit(frame, frame["kind"])
    plain = SemiStructuredClassifier("kind ~ age").fit(frame)
    np.testing.assert_allclose(same.predict_proba(frame), plain.predict_proba(frame), rtol=EXACT)
    part = SemiStructuredClassifier({"c": "kind ~ age + dose"}).fit(frame)
    assert part.params["b"].index.tolist() == ["Intercept"]
    assert part.params["c"].index.tolist() == ["Intercept", "age", "dose"]
    by_number = SemiStructuredClassifier({2: "age"}).fit(frame, pd.factorize(frame["kind"])[0])
    assert by_number.params["2"].index.tolist() == ["Intercept", "age"]
    two = SemiStructuredClassifier({"yes": "age"}).fit(frame, frame["ill"])
    assert two.params["probability"].index.tolist() == ["Intercept", "age"]


def test_widths_may_have_predictors(frame):
    formulas = {"location": "grade ~ age", "width_mid": "dose"}
    model = SemiStructuredClassifier(formulas).fit(frame)
    assert model.loglik_ > SemiStructuredClassifier("grade ~ age").fit(frame).loglik_
    assert "thresholds" not in str(model.summary())
    with pytest.raises(ss.UnsupportedCombinationError, match="a width between thresholds"):
        model.thresholds()


def test_smooths_of_every_class(frame):
    rng = np.random.default_rng(5)
    x = rng.uniform(-2, 2, 600)
    eta = np.column_stack([np.zeros(600), 2 * np.sin(2 * x), x])
    y = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)
    table = pd.DataFrame({"x": x})
    model = SemiStructuredClassifier("s(x)").fit(table, y)
    assert model.smooths().index.tolist() == [("1", "s(x)"), ("2", "s(x)")]
    assert model.edf_["1", "s(x)"] > 3 > model.edf_["2", "s(x)"]
    truth = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    assert np.abs(model.predict_proba(table) - truth).mean() < 0.04
    ml = SemiStructuredClassifier("s(x)", smoothing="ml").fit(table, y)
    assert not np.allclose(ml.predict_proba(table), model.predict_proba(table), atol=1e-4)


# ---------------------------------------------------------------------- predictions and reports


@pytest.mark.parametrize("name", ["ill", "kind", "grade"])
def test_predictions_agree_with_each_other(frame, new, name):
    model = SemiStructuredClassifier(f"{name} ~ s(age, k=5) + dose").fit(frame)
    probability = model.predict_proba(new)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=EXACT)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(new)), probability, rtol=EXACT)
    np.testing.assert_array_equal(model.predict(new), model.classes_[probability.argmax(axis=1)])
    scores = model.decision_function(new)
    if name == "ill":
        np.testing.assert_array_equal(model.predict(new) == "yes", scores > 0)
        assert roc_auc_score(new["ill"] == "yes", scores) > 0.55
    else:
        np.testing.assert_array_equal(model.classes_[scores.argmax(axis=1)], model.predict(new))
    np.testing.assert_allclose(
        -model.log_prob(new, new[name]).mean(),
        log_loss(new[name].astype(str), _sorted(model, probability)),
        rtol=1e-6,
    )
    weight = np.arange(len(new))
    right = model.predict(new) == new[name].astype(str).to_numpy()
    assert model.score(new) == right.mean()
    assert model.score(new, new[name], weight) == pytest.approx(np.average(right, weights=weight))
    draws = model.sample(new[:20], 2000, random_state=3)
    shares = np.stack([(draws == label).mean(axis=0) for label in model.classes_], axis=1)
    spread = np.sqrt(probability[:20] * (1 - probability[:20]) / 2000)
    assert (np.abs(shares - probability[:20]) < MONTE_CARLO * spread).all()
    np.testing.assert_array_equal(draws, model.sample(new[:20], 2000, random_state=3))
    alone = np.vstack([model.predict_proba(new.iloc[[i]]) for i in range(5)])
    np.testing.assert_allclose(alone, probability[:5], rtol=EXACT)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(new), probability)


def _sorted(model, probability):
    return probability[:, np.argsort(model.classes_)]


@pytest.mark.parametrize("name", ["ill", "kind", "grade"])
def test_reports(frame, name):
    model = SemiStructuredClassifier(f"{name} ~ s(age, k=5) + dose").fit(frame)
    text = str(model.summary())
    assert name in text and "dose" in text
    assert ("low|mid" in text) == (name == "grade")
    residuals = model.quantile_residuals()
    assert stats.kstest(residuals, "norm").pvalue > 1e-3
    given = model.quantile_residuals(frame, frame[name])
    np.testing.assert_allclose(given, residuals)
    assert model.plot().axes
    assert np.isfinite([model.aic_, model.bic_]).all()
    assert set(model.effects(cov_type="sandwich").columns) >= {"coef", "se"}
    smaller = SemiStructuredClassifier(f"{name} ~ dose").fit(frame)
    assert ss.anova(smaller, model)["p"].iloc[-1] < 0.01


def test_marginal_probabilities(frame):
    """Averages of predicted probabilities and their differences, of one class at a time."""
    model = SemiStructuredClassifier("kind ~ age + dose").fit(frame)
    table = model.marginal_means({"dose": [-1.0, 1.0]}, param="c")
    for value in (-1.0, 1.0):
        expected = model.predict_proba(frame.assign(dose=value))[:, 2].mean()
        np.testing.assert_allclose(table.loc[value, "estimate"], expected, rtol=EXACT)
    rows = frame[:1].assign(dose=0.3)
    step = 1e-5
    gradient = []
    for k in range(len(model.params)):
        moved = []
        for h in (step, -step):
            other = pickle.loads(pickle.dumps(model))
            other.fit_.marginal.beta[k] += h
            moved.append(other.predict_proba(rows)[0, 2])
        gradient.append((moved[0] - moved[1]) / (2 * step))
    assert model.params.index[-1] == ("c", "dose")
    contrast = model.contrast(
        pd.concat([rows, rows.assign(dose=-0.3)]), [[1.0, 0.0]], scale="response", param="c"
    )
    se = np.sqrt(gradient @ model.cov_params().to_numpy() @ gradient)
    np.testing.assert_allclose(contrast["se"].iloc[0], se, rtol=1e-6)
    with pytest.raises(ss.SpecificationError, match="of which one the probability"):
        model.marginal_means({"dose": [0.0]})
    with pytest.raises(ss.SpecificationError, match="unknown class 'z'"):
        model.marginal_means({"dose": [0.0]}, param="z")


def test_thresholds_follow_a_shift_of_the_covariate(frame):
    model = SemiStructuredClassifier("grade ~ age").fit(frame)
    moved = SemiStructuredClassifier("grade ~ age").fit(frame.assign(age=frame["age"] + 1))
    slope = model.params["location", "age"]
    np.testing.assert_allclose(moved.thresholds_, model.thresholds_ + slope, rtol=1e-6)
    wide = model.thresholds(level=0.99)
    assert (wide["lower"] < model.thresholds()["lower"]).all()
    assert not np.allclose(model.thresholds(cov_type="sandwich")["se"], model.thresholds()["se"])
    kinds = SemiStructuredClassifier("kind ~ age").fit(frame)
    with pytest.raises(ss.UnsupportedCombinationError, match="thresholds are of ordered classes"):
        kinds.thresholds()


def test_rows_of_weight_zero_are_absent(frame):
    weight = np.where(frame["kind"] == "a", 0.0, 1.0)
    model = SemiStructuredClassifier("kind ~ age").fit(frame, sample_weight=weight)
    assert model.classes_.tolist() == ["b", "c"] and isinstance(model.family_, Bernoulli)
    without = SemiStructuredClassifier("kind ~ age").fit(frame[weight > 0])
    np.testing.assert_allclose(model.predict_proba(frame), without.predict_proba(frame), rtol=1e-8)


def test_missing_labels_and_values_are_dropped(frame):
    gaps = frame.copy()
    gaps["kind"] = gaps["kind"].astype(object)
    gaps.iloc[3, gaps.columns.get_loc("kind")] = None
    gaps.iloc[5, gaps.columns.get_loc("age")] = np.nan
    with pytest.warns(ss.DataWarning, match="2 of 400 rows"):
        model = SemiStructuredClassifier("kind ~ age", missing="drop").fit(gaps)
    without = SemiStructuredClassifier("kind ~ age").fit(frame.drop(index=["p3", "p5"]))
    np.testing.assert_allclose(model.params, without.params, rtol=1e-8)
    whole = frame["grade"].cat.codes.astype("Int64")
    whole.iloc[3] = pd.NA
    with pytest.warns(ss.DataWarning, match="1 of 400 rows"):
        numbers = SemiStructuredClassifier("age", missing="drop").fit(frame, whole)
    assert numbers.classes_.dtype.kind == "i" and list(numbers.params["3"].index)
    with pytest.raises(ss.DataError, match="missing in row 3"):
        SemiStructuredClassifier("kind ~ age").fit(gaps.drop(columns="age").assign(age=1.0))
    gaps.loc[gaps["kind"] == "a", "age"] = np.nan
    with (
        pytest.warns(ss.DataWarning, match="rows have missing values"),
        pytest.raises(ss.DataError, match="no row of the class 'a'"),
    ):
        SemiStructuredClassifier("kind ~ age", missing="drop").fit(gaps)


# ---------------------------------------------------------------------- bad input


def refuses(frame, y, message, formula="age", error=ss.DataError, **options):
    model = SemiStructuredClassifier(formula, **options)
    with pytest.raises(error, match=message):
        model.fit(frame, y)
    assert [name for name in vars(model) if name.endswith("_")] == []
    with pytest.raises(NotFittedError):
        model.predict(frame)


def test_refused_responses(frame):
    kind, numbers = frame["kind"], np.arange(N) % 3
    refuses(frame, np.full(N, "a"), "one class only, 'a'")
    refuses(frame, np.full(N, None), "no label")
    refuses(frame, None, "requires y to be passed")
    refuses(frame, frame["age"], "Unknown label type: continuous", error=ValueError)
    refuses(frame, np.where(numbers > 0, 1.0, np.nan), "one class only")
    refuses(frame, np.where(numbers > 0, numbers, np.nan), "missing in row 0")
    refuses(frame, np.where(numbers > 0, numbers, np.inf), "contains infinity")
    refuses(frame, kind[:-1], "399")
    refuses(frame, np.array([1, "b"] * (N // 2), dtype=object), r"several types \(int, str\)")
    refuses(frame, kind, "the response is given twice", "kind ~ age", ss.SpecificationError)
    refuses(frame, None, "no column 'sort'", "sort ~ age")


def test_refused_families(frame):
    kind, strings = frame["kind"], frame["grade"].astype(str)
    refuses(frame, strings, "ordered=True", error=ss.SpecificationError, family="ordinal")
    unordered = pd.Categorical(strings)
    refuses(frame, unordered, "needs an order", error=ss.SpecificationError, family="ordinal")
    refuses(frame, kind, "3 classes, 'a', 'b', 'c', and Bernoulli", family="bernoulli")
    refuses(
        frame, kind, "no distribution of classes", error=ss.UnsupportedCombinationError,
        family=Normal(),
    )  # fmt: skip
    refuses(frame, kind, "the label 'c', which", family=Categorical(("a", "b")))
    refuses(frame, kind, "choose 'reml'", error=ss.UnsupportedCombinationError, smoothing="gcv")
    for family in ("categorical", Ordinal()):
        with pytest.raises(ss.UnsupportedCombinationError, match="use SemiStructuredClassifier"):
            ss.SemiStructuredRegressor("age", family).fit(frame, np.arange(N) % 3)
    refuses(frame, kind, "unknown family", error=ss.SpecificationError, family="multinomial")


def test_refused_options(frame):
    kind = frame["kind"]

    def refuses_option(message, formula="age", **options):
        refuses(frame, kind, message, formula, ss.SpecificationError, **options)

    refuses_option("'a' is the reference class", {"a": "age"})
    refuses_option("unknown distribution parameter 'd'", {"d": "age"})
    refuses_option("class_weight names 'z'", class_weight={"z": 1.0})
    refuses_option("positive numbers, got -1", class_weight={"a": -1})
    refuses_option("class_weight must be None", class_weight="equal")


def test_refused_predictions(frame):
    model = SemiStructuredClassifier("kind ~ age").fit(frame)
    other = np.where(np.arange(N) == 7, "z", frame["kind"])
    with pytest.raises(ss.DataError, match=r"'z' in row 7 .* none of the classes of the fit"):
        model.log_prob(frame, other)
    right = model.predict(frame) == frame["kind"].to_numpy()
    assert model.score(frame, other) == (right.sum() - right[7]) / N
    gap = np.where(np.arange(N) == 7, None, frame["kind"])
    for method in (model.score, model.log_prob):
        with pytest.raises(ss.DataError, match="missing"):
            method(frame, gap)


def test_separated_classes_are_told(frame):
    split = np.digitize(frame["age"], [-0.5, 0.5])
    for y in (split, split > 0, pd.Categorical(split, ordered=True)):
        with pytest.warns(ss.ConvergenceWarning, match="separation"):
            model = SemiStructuredClassifier("age").fit(frame, y)
        assert model.score(frame, y) == 1.0


def test_a_class_of_one_row(frame):
    rare = frame.assign(kind=np.where(np.arange(N) == 0, "z", frame["kind"]))
    model = SemiStructuredClassifier("kind ~ age").fit(rare)
    np.testing.assert_allclose(model.predict_proba(rare).sum(axis=0), rare["kind"].value_counts(
        sort=False).sort_index(), rtol=1e-6)  # fmt: skip
    refuses(rare, None, "'z' has one row only", "kind ~ age + cnn(scan)", **NET)


# ---------------------------------------------------------------------- pictures and fusions


@pytest.mark.parametrize("name", ["ill", "kind", "grade"])
def test_pictures_help(frame, new, name):
    table = SemiStructuredClassifier(f"{name} ~ age").fit(frame)
    model = SemiStructuredClassifier(f"{name} ~ age + cnn(scan)", **NET).fit(frame)
    before, after = (m.log_prob(new, new[name]).mean() for m in (table, model))
    assert after > before + 0.05
    np.testing.assert_allclose(model.params, table.params, rtol=EXACT)
    assert len(model.fit_.blueprint.plans) == 1
    assert len(model.fit_.blueprint.slots) == (2 if name == "kind" else 1)
    probability = model.predict_proba(new)
    alone = np.vstack([model.predict_proba(new.iloc[[i]]) for i in range(3)])
    np.testing.assert_allclose(alone, probability[:3], rtol=SINGLE, atol=SINGLE)
    assert "cnn(scan)" in str(model.summary())


def test_folds_have_every_class(frame):
    rare = frame.assign(kind=np.where(np.arange(N) < 2, "z", frame["kind"]))
    model = SemiStructuredClassifier(
        "kind ~ mlp(dose)", **{**QUICK, "max_epochs": 1, "gate": False}
    ).fit(rare)
    fold = model.fit_.deep.crossfit.fold
    assert sorted(fold[:2]) == [0, 1]
    apart = SemiStructuredClassifier(
        "kind ~ mlp(dose)", share_encoders=False, **{**QUICK, "max_epochs": 1}
    ).fit(frame)
    assert len(apart.fit_.blueprint.plans) == 2


def test_late_fusion_of_table_and_picture(frame, new):
    members = {
        "table": SemiStructuredClassifier("age"),
        "picture": SemiStructuredClassifier("cnn(scan)", **NET),
    }
    assert all(is_classifier(member) for member in members.values())
    fusion = ss.LateFusion(members, "stack", cv=2, random_state=0).fit(frame, frame["kind"])
    worst = DummyClassifier(strategy="prior").fit(frame[["age"]], frame["kind"])
    scores = {name: model.score(new, new["kind"]) for name, model in fusion.members_.items()}
    assert (fusion.weights_ > 0).all()
    assert fusion.score(new, new["kind"]) > worst.score(new, new["kind"]) + 0.1
    assert fusion.score(new, new["kind"]) > min(scores.values())
    np.testing.assert_allclose(fusion.predict_proba(new).sum(axis=1), 1.0, rtol=EXACT)


def test_early_fusion_and_two_stages(frame, new):
    features = {"scan": ss.ImageFeatures("pca", 3)}
    for name in ("kind", "grade"):
        table = SemiStructuredClassifier("age").fit(frame, frame[name])
        before = table.log_prob(new, new[name]).mean()
        early = ss.EarlyFusion(SemiStructuredClassifier(), features).fit(
            frame[["age", "scan"]], frame[name]
        )
        assert np.mean(early.log_prob(new[["age", "scan"]], new[name])) > before + 0.1
        two = ss.TwoStage(SemiStructuredClassifier("age"), features=features)
        two.fit(frame, frame[name])
        assert is_classifier(two) and two.classes_.tolist() == table.classes_.tolist()
        assert np.mean(two.log_prob(new, new[name])) > before + 0.1
        assert two.score(new, new[name]) > table.score(new, new[name])
        np.testing.assert_allclose(two.structured_.params, table.params, rtol=EXACT)


def test_tools_of_scikit_learn(frame):
    model = SemiStructuredClassifier("age + dose")
    scores = cross_val_score(model, frame, frame["kind"], cv=3, scoring="neg_log_loss")
    assert np.isfinite(scores).all()
    assert clone(model).get_params()["formula"] == "age + dose"
