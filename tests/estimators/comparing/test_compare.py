"""Comparison on the same folds: numbers, baselines, groups, failures, going on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from lifelines import CoxPHFitter
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import semistruct as ss
from semistruct import metrics
from semistruct.datasets import simulate_digits
from semistruct.estimators.comparing.baselines import add_baselines
from semistruct.exceptions import (
    DataError,
    DataWarning,
    SpecificationError,
    UnsupportedCombinationError,
)

QUIET = {"progress": False}
EXACT = {"rtol": 1e-12}
SMALL = {"n_folds": 2, "n_repeats": 1, "max_epochs": 1, "progress": False}


@pytest.fixture
def table(rng):
    X = pd.DataFrame({"x": rng.uniform(size=120), "z": rng.normal(size=120)})
    y = np.sin(6 * X["x"]) + X["z"] + rng.normal(0, 0.3, 120)
    assert y.std() > 0.5
    return X, y


@pytest.fixture
def follow_up(rng):
    X = pd.DataFrame({"x": rng.normal(size=150), "z": rng.normal(size=150)})
    time, end = rng.exponential(np.exp(-X["x"])), rng.exponential(2, 150)
    return X, ss.Surv(np.minimum(time, end), time <= end)


@pytest.fixture(scope="module")
def pictures():
    frame = simulate_digits(90)
    return frame[["age", "bmi", "digit"]], frame["y"]


def row_of(comparison, model, fold):
    return comparison.folds.set_index(["model", "fold"]).loc[(model, fold)]


def given_folds(n, k):
    order = np.arange(n) % k
    return [(np.flatnonzero(order != j), np.flatnonzero(order == j)) for j in range(k)]


def test_scores_are_those_of_a_loop_over_the_folds(table):
    X, y = table
    folds = given_folds(len(X), 4)
    models = {"linear": LinearRegression(), "smooth": ss.SemiStructuredRegressor("s(x) + z")}
    found = ss.compare(models, X, y, cv=folds, **QUIET)
    for name, model in models.items():
        for number, (train, test) in enumerate(folds):
            fitted = model.fit(X.iloc[train], y.iloc[train])
            row = row_of(found, name, number)
            assert row["r2"] == pytest.approx(
                r2_score(y.iloc[test], fitted.predict(X.iloc[test])), rel=1e-10
            )
            assert (row["n_train"], row["n_test"]) == (len(train), len(test))
            assert row["fit_seconds"] > 0
            if name == "smooth":
                log_prob = fitted.log_prob(X.iloc[test], y.iloc[test])
                assert row["log_score"] == pytest.approx(-log_prob.mean(), rel=1e-10)
                params = fitted.predict_params(X.iloc[test])
                exact = metrics.crps_normal(y.iloc[test], params["loc"], params["scale"])
                # 99 quantiles stand for the distribution.
                assert row["crps"] == pytest.approx(exact, rel=2e-3)
    table_ = found.table()
    assert list(table_.index) == ["smooth", "linear", "no covariates"]
    scores = found.scores("r2")
    np.testing.assert_allclose(table_["r2"], scores.mean()[table_.index], **EXACT)
    assert np.isnan(table_.loc["linear", "crps"])
    assert "LinearRegression predicts no quantiles" in str(found)


def test_differences_are_corrected(table):
    X, y = table
    models = {"linear": LinearRegression(), "forest": RandomForestRegressor(20)}
    found = ss.compare(models, X, y, cv=5, n_repeats=2, metrics=["rmse", "r2"], **QUIET)
    gains = found.differences(reference="linear")
    scores = found.scores("rmse")
    assert scores.shape == (10, 3)
    losses = (scores["linear"] - scores["forest"]).to_numpy()
    assert gains.loc["forest", "gain"] == pytest.approx(losses.mean())
    variance = (1 / 10 + 1 / 4) * losses.var(ddof=1)
    half = 2.2621571627 * np.sqrt(variance)  # of Student's t with 9 degrees of freedom
    np.testing.assert_allclose(
        gains.loc["forest", ["lower", "upper"]].astype(float),
        [losses.mean() - half, losses.mean() + half],
        rtol=1e-8,
    )
    assert found.differences().attrs["reference"] == "no covariates"
    with pytest.raises(SpecificationError, match="did you mean 'forest'"):
        found.differences(reference="forst")
    with pytest.raises(SpecificationError, match="unknown metric 'mse'"):
        found.table() is not None and found.scores("mse")


def test_a_seed_makes_the_numbers_whatever_the_order_and_the_workers(table):
    X, y = table
    options = {"cv": 3, "metrics": "r2", "baselines": False, **QUIET}
    models = {"forest": RandomForestRegressor(5), "linear": LinearRegression()}
    first = ss.compare(models, X, y, **options)
    turned = ss.compare(dict(reversed(models.items())), X, y, **options)
    pd.testing.assert_frame_equal(first.scores(), turned.scores()[list(models)])
    with parallel_config(backend="threading"):
        parallel = ss.compare(models, X, y, n_jobs=2, **options)
    pd.testing.assert_frame_equal(first.scores(), parallel.scores())
    other = ss.compare(models, X, y, random_state=1, **options)
    assert not np.allclose(first.scores(), other.scores())


class Interrupted(BaseException):
    """What Ctrl-C raises is no Exception either."""


class Stops(LinearRegression):
    """Is interrupted at the fit of that number, and knows how many there were."""

    fits = 0
    stop_at = None

    def fit(self, X, y, sample_weight=None):
        Stops.fits += 1
        if Stops.fits == Stops.stop_at:
            raise Interrupted
        return super().fit(X, y, sample_weight)


def test_goes_on_after_an_interruption_with_the_same_numbers(table, tmp_path, monkeypatch):
    X, y = table
    models = {"stops": Stops(), "forest": RandomForestRegressor(5)}
    options = {"cv": 4, "metrics": "r2", **QUIET}
    whole = ss.compare(models, X, y, **options)
    path = tmp_path / "deep" / "scores.jsonl"
    monkeypatch.setattr(Stops, "fits", 0)
    monkeypatch.setattr(Stops, "stop_at", 3)
    with pytest.raises(Interrupted):
        ss.compare(models, X, y, checkpoint=path, **options)
    lines = path.read_text().splitlines()
    assert len(lines) == 7  # two folds of three models, and one of the third fold
    path.write_text("\n".join(lines) + '\n{"key": "half a li')
    monkeypatch.setattr(Stops, "stop_at", None)
    monkeypatch.setattr(Stops, "fits", 0)
    again = ss.compare(models, X, y, checkpoint=path, **options)
    assert Stops.fits == 2
    pd.testing.assert_frame_equal(whole.scores(), again.scores())
    assert all(json.loads(line)["key"] for line in path.read_text().splitlines() if "}" in line)
    # Everything is there now, seconds included.
    third = ss.compare(models, X, y, checkpoint=path, **options)
    assert Stops.fits == 2
    pd.testing.assert_frame_equal(third.folds, again.folds)
    # Other data, other parameters, other metrics: nothing of the file is used.
    for changed in (
        {"y": y + 1e-9},
        {"models": {**models, "stops": Stops(positive=True)}},
        {"metrics": "mae"},
        {"random_state": 3},
    ):
        monkeypatch.setattr(Stops, "fits", 0)
        given = {"models": models, "X": X, "y": y, **options, **changed}
        ss.compare(checkpoint=path, **given)
        assert Stops.fits == 4, changed


def lines() -> tuple[dict[str, object], pd.DataFrame, np.ndarray]:
    """What a process compares that is killed, and another one after it."""
    rng = np.random.default_rng(7)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    models = {"line": LinearRegression(), "forest": RandomForestRegressor(5)}
    return models, X, X["a"].to_numpy() + rng.normal(size=60)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import semistruct as ss
from test_compare import LinearRegression, QUIET, lines

fits = []

def fit_or_die(self, X, y, unpatched=LinearRegression.fit):
    fits.append(1)
    if len(fits) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return unpatched(self, X, y)

LinearRegression.fit = fit_or_die
ss.compare(*lines(), cv=4, metrics="r2", checkpoint=sys.argv[2], **QUIET)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")
def test_goes_on_after_the_process_was_killed(tmp_path):
    path = tmp_path / "scores.jsonl"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = path.read_text()
    assert 2 <= left.count('"model": "line"') < 4
    models, X, y = lines()
    again = ss.compare(models, X, y, cv=4, metrics="r2", checkpoint=path, **QUIET)
    assert path.read_text().startswith(left)
    assert path.read_text().count('"model": "line"') == 4
    whole = ss.compare(models, X, y, cv=4, metrics="r2", **QUIET)
    pd.testing.assert_frame_equal(whole.scores(), again.scores())


class Fails(LinearRegression):
    """Cannot be fitted to rows among which a certain one is."""

    def fit(self, X, y, sample_weight=None):
        if 0 in X.index:
            raise RuntimeError("this row is\ntoo much")
        return super().fit(X, y, sample_weight)


def test_a_model_that_fails_is_reported_and_the_others_go_on(table, tmp_path):
    X, y = table
    models = {"linear": LinearRegression(), "fails": Fails()}
    options = {"cv": given_folds(len(X), 4), "metrics": "r2", "checkpoint": tmp_path / "s"}
    with pytest.warns(DataWarning, match="3 of 12 fits failed, of 'fails'.*RuntimeError: this row"):
        found = ss.compare(models, X, y, **options, **QUIET)
    scores = found.scores()
    assert scores["linear"].notna().all() and scores["fails"].notna().sum() == 1
    assert found.table()["folds"].to_dict() == {"linear": 4, "no covariates": 4, "fails": 1}
    failures = found.failures()
    assert list(failures["what"]) == ["fit"] * 3
    assert failures["message"].unique() == ["RuntimeError: this row is too much"]
    assert "1 of 4" in str(found) and "'fails'" in found.to_html()
    assert list(found.ranks().index) == ["linear", "no covariates"]
    assert found.winner().candidates == 1
    with pytest.raises(DataError, match=r"no model could be fitted.*'fails' on fold 0"):
        rows = X.set_axis(np.zeros(len(X), dtype=int))
        ss.compare({"fails": Fails()}, rows, y, baselines=False, cv=2, **QUIET)


def test_baselines_are_derived_from_a_formula_with_pictures(pictures):
    X, y = pictures
    formula = {"loc": "age + s(bmi) + cnn(digit)", "scale": "age"}
    joint = ss.SemiStructuredRegressor(formula, **SMALL)
    found = ss.compare({"joint": joint}, X, y, cv=2, metrics="r2", **QUIET)
    assert found.models == ("no covariates", "table only", "only digit", "joint")
    assert set(found.roles) == set(found.models[:3])
    assert found.differences().attrs["reference"] == "table only"
    table = ss.SemiStructuredRegressor({"loc": "age + s(bmi)", "scale": "age"})
    same = ss.compare({"mine": table}, X, y, cv=2, metrics="r2", baselines=False, **QUIET)
    assert same.models == ("mine",)
    pd.testing.assert_series_equal(
        found.scores()["table only"], same.scores()["mine"], check_names=False
    )
    # A baseline that is there already keeps its name and is not fitted twice.
    models, roles = add_baselines({"joint": joint, "mine": table}, X, "regressor")
    assert list(models) == ["no covariates", "only digit", "joint", "mine"]
    assert roles["mine"] == "table only"


def test_baselines_of_terms_that_read_several_columns(pictures):
    X, _ = pictures
    X = X.assign(second=X["digit"])
    model = ss.PAMM("s(tend) + age + deep(digit, bmi, fusion='gated') + cnn(second, by=s(tend))")
    models, _ = add_baselines({"pamm": model}, X, "survival")
    formulas = {name: one.formula for name, one in models.items() if name != "pamm"}
    assert {name: terms.text() for name, terms in formulas.items()} == {
        "no covariates": "s(tend)",
        "table only": "age + s(tend) + mlp(bmi)",
        "only digit": "s(tend) + cnn(digit)",
        "only second": "s(tend) + cnn(second, by=s(tend))",
    }
    cox = ss.CoxPH("age + strata(bmi) + offset(age) + cnn(digit)")
    models, _ = add_baselines({"cox": cox}, X, "survival")
    assert models["no covariates"].formula.text() == "offset(age)"
    assert models["table only"].formula.text() == "age + offset(age) + strata(bmi)"
    whole = ss.SemiStructuredRegressor()
    models, _ = add_baselines({"all": whole}, X[["age", "digit"]], "regressor")
    assert models["only digit"].formula.text() == "cnn(digit)"
    with pytest.raises(SpecificationError, match="rename"):
        add_baselines({"all": whole, "table only": LinearRegression()}, X, "regressor")


def test_two_models_with_pictures_have_their_own_baselines(pictures):
    X, _ = pictures
    first = ss.SemiStructuredRegressor("age + cnn(digit)")
    second = ss.SemiStructuredRegressor("s(age) + cnn(digit)")
    models, roles = add_baselines({"a": first, "b": second}, X, "regressor")
    assert list(models) == [
        "no covariates",
        "table only",
        "only digit",
        "table only (b)",
        "a",
        "b",
    ]
    assert roles["table only (b)"] == "table only"


def test_groups_and_pictures_stay_together(table, pictures):
    X, y = table
    groups = np.repeat(np.arange(30), 4)
    found = ss.compare({"m": LinearRegression()}, X, y, groups=groups, metrics="r2", **QUIET)
    assert found.n_groups == 30 and "30 groups that stay together" in str(found)
    with pytest.raises(SpecificationError, match="same subject or picture"):
        ss.compare(
            {"m": LinearRegression()}, X, y, groups=groups, cv=given_folds(len(X), 4), **QUIET
        )
    frame, _ = pictures
    doubled = pd.concat([frame, frame], ignore_index=True)
    again = ss.compare(
        {"m": LinearRegression()}, doubled, np.arange(180.0), metrics="r2", cv=2, **QUIET
    )
    assert again.n_groups == len(np.unique(frame["digit"].array.content_keys()))


def test_subjects_of_a_response_stay_together(follow_up):
    X, y = follow_up
    ids = np.arange(150) // 3
    found = ss.compare({"cox": ss.CoxPH("x")}, X, ss.Surv(y.time, y.event, id=ids), cv=3, **QUIET)
    assert found.n_groups == 50


class Remembers(GridSearchCV):
    """Keeps the folds that it was given."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y=None, **params):
        Remembers.seen.append((X, self.cv))
        return super().fit(X, y, **params)


