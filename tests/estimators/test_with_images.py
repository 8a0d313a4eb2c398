"""The regressor with pictures: scikit-learn's tools, missing pictures, files, own encoders."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

import semistruct as ss
from semistruct import SemiStructuredRegressor

SINGLE = 1e-5  # encoders are float32
SUM = 1e-9  # contributions against the predictor they add up to

N = 150
QUICK = {"n_folds": 2, "n_repeats": 1, "max_epochs": 2, "progress": False, "random_state": 0}
OPEN = {**QUICK, "gate": False}


def study(n=N, seed=0):
    """Brightness of the left half moves the response; the picture knows the age."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(40, 80, n)
    left = rng.uniform(0, 150, n) + age
    pixels = rng.integers(0, 20, (n, 1, 8, 8)).astype(float)
    pixels[:, :, :, :4] += left[:, None, None, None]
    frame = pd.DataFrame(
        {
            "age": age,
            "bmi": rng.normal(27, 4, n),
            "group": rng.choice(list("abc"), n),
            "scan": ss.ImageArray(pixels.astype(np.uint8)),
        },
        index=[f"p{i}" for i in range(n)],
    )
    frame["y"] = 0.05 * age + 0.02 * left + rng.normal(0, 0.3, n)
    assert frame["y"].std() > 0 and np.ptp(pixels) > 0
    return frame


@pytest.fixture(scope="module")
def frame():
    return study()


@pytest.fixture(scope="module")
def model(frame):
    return SemiStructuredRegressor(
        "y ~ age + s(bmi, k=5) + cnn(scan)", **{**OPEN, "max_epochs": 8}
    ).fit(frame)


def fit(frame, formula="y ~ age + cnn(scan)", **options):
    return SemiStructuredRegressor(formula, **{**OPEN, **options}).fit(frame)


# ---------------------------------------------------------------------- the fitted model


def test_the_picture_helps(model, frame):
    new = study(200, seed=1)
    table = SemiStructuredRegressor("age + s(bmi, k=5)").fit(frame, frame["y"])
    assert model.score(new, new["y"]) > table.score(new, new["y"]) + 0.05


def test_coefficients_are_those_of_the_table(model, frame):
    """The normal table model answers the marginal question; the picture only adds to it."""
    table = SemiStructuredRegressor("y ~ age + s(bmi, k=5)", cov_type="sandwich").fit(frame)
    pd.testing.assert_frame_equal(model.effects(), table.effects())
    pd.testing.assert_frame_equal(model.effects("projection"), table.effects())


def test_contributions_sum_to_the_predictors(model, frame):
    new = study(40, seed=2)
    parts = model.term_contributions(new)
    assert list(parts["loc"]) == ["Intercept", "age", "s(bmi)", "cnn(scan)"]
    assert parts["loc", "cnn(scan)"].std() > 0
    params = model.predict_params(new)
    np.testing.assert_allclose(parts["loc"].sum(axis=1), params["loc"], rtol=SUM)


def test_scores_of_the_training_rows_are_orthogonal_to_the_table(model):
    deep = model.fit_.deep
    X = model.fit_.problem.blocks[0].dense()[:, :2]
    scores = deep.scores[:, 0]
    assert scores.std() > 0
    assert np.abs(X.T @ scores).max() < 1e-8 * np.abs(X).T.dot(np.abs(scores)).max()


def test_embeddings(model, frame):
    latent = model.embeddings(frame.iloc[:10])
    assert latent.index.equals(frame.index[:10])
    assert latent.columns.names == ["term", "member", "feature"]
    assert set(latent.columns.get_level_values("term")) == {"cnn(scan)"}
    assert set(latent.columns.get_level_values("member")) == {0, 1}
    assert latent.to_numpy().std() > 0


def test_summary_history_and_plot(model):
    text = str(model.summary())
    for piece in ("cnn(scan)", "sandwich", "marginal", "deep terms", "yes"):
        assert piece in text
    assert "cnn(scan)" in model.summary()._repr_html_()
    assert list(model.history_) == ["epoch", "train_loss", "held_out_loss", "member"]
    assert set(model.history_["member"]) == {0, 1}
    assert len(model.plot().axes) > 2


