"""Objectives for representations as options of every estimator."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from torch import nn

import semistruct as ss
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.objectives import (
    CanonicalCorrelation,
    Contrastive,
    Proxy,
    Reconstruction,
    Similarity,
)

N = 110
ABSENT = np.arange(N) % 6 == 0
NOISE = 1e-6

QUICK = {
    "n_folds": 2,
    "n_repeats": 1,
    "max_epochs": 2,
    "learning_rate": 3e-3,
    "progress": False,
    "gate": False,
    "random_state": 0,
}
CROSS = Reconstruction(cross=True, epochs=4)
NAME = "cross_reconstruction"
TERM = "deep(scan, genes, latent_dim=4, hidden=(8,), hflip=False)"


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(N, 2))
    scans = (z @ rng.normal(size=(2, 16)) + rng.normal(0, 0.5, (N, 16))).reshape(N, 1, 4, 4)
    genes = z @ rng.normal(size=(2, 5)) + rng.normal(0, 0.5, (N, 5))
    here = zip(ABSENT, scans.astype(np.float32), strict=True)
    time = rng.exponential(np.exp(-0.8 * z[:, 0]))
    table = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "scan": ss.TensorArray([None if gone else scan for gone, scan in here]),
            "genes": ss.TensorArray(genes.astype(np.float32)),
            "age": z[:, 1] + rng.normal(0, 0.3, N),
            "sex": rng.choice(["f", "m"], N),
            "lights": np.where(np.arange(N) % 9 == 0, np.nan, z[:, 0]),
            "y": z[:, 0] + rng.normal(0, 0.4, N),
            "time": np.minimum(time, 2.0),
            "event": time < 2.0,
        }
    )
    assert table.event.mean() > 0.5 and table.y.std() > 0
    return table


MODELS = {
    "regressor": (ss.SemiStructuredRegressor, "y ~ x + {}", {}),
    "classifier": (ss.SemiStructuredClassifier, "event ~ x + {}", {}),
    "cox": (ss.CoxPH, "Surv(time, event) ~ x + {}", {}),
    "cox, full": (ss.CoxPH, "Surv(time, event) ~ x + {}", {"risk_sets": "full"}),
    "cox, controls": (ss.CoxPH, "Surv(time, event) ~ x + {}", {"risk_sets": "controls"}),
    "pamm": (ss.PAMM, "Surv(time, event) ~ x + {}", {}),
    "discrete": (ss.DiscreteHazard, "Surv(time, event) ~ x + {}", {"cuts": [0.5, 1.0, 1.5, 2.0]}),
}


def model_of(kind, term=TERM, **options):
    cls, formula, own = MODELS[kind]
    return cls(formula.format(term), **{**QUICK, **own, **options})


def scores_of(model):
    """What the networks say of the rows they did not see."""
    return model.fit_.deep.crossfit.scores


@pytest.fixture(scope="module")
def plain(frame):
    return {kind: scores_of(model_of(kind).fit(frame)) for kind in MODELS}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("option", ["pretraining", "auxiliary"])
def test_every_estimator_takes_them(frame, plain, kind, option, global_rng_untouched):
    model = model_of(kind, **{option: CROSS})
    assert clone(model).get_params()[option] == CROSS
    model.fit(frame)
    assert np.abs(scores_of(model) - plain[kind]).max() > NOISE
    table = model.history_ if option == "auxiliary" else model.pretraining_history_
    assert {f"train_{NAME}", f"held_out_{NAME}", "epoch", "member"} <= set(table)
    assert set(table["member"]) == {0, 1} and table[f"held_out_{NAME}"].notna().all()
    other = model.pretraining_history_ if option == "auxiliary" else model.history_
    assert not any(NAME in column for column in other)


def test_without_them_nothing_changes(frame, plain):
    model = model_of("regressor", pretraining=[], auxiliary=()).fit(frame)
    np.testing.assert_array_equal(scores_of(model), plain["regressor"])
    assert model.pretraining_history_.empty
    assert list(model.history_) == ["epoch", "train_loss", "held_out_loss", "member"]


def test_what_is_held_out_of_a_fold_has_no_say(frame):
    """Pre-training reads the training rows of its fold only."""
    model = model_of("regressor", pretraining=Proxy("lights", epochs=3)).fit(frame)
    fold = model.fit_.deep.crossfit.fold
    changed = frame.assign(lights=frame["lights"].where(fold != 0, -5.0 * frame["lights"] + 1))
    again = model_of("regressor", pretraining=Proxy("lights", epochs=3)).fit(changed)
    members, others = model.fit_.deep.crossfit.members, again.fit_.deep.crossfit.members
    weights = [[m.net.state_dict() for m in found] for found in (members, others)]
    same = [
        all(np.array_equal(a[name], b[name]) for name in a) for a, b in zip(*weights, strict=True)
    ]
    assert same == [True, False]


def test_the_pixels_of_an_absent_scan_change_nothing(frame):
    """Neither does which number a missing proxy stands for."""
    objectives = [CROSS, Similarity(epochs=2), Proxy("lights")]
    model = model_of("regressor", pretraining=objectives, auxiliary=objectives).fit(frame)
    without = frame["scan"].isna()
    assert without.sum() == ABSENT.sum()
    again = model_of("regressor", pretraining=objectives, auxiliary=objectives)
    shuffled = frame.assign(scan=frame["scan"].copy())
    np.testing.assert_array_equal(again.fit(shuffled).predict(frame), model.predict(frame))


def test_every_picture_is_read_once_in_a_pamm(frame):
    model = model_of("pamm", pretraining=CROSS, auxiliary=CROSS)
    model.fit(frame)
    assert len(model.fit_.problem.y) > N  # intervals
    assert model.history_[f"train_{NAME}"].iloc[1:].notna().any()


def test_with_an_effect_that_varies(frame):
    term = "deep(scan, genes, latent_dim=4, hidden=(8,), hflip=False, by=s(x, k=4))"
    predicted = [
        model_of("regressor", term, auxiliary=auxiliary).fit(frame).predict(frame)
        for auxiliary in (None, CROSS)
    ]
    assert np.abs(predicted[0] - predicted[1]).max() > NOISE


def test_workers_change_nothing(frame):
    models = [
        model_of("cox", pretraining=CROSS, auxiliary=Contrastive(corruption=0.2), n_jobs=n_jobs)
        for n_jobs in (None, 2)
    ]
    first, second = (model.fit(frame) for model in models)
    np.testing.assert_array_equal(first.predict(frame), second.predict(frame))
    pd.testing.assert_frame_equal(first.pretraining_history_, second.pretraining_history_)


def test_a_saved_model_predicts_the_same_and_has_no_decoders(frame, tmp_path):
    model = model_of("regressor", pretraining=[CROSS], auxiliary=CROSS).fit(frame)
    model.save(tmp_path / "model")
    again = ss.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    assert again.pretraining == [CROSS] and again.auxiliary == CROSS
    pd.testing.assert_frame_equal(again.pretraining_history_, model.pretraining_history_)
    net = model.fit_.deep.crossfit.members[0].net
    assert not any(isinstance(module, ss.nn.VectorDecoder) for module in net.modules())


def test_decoders_of_pretraining_go_on_as_auxiliary(frame):
    model = model_of("regressor", pretraining=CROSS, auxiliary=CROSS).fit(frame)
    before = model.pretraining_history_.groupby("member")[f"held_out_{NAME}"].last()
    after = model.history_.groupby("member")[f"held_out_{NAME}"].first()
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_weights_and_epochs_matter(frame):
    found = [
        model_of("regressor", auxiliary=Reconstruction(weight=weight)).fit(frame).predict(frame)
        for weight in (0.1, 10.0)
    ]
    assert np.abs(found[0] - found[1]).max() > NOISE
    model = model_of("regressor", pretraining=[CROSS, Similarity(epochs=7)]).fit(frame)
    assert model.pretraining_history_["epoch"].max() == 7


def test_two_of_a_kind_have_names_of_their_own(frame):
    both = [Reconstruction(inputs="scan"), Reconstruction(inputs=["genes"])]
    history = model_of("regressor", auxiliary=both).fit(frame).history_
    assert {"train_reconstruction", "train_reconstruction_2"} <= set(history)


def test_inputs_may_be_chosen_across_terms(frame):
    terms = "cnn(scan, latent_dim=4, hflip=False) + mlp(age, sex, latent_dim=4, hidden=(8,))"
    for inputs in (("scan", "table"), ("scan", "age")):
        model = model_of("regressor", terms, pretraining=Contrastive(inputs=inputs, epochs=2))
        assert len(model.fit(frame).pretraining_history_)
    # By default an objective stays within a term: each is drawn from its own features.
    model = model_of("regressor", terms, pretraining=Reconstruction(epochs=2)).fit(frame)
    assert len(model.pretraining_history_)
    with pytest.raises(SpecificationError, match="two views are correlated"):
        model_of("regressor", terms, pretraining=CanonicalCorrelation()).fit(frame)
    with pytest.raises(SpecificationError, match="no deep term reads 'mri'"):
        model_of("regressor", terms, pretraining=Reconstruction(inputs=("mri",))).fit(frame)


def test_corrupted_rows_of_a_table(frame):
    terms = "mlp(age, sex, lights2, latent_dim=4, hidden=(8,))"
    table = frame.assign(lights2=frame["lights"].fillna(0.0))
    model = model_of("regressor", terms, pretraining=Contrastive(corruption=0.4, epochs=3))
    assert len(model.fit(table).pretraining_history_)
    with pytest.raises(SpecificationError, match=r"corruption=0\.3"):
        model_of("regressor", terms, pretraining=Contrastive()).fit(table)


@pytest.mark.parametrize("dropout", [0.3, "one"])
def test_with_modality_dropout(frame, dropout):
    model = model_of("regressor", modality_dropout=dropout, pretraining=CROSS).fit(frame)
    assert model.pretraining_history_[f"held_out_{NAME}"].notna().all()
    auxiliary = model_of("regressor", modality_dropout=dropout, auxiliary=Similarity())
    if dropout == "one":
        with pytest.raises(UnsupportedCombinationError, match="drops one of them from every row"):
            auxiliary.fit(frame)
    else:
        assert auxiliary.fit(frame).history_["train_similarity"].iloc[1:].notna().any()


class TestBadInput:
    @pytest.mark.parametrize("value", ["reconstruction", [CROSS, 3], Reconstruction])
    @pytest.mark.parametrize("option", ["pretraining", "auxiliary"])
    def test_no_objective(self, frame, option, value):
        with pytest.raises(SpecificationError, match=f"{option} must be an objective"):
            model_of("regressor", **{option: value}).fit(frame)

    def test_no_deep_term(self, frame):
        with pytest.raises(SpecificationError, match="the model has none"):
            model_of("regressor", "age", auxiliary=CROSS).fit(frame)

    def test_frozen_features(self, frame):
        frozen = ss.nn.ModuleEncoder(nn.Identity(), (5,), frozen=True)
        model = model_of(
            "regressor", "own(genes)", encoders={"own": frozen}, pretraining=Reconstruction()
        )
        with pytest.raises(UnsupportedCombinationError, match="frozen"):
            model.fit(frame)

    def test_a_batch_too_small_to_correlate(self, frame):
        with pytest.raises(SpecificationError, match="at least 5 rows"):
            model_of("regressor", pretraining=CanonicalCorrelation(), batch_size=4).fit(frame)

    def test_too_few_rows_to_correlate(self, frame):
        term = TERM.replace("latent_dim=4", "latent_dim=60")
        with pytest.raises(DataError, match="at least 61 training rows"):
            model_of("regressor", term, pretraining=CanonicalCorrelation()).fit(frame)

    @pytest.mark.parametrize("objective", [Similarity(), CROSS])
    def test_features_of_several_dimensions(self, frame, objective):
        with pytest.raises(SpecificationError, match="latent_dim=16"):
            model_of("regressor", "deep(scan, genes)", pretraining=objective).fit(frame)

    def test_one_input(self, frame):
        for objective in (CROSS, Similarity(), Contrastive(), CanonicalCorrelation()):
            with pytest.raises(SpecificationError, match="has one input"):
                model_of("regressor", "cnn(scan)", pretraining=objective).fit(frame)

    @pytest.mark.parametrize(
        ("column", "message"),
        [("nothing", "no column"), ("constant", "same in every row"), ("scan", "tensors")],
    )
    def test_proxies(self, frame, column, message):
        with pytest.raises(DataError, match=message):
            model_of("regressor", pretraining=Proxy(column)).fit(frame.assign(constant=1.0))

    def test_values(self):
        for wrong in (
            lambda: CanonicalCorrelation(ridge=0.0),
            lambda: Contrastive(temperature=0.0),
            lambda: Contrastive(corruption=1.0),
            lambda: Contrastive(projection=0),
            lambda: Similarity(margin=0.0),
            lambda: Proxy(3),
        ):
            with pytest.raises(SpecificationError):
                wrong()