def test_a_search_is_tuned_inside_and_cuts_no_group(table):
    X, y = table
    groups = np.repeat(np.arange(24), 5)
    X = X.assign(group=groups)
    search = Remembers(Ridge(), {"alpha": [0.1, 1000.0]}, cv=3)
    Remembers.seen.clear()
    found = ss.compare({"tuned": search}, X, y, groups=groups, cv=3, metrics="r2", **QUIET)
    assert len(Remembers.seen) == 3
    for rows, pairs in Remembers.seen:
        assert len(pairs) == 3
        for train, test in pairs:
            assert not set(rows["group"].iloc[train]) & set(rows["group"].iloc[test])
    assert list(found.chosen_parameters()["alpha"]) == ["0.1"] * 3
    own = GridSearchCV(Ridge(), {"alpha": [0.1]}, cv=given_folds(80, 2))
    ss.compare({"tuned": own}, X, y, groups=groups, cv=3, metrics="r2", **QUIET)


def test_survival_models_of_any_package(follow_up):
    X, y = follow_up
    models = {
        "cox": ss.CoxPH("x + z"),
        "lifelines": CoxPHFitter(),
        "aft": ss.SemiStructuredRegressor("x + z", family="weibull"),
        "pamm": ss.PAMM("s(tend) + x", cuts=12),
    }
    found = ss.compare(
        models,
        X,
        y,
        cv=3,
        metrics=["concordance", "ibs", "uno", "antolini", "integrated_auc"],
        **QUIET,
    )
    assert not found.scores("ibs").isna().any(axis=None)
    for name in ("concordance", "uno"):
        np.testing.assert_allclose(*found.scores(name)[["cox", "lifelines"]].T.to_numpy(), **EXACT)
    # lifelines draws straight lines between the times of its baseline.
    np.testing.assert_allclose(*found.scores("ibs")[["cox", "lifelines"]].T.to_numpy(), rtol=2e-3)
    assert (found.scores("concordance")["no covariates"] == 0.5).all()
    table = found.table()
    assert (table["ibs"] < table.loc["no covariates", "ibs"]).sum() == 4
    assert (found.scores("concordance")["aft"] > 0.6).all()
    # With one risk for all times Antolini's index is Harrell's up to the last time.
    assert found.scores("antolini")["cox"].mean() == pytest.approx(
        found.scores("concordance")["cox"].mean(), abs=0.02
    )
    few = ss.compare({"cox": ss.CoxPH("x")}, X, y, cv=3, times=[0.2, 0.5], metrics="ibs", **QUIET)
    assert list(few.times) == [0.2, 0.5]
    with pytest.raises(DataError, match="shortest follow-up of a fold"):
        ss.compare({"cox": ss.CoxPH("x")}, X, y, times=[100.0], **QUIET)
    late = ss.Surv(y.time + 1, y.event, entry=y.time / 2)
    delayed = ss.compare({"cox": ss.CoxPH("x")}, X, late, cv=3, **QUIET)
    assert [m.name for m in delayed.measures] == ["concordance"]