def test_predictions_of_the_distribution(model, frame):
    new = frame.iloc[:15]
    interval = model.predict_interval(new)
    assert (interval["lower"] < interval["upper"]).all() and interval.index.equals(new.index)
    assert model.sample(new, 3, random_state=0).shape == (3, 15)
    assert np.isfinite(model.log_prob(new, new["y"])).all()


def test_a_pickled_model_predicts_the_same(model, frame):
    again = pickle.loads(pickle.dumps(model))
    new = frame.iloc[5:25]
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    assert str(again.summary()) == str(model.summary())


# ---------------------------------------------------------------------- scikit-learn's tools


def test_cross_validation_and_splits(frame):
    estimator = SemiStructuredRegressor("age + cnn(scan)", **QUICK)
    scores = cross_val_score(estimator, frame, frame["y"], cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    train, test, y_train, y_test = train_test_split(frame, frame["y"], random_state=0)
    assert np.isfinite(clone(estimator).fit(train, y_train).score(test, y_test))


def test_grid_search(frame):
    search = GridSearchCV(
        SemiStructuredRegressor("age + cnn(scan)", **OPEN),
        {"formula": ["age", "age + cnn(scan)"], "weight_decay": [0.1]},
        cv=2,
    )
    search.fit(frame, frame["y"])
    assert set(search.best_params_) == {"formula", "weight_decay"}
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert search.predict(frame.iloc[:3]).shape == (3,)


def test_in_a_pipeline(frame):
    center = FunctionTransformer(lambda table: table.assign(age=table["age"] - 60))
    pipeline = Pipeline(
        [("center", center), ("model", SemiStructuredRegressor("age + cnn(scan)", **QUICK))]
    )
    pipeline.fit(frame, frame["y"])
    plain = SemiStructuredRegressor("age + cnn(scan)", **QUICK).fit(frame, frame["y"])
    slope = pipeline[-1].params["loc", "age"]
    assert slope == pytest.approx(plain.params["loc", "age"], rel=1e-8)
    assert np.isfinite(pipeline.predict(frame)).all()


def test_a_clone_is_unfitted_and_learns_the_same(model, frame):
    twin = clone(model)
    assert not hasattr(twin, "fit_")
    np.testing.assert_array_equal(twin.fit(frame).predict(frame), model.predict(frame))


def test_pictures_without_a_formula(frame):
    columns = frame[["age", "scan"]]
    model = SemiStructuredRegressor(**OPEN).fit(columns, frame["y"])
    assert model.term_contributions(columns)["loc"].columns.tolist() == [
        *("Intercept", "age", "cnn(scan)"),
    ]
    np.testing.assert_allclose(model.predict(columns), fit(frame).predict(frame), rtol=1e-12)


# ---------------------------------------------------------------------- randomness


@pytest.mark.usefixtures("global_rng_untouched")
def test_the_seed_decides_everything_and_no_global_generator_is_moved(frame):
    first = fit(frame).predict(frame)
    torch.rand(3, generator=torch.Generator())
    np.testing.assert_array_equal(fit(frame).predict(frame), first)
    assert np.abs(fit(frame, random_state=1).predict(frame) - first).max() > 0


def test_jobs_change_no_number(frame):
    np.testing.assert_array_equal(
        fit(frame, n_jobs=2).predict(frame), fit(frame, n_jobs=1).predict(frame)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"n_folds": 3},
        {"n_folds": 1},
        {"n_repeats": 2},
        {"orthogonalize": "parametric"},
        {"orthogonalize": "none"},
        {"batch_size": 16},
        {"learning_rate": 1e-2},
        {"weight_decay": 1.0},
        {"max_epochs": 4},
    ],
    ids=str,
)
def test_every_option_of_the_deep_fit_changes_the_answer(options, frame):
    formula = "y ~ age + s(bmi, k=5) + cnn(scan)"
    base = fit(frame, formula).predict(frame)
    assert np.abs(fit(frame, formula, **options).predict(frame) - base).max() > 1e-8


def test_patience_ends_the_training_early(frame):
    options = {"max_epochs": 30, "learning_rate": 0.1, "n_folds": 1}
    short = fit(frame, patience=1, **options).history_
    long = fit(frame, patience=30, **options).history_
    assert short["epoch"].max() < long["epoch"].max()


def test_the_progress_bar_can_be_silenced(frame, capsys):
    fit(frame)
    assert capsys.readouterr().err == ""
    fit(frame, progress=True)
    assert "deep terms" in capsys.readouterr().err


