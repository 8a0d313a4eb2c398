"""What all recipes share: how they are called, and that what they return is worth something."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import semistruct as ss
from semistruct import zoo
from tests._zoo import CASES, fitted

VIGNETTE = Path(__file__).parents[2] / "vignettes" / "11_reproducing_the_literature.py"
SINGLE = 1e-5  # relative, of networks in single precision
BETTER_THAN_CHANCE = 0.55  # a concordance


def test_every_recipe_has_a_case():
    assert set(CASES) == set(zoo.MODELS)
    assert set(zoo.__all__) == {"MODELS", *zoo.MODELS}
    for name, recipe in zoo.MODELS.items():
        assert recipe.__name__ == name and getattr(ss.zoo, name) is recipe


@pytest.mark.parametrize("name", CASES)
def test_one_signature(name):
    parameters = list(inspect.signature(zoo.MODELS[name]).parameters.values())
    assert parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    assert parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    assert "table" in {parameter.name for parameter in parameters}


@pytest.mark.parametrize("name", CASES)
def test_vignette_has_source_and_changes_of_every_recipe(name):
    text = VIGNETTE.read_text(encoding="utf-8").replace("\n#   ", " ")
    entry = next(
        line for line in text.split("\n# - ") if line.startswith("`") and f"`{name}`" in line
    )
    assert "*Changed*: " in entry and re.search(r"\((19|20)\d\d\)", entry)


@pytest.mark.parametrize("name", CASES)
def test_docstrings_say_what_is_published_and_what_is_changed(name):
    text = inspect.getdoc(zoo.MODELS[name])
    for part in ("*As published*:", "*Changed*:", "References\n-----", "Examples\n-----"):
        assert part in text, f"{name} lacks {part!r}"


@pytest.mark.parametrize("name", CASES)
def test_better_than_a_null_model_on_new_rows(name):
    _, y, test, y_test = CASES[name].halves()
    model = fitted(name)
    if isinstance(y, ss.Surv):
        assert model.score(test, y_test) > BETTER_THAN_CHANCE
        return
    if isinstance(model, ss.SemiStructuredClassifier):
        null = y.value_counts(normalize=True).reindex(y_test.to_numpy()).to_numpy()
        assert model.log_prob(test, y_test).mean() > np.log(null).mean()
        return
    assert model.score(test, y_test) > 0.1


@pytest.mark.parametrize("name", CASES)
def test_clones_and_options(name):
    model = CASES[name].model(random_state=5, n_folds=4)
    copy = clone(model)
    assert repr(copy) == repr(model)
    inner = model.estimator if isinstance(model, ss.EarlyFusion) else model
    assert inner.random_state == 5 and inner.n_folds == 4


@pytest.mark.parametrize("name", CASES)
def test_a_row_alone_is_predicted_as_in_the_table(name):
    _, _, test, _ = CASES[name].halves()
    model = fitted(name)
    predict = getattr(model, "predict_log_proba", model.predict)
    together = np.asarray(predict(test[:5]))
    assert together.std() > 0
    alone = np.concatenate([np.asarray(predict(test[k : k + 1])) for k in range(5)])
    np.testing.assert_allclose(alone, together, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("name", CASES)
def test_mistakes_are_told(name):
    case = CASES[name]
    with pytest.raises(ss.SpecificationError, match="did you mean 'n_folds'"):
        case.model(n_fold=3)
    with pytest.raises(ss.SpecificationError, match="makes the formula itself"):
        case.model(formula="age")
    with pytest.raises(ss.SpecificationError, match=f"{name} needs the names of"):
        case.make(**case.options)
    with pytest.raises(ss.SpecificationError, match=r"table= is a piece|must map|predictor"):
        case.make(*case.columns, **{**case.options, "table": 3})


def test_tables_in_every_form():
    text = zoo.deep_conv_surv("ct", table="age + bmi").formula
    names = zoo.deep_conv_surv("ct", table=["age", "bmi"]).formula
    terms = zoo.deep_conv_surv("ct", table=ss.linear("age") + ss.linear("bmi")).formula
    assert text == names == terms and repr(text) == "age + bmi + cnn(ct)"
    response = zoo.deep_conv_surv("ct", table="Surv(time, event) ~ age").formula
    assert response == "Surv(time, event) ~ age + cnn(ct)"


def test_networks_of_ones_own():
    model = zoo.deep_conv_surv("ct", network={"encoder": "own", "latent_dim": 2}, encoders={})
    assert repr(model.formula) == "own(ct, latent_dim=2)"
    with pytest.raises(ss.SpecificationError, match="network= maps"):
        zoo.deep_conv_surv("ct", network="own")


@pytest.mark.parametrize("name", ["deep_conv_surv", "semi_structured"])
def test_saved_and_loaded(name, tmp_path):
    _, _, test, _ = CASES[name].halves()
    model = fitted(name)
    model.save(tmp_path / "model.semistruct")
    again = ss.load(tmp_path / "model.semistruct")
    np.testing.assert_allclose(again.predict(test[:4]), model.predict(test[:4]), rtol=SINGLE)
    pd.testing.assert_series_equal(again.params, model.params)