def test_competing_causes(rng):
    X = pd.DataFrame({"x": rng.normal(size=200), "z": rng.normal(size=200)})
    first, second = rng.exponential(np.exp(-X["x"])), rng.exponential(np.exp(X["x"]))
    end = rng.exponential(2, 200)
    time = np.minimum(np.minimum(first, second), end)
    cause = np.select([first == time, second == time], [1, 2], 0)
    y = ss.Surv(time, cause, n_causes=2)
    assert np.bincount(cause).min() > 20
    models = {"pamm": ss.PAMM("s(tend) + x", cuts=12), "cox": ss.CoxPH("x")}
    with pytest.warns(DataWarning, match="3 of 9 fits failed, of 'cox'"):
        found = ss.compare(models, X, y, cv=3, **QUIET)
    assert [m.name for m in found.measures] == [
        "incidence_concordance_1",
        "incidence_ibs_1",
        "incidence_concordance_2",
        "incidence_ibs_2",
    ]
    table = found.table()
    for k in (1, 2):
        assert table.loc["pamm", f"incidence_concordance_{k}"] > 0.6
        own, null = table.loc[["pamm", "no covariates"], f"incidence_ibs_{k}"]
        assert own < null
    with pytest.raises(SpecificationError, match="metric of competing causes"):
        ss.compare(models, X, y, metrics="concordance", **QUIET)


