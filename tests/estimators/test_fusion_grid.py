"""Every fusion with every head, with complete pictures and with some missing at random."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import semistruct as ss
from semistruct.exceptions import SpecificationError
from semistruct.fusion import CONDITIONED_FUSIONS, FUSIONS

N = 48
TINY = {
    "n_folds": 2,
    "n_repeats": 1,
    "max_epochs": 1,
    "gate": False,
    "progress": False,
    "random_state": 0,
}


def study(missing: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (N, 1, 8, 8)).astype(np.uint8)
    column = ss.ImageArray(pictures)
    if missing:
        column[np.flatnonzero(rng.random(N) < 0.3)] = pd.NA
        assert column.isna().any() and not column.isna().all()
    return pd.DataFrame({"age": rng.normal(size=N), "bmi": rng.normal(size=N), "ct": column})


def follow_up() -> ss.Surv:
    rng = np.random.default_rng(1)
    time, censored = rng.exponential(2, N), rng.uniform(0, 5, N)
    return ss.Surv(np.minimum(time, censored), time <= censored)


def numbers() -> np.ndarray:
    return np.random.default_rng(2).gamma(2.0, size=N)


def labels() -> np.ndarray:
    return np.array(["a", "b", "c"])[np.arange(N) % 3]


def term(fusion: str, extra: str = "") -> str:
    return f"deep(ct, age, bmi, fusion='{fusion}', latent_dim=4, channels=(4,){extra})"


HEADS = {
    "normal": (ss.SemiStructuredRegressor, lambda t: f"age + {t}", {}, numbers),
    "gamma": (
        ss.SemiStructuredRegressor,
        lambda t: {"mean": f"age + {t}", "dispersion": t},
        {"family": "gamma"},
        numbers,
    ),
    "cox": (ss.CoxPH, lambda t: f"age + {t}", {}, follow_up),
    "pamm": (ss.PAMM, lambda t: f"s(tend, k=4) + age + {t}", {"cuts": 4}, follow_up),
    "discrete": (ss.DiscreteHazard, lambda t: f"age + {t}", {"cuts": 4}, follow_up),
    "classes": (ss.SemiStructuredClassifier, lambda t: f"age + {t}", {}, labels),
}


def make(head: str, fusion: str, **options):
    kind, formula, own, response = HEADS[head]
    return kind(formula(term(fusion)), **own, **TINY, **options), response()


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("fusion", [*FUSIONS, *CONDITIONED_FUSIONS])
def test_fits_and_predicts(fusion, head, missing):
    table = study(missing)
    model, y = make(head, fusion)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.ConvergenceWarning)
        model.fit(table, y)
    predicted = model.predict(table)
    assert len(predicted) == N
    if head != "classes":
        assert np.isfinite(np.asarray(predicted, dtype=float)).all()
    one = clone(model)
    assert one.get_params()["formula"] == model.formula
    alone = model.predict(table.iloc[[5]])
    if head == "classes":
        assert alone[0] == predicted[5]
    else:
        np.testing.assert_allclose(np.ravel(alone)[0], np.ravel(predicted)[5], rtol=1e-5)
    # Other pictures missing than in training, and all of them.
    gaps = table.assign(ct=table["ct"].array[np.arange(N)])
    gaps.loc[::2, "ct"] = pd.NA
    none = table.assign(ct=pd.Series([None] * N, dtype=object))
    for other in (gaps, none):
        found = model.predict(other)
        assert len(found) == N
        if head != "classes":
            assert np.isfinite(np.asarray(found, dtype=float)).all()


@pytest.mark.parametrize("head", HEADS)
def test_cross_validation(head):
    model, y = make(head, "attention", modality_dropout=0.3)
    scores = cross_val_score(model, study(True), y, cv=2, error_score="raise")
    assert np.isfinite(scores).all()


def test_a_fused_term_whose_effect_varies_with_time():
    model = ss.PAMM(f"s(tend, k=4) + age + {term('film', ', by=s(tend, k=4)')}", cuts=4, **TINY)
    model.fit(study(False), follow_up())
    assert len(model.fit_.deep.slots) > 1
    assert np.isfinite(model.predict(study(False))).all()


@pytest.mark.parametrize("fusion", ["concat", "daft"])
def test_a_network_after_the_fusion(fusion):
    linear = ss.SemiStructuredRegressor(f"age + {term(fusion)}", **TINY).fit(
        study(False), numbers()
    )
    network = ss.SemiStructuredRegressor(
        f"age + {term(fusion, extra=', head=' + repr('mlp'))}", **TINY
    ).fit(study(False), numbers())
    plain, deeper = (
        model.fit_.deep.crossfit.members[0].net.terms[0] for model in (linear, network)
    )
    assert plain.head is None
    joined = torch.randn(3, deeper.latent_dim)
    assert deeper.head(joined).shape == joined.shape
    text = " ".join(str(network.summary()).split())
    assert "age: also read by a network" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("fusion='fim'", "did you mean 'film'"),
        ("head='deep'", "'linear' or 'mlp'"),
        ("rank=2", "unknown option"),
        ("fusion='attention', n_heads=3", "divide its width"),
        ("fusion='low_rank', rank='two'", "wrong type"),
        ("channles=(4,)", "did you mean 'channels'"),
    ],
)
def test_wrong_options_are_told_before_fitting(options, message):
    model = ss.SemiStructuredRegressor(f"deep(ct, age, {options})", **TINY)
    with pytest.raises(SpecificationError, match=message):
        model.fit(study(False), numbers())
    assert not hasattr(model, "fit_")


def test_film_needs_a_picture():
    with pytest.raises(SpecificationError, match="needs both"):
        ss.SemiStructuredRegressor("deep(age, bmi, fusion='film')", **TINY).fit(
            study(False), numbers()
        )