# ---------------------------------------------------------------------- do no harm


def test_the_gate_closes_on_noise(frame):
    rng = np.random.default_rng(0)
    noise = frame.assign(scan=frame["scan"].array[rng.permutation(N)])
    noise["y"] = 0.05 * noise["age"] + rng.normal(0, 0.3, N)
    closed = fit(noise, gate=True, max_epochs=3)
    table = SemiStructuredRegressor("y ~ age").fit(noise)
    np.testing.assert_allclose(closed.predict(noise), table.predict(noise), rtol=1e-12)
    assert "no" in str(closed.summary()).split("deep terms")[1]
    hidden = noise.drop(columns="scan")
    np.testing.assert_allclose(closed.predict(hidden), table.predict(noise), rtol=1e-12)


def test_identical_pictures_are_one_group(frame):
    twins = pd.concat([frame.iloc[:75], frame.iloc[:75]], ignore_index=True)
    fold = fit(twins).fit_.deep.crossfit.fold
    np.testing.assert_array_equal(fold[:75], fold[75:])
    assert set(fold) == {0, 1}


def test_subjects_stay_in_one_fold(frame):
    subject = np.repeat(np.arange(N // 5), 5)
    model = SemiStructuredRegressor("y ~ age + cnn(scan)", **OPEN).fit(frame, groups=subject)
    fold = model.fit_.deep.crossfit.fold
    assert (pd.Series(fold).groupby(subject).nunique() == 1).all()
    assert set(fold) == {0, 1}


def test_a_row_of_weight_zero_is_absent(frame):
    weight = np.ones(N)
    weight[::4] = 0.0
    odd = frame.copy()
    odd.loc[weight == 0, "y"] = 1e6
    weighted = SemiStructuredRegressor("y ~ age + cnn(scan)", **OPEN).fit(odd, sample_weight=weight)
    without = fit(frame[weight > 0])
    np.testing.assert_allclose(weighted.predict(frame), without.predict(frame), rtol=1e-12)


# ---------------------------------------------------------------------- missing pictures


def holes(frame, rows):
    scans = frame["scan"].array.copy()
    scans[rows] = None
    return frame.assign(scan=scans)


def test_missing_pictures(frame):
    model = fit(holes(frame, np.arange(0, N, 5)), max_epochs=4)
    new = holes(frame.iloc[:20], [0, 7])
    parts = model.term_contributions(new)["loc", "cnn(scan)"].to_numpy()
    # What the pictures may say is nothing on average, given the table.
    assert np.abs(parts[[0, 7]]).max() < 1e-10 and np.abs(parts[[1, 2, 3]]).min() > 1e-3
    full = model.predict(frame.iloc[:20])
    same = np.setdiff1d(np.arange(20), [0, 7])
    np.testing.assert_allclose(model.predict(new)[same], full[same], rtol=SINGLE)
    assert np.isnan(model.embeddings(new).to_numpy()[[0, 7]]).all()
    none = model.predict(holes(frame.iloc[:20], np.arange(20)))
    parts = model.term_contributions(frame.iloc[:20])["loc"]
    np.testing.assert_allclose(none, parts["Intercept"] + parts["age"], rtol=SUM)


def test_a_column_of_nothing_but_missing_pictures_at_prediction(model, frame):
    new = frame.iloc[:4]
    for column in ([None] * 4, ss.ImageArray([None] * 4), np.full(4, np.nan)):
        got = model.predict(new.assign(scan=column))
        np.testing.assert_allclose(got, model.predict(holes(new, np.arange(4))), rtol=SUM)


def test_missing_pictures_survive_missing_drop(frame):
    gaps = holes(frame, [0, 1])
    gaps.iloc[3, gaps.columns.get_loc("age")] = np.nan
    with pytest.warns(ss.DataWarning, match="1 of 150 rows"):
        model = fit(gaps, missing="drop")
    assert len(model.fit_.problem.y) == N - 1


# ---------------------------------------------------------------------- files


@pytest.fixture
def folder(frame, tmp_path):
    for name, pixels in zip(frame.index, frame["scan"].array.batch(), strict=True):
        Image.fromarray(pixels[0]).save(tmp_path / f"{name}.png")
    return tmp_path


def test_pictures_on_disk(frame, folder):
    expected = fit(frame).predict(frame)
    files = frame.assign(scan=ss.ImageArray.from_folder(folder, frame.index, pattern="{key}.png"))
    model = fit(files)
    np.testing.assert_allclose(model.predict(files), expected, rtol=SINGLE)
    np.testing.assert_allclose(model.predict(frame), expected, rtol=SINGLE)
    paths = frame.assign(scan=[str(folder / f"{name}.png") for name in frame.index])
    named = fit(paths)
    np.testing.assert_allclose(named.predict(paths), expected, rtol=SINGLE)
    one = paths.iloc[[3]].assign(scan=[folder / "p3.png"])
    np.testing.assert_allclose(named.predict(one), expected[[3]], rtol=SINGLE)
    some = paths.iloc[:4].assign(scan=[None, *paths["scan"].iloc[1:3], np.nan])
    np.testing.assert_allclose(named.predict(some)[1:3], expected[1:3], rtol=SINGLE)


def test_an_unreadable_file_names_path_and_row(frame, folder):
    (folder / "p7.png").write_text("not a picture")
    paths = frame.assign(scan=[str(folder / f"{name}.png") for name in frame.index])
    estimator = SemiStructuredRegressor("y ~ age + cnn(scan)", **OPEN)
    with pytest.raises(ss.DataError, match=r"p7\.png"):
        estimator.fit(paths)
    assert not hasattr(estimator, "fit_")
    scans = ss.ImageArray.from_files(paths["scan"], on_error="missing")
    model = estimator.fit(frame.assign(scan=scans))
    assert np.isfinite(model.predict(frame)).all()


def test_pictures_of_another_size_are_refused(model, frame):
    larger = frame.iloc[:3].assign(scan=ss.ImageArray(np.zeros((3, 1, 9, 9), np.uint8)))
    with pytest.raises(ss.DataError, match=r"'scan'.*\(1, 9, 9\)"):
        model.predict(larger)


# ---------------------------------------------------------------------- networks


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


@pytest.fixture
def tiny():
    return Tiny()


def state(module):
    return [value.clone() for value in module.state_dict().values()]


def test_a_trainable_encoder_is_copied(frame, tiny):
    before = state(tiny)
    model = fit(frame, "y ~ age + tiny(scan)", encoders={"tiny": tiny}, max_epochs=4)
    assert model.term_contributions(frame)["loc", "tiny(scan)"].std() > 0
    assert all(torch.equal(a, b) for a, b in zip(before, state(tiny), strict=True))
    assert all(value.requires_grad for value in tiny.parameters()) and tiny.training
    trained = model.fit_.deep.crossfit.members[0].net.state_dict()
    weights = next(v for k, v in trained.items() if k.endswith("layers.1.weight"))
    assert not torch.equal(weights, before[0])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))