def test_classes(rng):
    X = pd.DataFrame({"x": rng.normal(size=150), "z": rng.normal(size=150)})
    y = np.where(X["x"] + rng.logistic(size=150) > 0, "yes", "no")
    models = {
        "ours": ss.SemiStructuredClassifier("x + z"),
        "theirs": make_pipeline(StandardScaler(), LogisticRegression(C=1e6)),
    }
    folds = given_folds(150, 3)
    found = ss.compare(
        models, X, y, cv=folds, metrics=["auc", "log_loss", "brier", "accuracy"], **QUIET
    )
    for number, (train, test) in enumerate(folds):
        fitted = models["theirs"].fit(X.iloc[train], y[train])
        proba = fitted.predict_proba(X.iloc[test])
        row = row_of(found, "theirs", number)
        assert row["auc"] == pytest.approx(roc_auc_score(y[test] == "yes", proba[:, 1]))
        assert row["log_loss"] == pytest.approx(log_loss(y[test], proba))
        assert row["accuracy"] == pytest.approx(fitted.score(X.iloc[test], y[test]))
        squares = 2 * (proba[:, 1] - (y[test] == "yes")) ** 2
        assert row["brier"] == pytest.approx(squares.mean())
    np.testing.assert_allclose(found.scores("auc")["ours"], found.scores("auc")["theirs"], 1e-3)
    several = np.where(X["z"] + rng.logistic(size=150) > 1, "maybe", y)
    more = ss.compare({"ours": ss.SemiStructuredClassifier("x + z")}, X, several, cv=3, **QUIET)
    assert (more.scores("auc")["ours"] > 0.6).all()


def test_weights(table):
    X, y = table
    weight = np.ones(len(X))
    weight[::3] = 0
    model = {"linear": LinearRegression()}
    found = ss.compare(model, X, y, sample_weight=weight, cv=3, metrics="r2", **QUIET)
    kept = np.flatnonzero(weight)
    without = ss.compare(model, X.iloc[kept], y.iloc[kept], cv=3, metrics="r2", **QUIET)
    pd.testing.assert_frame_equal(found.scores(), without.scores())
    heavy = ss.compare(
        model, X, y, sample_weight=np.where(X["x"] > 0.5, 9.0, 1.0), cv=3, metrics="r2", **QUIET
    )
    plain = ss.compare(model, X, y, cv=3, metrics="r2", **QUIET)
    assert not np.allclose(heavy.scores(), plain.scores())


def test_own_metrics_and_those_of_scikit_learn(table):
    X, y = table

    def worst(model, X, y):
        return -float(np.abs(y - model.predict(X)).max())

    found = ss.compare(
        {"linear": LinearRegression()},
        X,
        y,
        cv=3,
        metrics={"worst": worst, "mae": "neg_mean_absolute_error"},
        **QUIET,
    )
    ours = ss.compare({"linear": LinearRegression()}, X, y, cv=3, metrics="mae", **QUIET)
    np.testing.assert_allclose(-found.scores("neg_mean_absolute_error"), ours.scores(), **EXACT)
    assert (found.scores("worst")["linear"] < 0).all()
    with pytest.raises(SpecificationError, match="no metric of regressor models"):
        ss.compare({"linear": LinearRegression()}, X, y, metrics="auc", **QUIET)
    with pytest.raises(SpecificationError, match="unknown metric 'r22'"):
        ss.compare({"linear": LinearRegression()}, X, y, metrics="r22", **QUIET)