def test_a_frozen_encoder_is_a_ridge_regression(frame, tiny):
    before = state(tiny)
    frozen = ss.nn.ModuleEncoder(tiny, (1, 8, 8), frozen=True)
    model = fit(frame, "y ~ age + tiny(scan)", encoders={"tiny": frozen})
    assert model.score(frame, frame["y"]) > 0.8
    assert set(model.history_["epoch"]) == {1}
    assert all(torch.equal(a, b) for a, b in zip(before, state(tiny), strict=True))
    np.testing.assert_array_equal(
        fit(frame, "y ~ age + tiny(scan)", encoders={"tiny": frozen}).predict(frame),
        model.predict(frame),
    )
    option = fit(frame, "y ~ age + tiny(scan, frozen=True)", encoders={"tiny": tiny})
    assert set(option.history_["epoch"]) == {1}
    on_top = fit(frame, "y ~ age + tiny(scan, frozen=True, latent_dim=3)", encoders={"tiny": tiny})
    assert on_top.embeddings(frame).shape[1] == 2 * 3 and on_top.history_["epoch"].max() == 2
    search = clone(model).fit(frame)
    np.testing.assert_array_equal(search.predict(frame), model.predict(frame))


def test_an_unknown_encoder(frame, tiny):
    with pytest.raises(ss.SpecificationError, match="tinny"):
        fit(frame, "y ~ age + tinny(scan)", encoders={"tiny": tiny})
    with pytest.raises(ss.SpecificationError, match="latnt_dim"):
        fit(frame, "y ~ age + cnn(scan, latnt_dim=2)")
    with pytest.raises(ss.SpecificationError, match="hidden=8"):
        fit(frame, "y ~ age + mlp(bmi, hidden=8)")


def test_table_columns_through_a_network(frame):
    frame = frame.assign(y=frame["y"] + frame["bmi"])
    quick = {"max_epochs": 8, "learning_rate": 1e-2}
    model = fit(frame, "y ~ age + mlp(bmi, group, hidden=(8,))", **quick)
    assert model.term_contributions(frame).iloc[:, 2].std() > 0
    assert model.term_contributions(frame)["loc"].shape == (N, 3)
    with pytest.raises(ss.DataError, match="'bmi'"):
        model.predict(frame.assign(bmi=np.nan))
    with pytest.raises(ss.DataError, match="'d'"):
        model.predict(frame.assign(group="d"))
    gaps = frame.copy()
    gaps.iloc[2, gaps.columns.get_loc("bmi")] = np.nan
    with pytest.raises(ss.DataError, match="'bmi'"):
        fit(gaps, "y ~ age + mlp(bmi)")
    for formula in ("y ~ age + mlp(bmi)", "y ~ age + deep(scan, bmi)"):
        with pytest.warns(ss.DataWarning, match="1 of 150 rows"):
            fit(gaps, formula, missing="drop")


@pytest.mark.parametrize("fusion", ["concat", "gated", "mean", "max", "product"])
def test_fusion_of_pictures_and_columns(fusion, frame):
    formula = f"y ~ age + deep(scan, bmi, group, fusion='{fusion}', latent_dim=4)"
    gaps = holes(frame, [0, 1, 2])
    model = fit(gaps, formula, max_epochs=8)
    label = next(label for _, label in model.term_contributions(frame) if "deep" in label)
    parts = model.term_contributions(gaps)["loc", label]
    # Rows without the picture still have the columns.
    assert parts.std() > 0 and (parts.iloc[:3] != 0).all()
    assert np.isfinite(model.predict(gaps)).all()


def test_two_pictures_per_row(frame):
    rng = np.random.default_rng(3)
    other = ss.ImageArray(rng.integers(0, 255, (N, 3, 9, 8)).astype(np.uint8))
    both = frame.assign(second=other)
    model = fit(both, "y ~ age + cnn(scan) + cnn(second)")
    assert len(model.fit_.deep.slots) == 2
    assert len(model.term_contributions(both)["loc"].columns) == 4
    joint = fit(both, "y ~ age + deep(scan, second)")
    assert np.isfinite(joint.predict(both)).all()


def test_deep_terms_in_two_parameters(frame):
    formula = {"loc": "y ~ age + cnn(scan)", "scale": "cnn(scan)"}
    apart = fit(frame, formula, max_epochs=3)
    shared = fit(frame, formula, max_epochs=3, share_encoders=True)
    assert [slot.param for slot in apart.fit_.deep.slots] == [0, 1]
    assert [slot.network for slot in apart.fit_.deep.slots] == [0, 1]
    assert [slot.network for slot in shared.fit_.deep.slots] == [0, 0]
    difference = np.abs(apart.predict_params(frame) - shared.predict_params(frame)).max()
    assert (difference > 0).all()
    parts = apart.term_contributions(frame)
    params = apart.predict_params(frame)
    np.testing.assert_allclose(parts["scale"].sum(axis=1), np.log(params["scale"]), rtol=1e-6)


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gamma", "lognormal"])
def test_other_families(family, frame):
    eta = (frame["y"] - frame["y"].mean()) / frame["y"].std()
    rng = np.random.default_rng(0)
    y = {
        "poisson": rng.poisson(np.exp(eta)).astype(float),
        "bernoulli": (rng.random(N) < 1 / (1 + np.exp(-2 * eta))).astype(float),
        "gamma": rng.gamma(3.0, np.exp(eta)),
        "lognormal": np.exp(eta),
    }[family]
    model = SemiStructuredRegressor("age + cnn(scan)", family, **{**OPEN, "max_epochs": 4})
    model.fit(frame, y)
    assert np.isfinite(model.predict(frame)).all()
    assert np.isfinite(model.log_prob(frame, y)).all()
    assert len(model.effects()) >= 2