def test_what_makes_no_sense(table, follow_up):
    X, y = table
    model = {"linear": LinearRegression()}
    with pytest.raises(SpecificationError, match="must map names"):
        ss.compare(LinearRegression(), X, y)
    with pytest.raises(SpecificationError, match="is no model"):
        ss.compare({"type": LinearRegression}, X, y)
    with pytest.raises(UnsupportedCombinationError, match="same kind"):
        ss.compare({**model, "class": LogisticRegression()}, X, y)
    with pytest.raises(UnsupportedCombinationError, match="and a follow-up"):
        ss.compare({"class": LogisticRegression()}, *follow_up)
    with pytest.raises(SpecificationError, match="n_repeats=2 makes other folds"):
        ss.compare(model, X, y, cv=given_folds(120, 3), n_repeats=2)
    with pytest.raises(SpecificationError, match="random_state must be a whole number"):
        ss.compare(model, X, y, random_state=None)
    with pytest.raises(SpecificationError, match="times= are for survival"):
        ss.compare(model, X, y, times=[1.0])
    with pytest.raises(DataError, match="needs y"):
        ss.compare(model, X, None)


def test_the_winner_pays_for_having_been_chosen(table):
    X, y = table
    models = {
        f"forest {seed}": RandomForestRegressor(2, max_depth=2, random_state=seed)
        for seed in range(6)
    }
    found = ss.compare(models, X, y, metrics="r2", **QUIET)
    winner = found.winner()
    assert winner.candidates == 6 and winner.honest_score < winner.score
    assert winner.score == found.table()["r2"].max()
    assert str(winner) in str(found)


def test_tables_for_papers_and_pages(table):
    X, y = table
    models = {"a_b & c": LinearRegression(), "<smooth>": ss.SemiStructuredRegressor("s(x) + z")}
    found = ss.compare(models, X, y, cv=3, metrics=["r2", "rmse"], **QUIET)
    latex, html = found.to_latex(), found.to_html()
    assert r"a\_b \& c" in latex and latex.count(r"\textbf") == 2
    assert latex.startswith(r"\begin{tabular}{lrrrr}")
    assert "&lt;smooth&gt;" in html and html.count("<strong>") == 2
    assert found._repr_html_() == html
    assert repr(found).count("*") == 2


def test_scorers_are_the_same_scores(table, follow_up):
    X, y = table
    model = ss.SemiStructuredRegressor("s(x) + z").fit(X, y)
    assert metrics.scorer("r2")(model, X, y) == pytest.approx(model.score(X, y))
    log_score = metrics.scorer("log_score")(model, X, y)
    assert log_score == pytest.approx(model.log_prob(X, y).mean())
    assert metrics.scorer("crps")(model, X, y) < 0
    interval = model.predict_interval(X, 0.9)
    expected = metrics.interval_score(y, interval["lower"], interval["upper"], level=0.9)
    assert metrics.scorer("interval_score")(model, X, y) == pytest.approx(-expected)
    X, y = follow_up
    cox = ss.CoxPH("x").fit(X, y)
    assert metrics.scorer("concordance")(cox, X, y) == pytest.approx(cox.score(X, y))
    short = metrics.scorer("ibs", times=[0.1, 0.3])(cox, X, y)
    survival = np.column_stack(
        [np.ones(len(X)), cox.predict_survival_function(X, [0.1, 0.3]).to_numpy().T]
    )
    expected = metrics.integrated_brier_score(y, y, survival, [0, 0.1, 0.3])
    assert short == pytest.approx(-expected)
    other = metrics.scorer("ibs", times=[0.1, 0.3], y_train=y[:80])(cox, X[:80], y[:80])
    assert other != short
    search = GridSearchCV(
        ss.CoxPH("x"), {"formula": ["x", "x + z"]}, scoring=metrics.scorer("ibs"), cv=3
    )
    assert search.fit(X, y).best_score_ < 0
    with pytest.raises(SpecificationError, match="unknown metric"):
        metrics.scorer("ibss")
