"""Models saved and loaded: the same predictions bit for bit, the same summary, refused files."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import semistruct as ss
from semistruct.estimators.persistence.files import load
from semistruct.exceptions import DataError, SpecificationError

N = 160
FEW = {"n_folds": 2, "n_repeats": 1, "max_epochs": 2, "progress": False, "random_state": 0}
OPEN = FEW | {"gate": False}


def study() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    light = rng.uniform(size=N)
    pixels = rng.uniform(0, 80, (N, 1, 8, 8)) + 150 * light[:, None, None, None]
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 80, N),
            "bmi": rng.normal(25, 3, N),
            "sex": rng.choice(["f", "m"], N),
            "center": rng.choice(list("abcdef"), N),
            "ct": ss.ImageArray(list(pixels.astype("uint8"))),
        },
        index=rng.permutation(N),
    )
    frame["y"] = 0.02 * frame["age"] + np.sin(frame["bmi"]) + 3 * light + rng.normal(size=N)
    frame["time"] = rng.exponential(np.exp(-light))
    frame["event"] = frame["time"] < 1.2
    frame.loc[~frame["event"], "time"] = 1.2
    frame["cause"] = np.where(frame["event"], rng.integers(1, 3, N), 0)
    return frame


STUDY = study()
Y = ss.Surv(STUDY["time"], STUDY["event"])


class Bright(nn.Module):
    """A user's network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x):
        return self.layer(x.flatten(1))


def own() -> Bright:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Bright()


MODELS = {
    "picture": lambda: ss.SemiStructuredRegressor(
        "y ~ poly(age, 2) * sex + s(bmi) + re(center) + cnn(ct)", **OPEN
    ).fit(STUDY),
    "closed gate": lambda: ss.SemiStructuredRegressor("y ~ age + cnn(ct)", **FEW).fit(STUDY),
    "two predictors": lambda: ss.SemiStructuredRegressor(
        {"loc": "te(age, bmi, k=4) + s(age, by=sex)", "scale": "s(age, k=5) + mlp(bmi, sex)"},
        **OPEN,
    ).fit(STUDY, STUDY["y"]),
    "fusion, shared": lambda: ss.SemiStructuredRegressor(
        {"loc": "age + deep(ct, bmi, fusion='gated')", "scale": "deep(ct, bmi, fusion='gated')"},
        share_encoders=True,
        **OPEN,
    ).fit(STUDY, STUDY["y"]),
    "effect that varies": lambda: ss.SemiStructuredRegressor(
        "y ~ sex + cnn(ct, by=sex)", **OPEN
    ).fit(STUDY),
    "terms as objects": lambda: ss.SemiStructuredRegressor(
        ss.linear("sex") + ss.s("age", bs="tp", k=6) + ss.offset("bmi"),
        ss.families.Gamma(),
        random_state=np.random.RandomState(3),
    ).fit(STUDY, np.exp(STUDY["y"] / 4)),
    "two classes": lambda: ss.SemiStructuredClassifier("sex ~ age + cnn(ct)", **OPEN).fit(STUDY),
    "ordered classes": lambda: ss.SemiStructuredClassifier("age + s(bmi, k=5)", "ordinal").fit(
        STUDY, np.digitize(STUDY["y"], [1.5, 3.0])
    ),
    "censored": lambda: ss.SemiStructuredRegressor("s(age, k=5)", "weibull").fit(STUDY, Y),
    "cox": lambda: ss.CoxPH(
        "Surv(time, event) ~ age + s(bmi, k=5) + strata(sex) + cluster(center) + cnn(ct)", **OPEN
    ).fit(STUDY),
    "pamm": lambda: ss.PAMM("s(tend, k=5) + age + cnn(ct, by=sex)", cuts=8, **OPEN).fit(STUDY, Y),
    "causes": lambda: ss.PAMM("s(tend, k=5) + age", cuts=8).fit(
        STUDY, ss.Surv(STUDY["time"], STUDY["cause"], n_causes=2)
    ),
    "discrete": lambda: ss.DiscreteHazard("s(tend, k=5) + age + re(center)", cuts=8).fit(STUDY, Y),
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    model = MODELS[request.param]()
    path = tmp_path_factory.mktemp("models") / "study.semistruct"
    text = str(model.summary())  # before, so that saving can be seen to change nothing
    model.save(path)
    assert str(model.summary()) == text
    return model, ss.load(path), path


def rows(model):
    return STUDY.iloc[::3]


def test_predictions_are_the_same_bit_for_bit(pair):
    model, again, _ = pair
    frame = rows(model)
    assert np.ptp(model.term_contributions(frame).to_numpy()) > 0
    np.testing.assert_array_equal(
        again.term_contributions(frame).to_numpy(), model.term_contributions(frame).to_numpy()
    )
    if isinstance(model, ss.SemiStructuredRegressor):
        np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
        pd.testing.assert_frame_equal(again.predict_interval(frame), model.predict_interval(frame))
    elif isinstance(model, ss.SemiStructuredClassifier):
        np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
        np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
        np.testing.assert_array_equal(again.classes_, model.classes_)
    else:
        times = [0.3, 0.8]
        options = {} if model.fit_.problem.designs[1:] else {"level": 0.9}
        pd.testing.assert_frame_equal(
            again.predict_survival_function(frame, times, **options),
            model.predict_survival_function(frame, times, **options),
            check_exact=True,
        )


def test_the_report_is_the_same(pair):
    model, again, _ = pair
    assert type(again) is type(model)
    assert str(again.summary()) == str(model.summary())
    pd.testing.assert_frame_equal(again.cov_params(), model.cov_params(), check_exact=True)
    pd.testing.assert_series_equal(again.smoothing_, model.smoothing_, check_exact=True)
    pd.testing.assert_frame_equal(again.history_, model.history_, check_exact=True)
    assert again.get_params().keys() == model.get_params().keys()


def test_a_loaded_model_is_saved_as_the_same_file(pair, tmp_path):
    _, again, path = pair
    again.save(tmp_path / "copy")

    def tree(file):
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read("manifest.json"))["sha256"]["tree.json"]

    assert tree(tmp_path / "copy") == tree(path)


def test_pictures_are_not_stored(pair):
    _, again, path = pair
    assert again.fit_.frame is None or "ct" not in again.fit_.frame
    assert again.fit_.inputs is None or "ct" not in again.fit_.inputs
    networks = 0 if again.fit_.deep is None else len(again.fit_.deep.crossfit.members)
    assert path.stat().st_size < 400_000 + 400_000 * networks


def test_a_loaded_model_can_be_drawn_and_fitted_again():
    model = MODELS["picture"]()
    again = roundtrip(model)
    assert len(again.plot().axes) == len(model.plot().axes) - 1  # all but the strip of pictures
    np.testing.assert_array_equal(again.fit(STUDY).predict(STUDY), model.predict(STUDY))


def roundtrip(model, **options):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m")
        return load(f"{folder}/m", **options)


def test_networks_in_double_precision():
    torch.set_default_dtype(torch.float64)
    try:
        model = ss.SemiStructuredRegressor("y ~ age + cnn(ct)", **OPEN).fit(STUDY)
    finally:
        torch.set_default_dtype(torch.float32)
    again = roundtrip(model)
    assert next(again.fit_.deep.crossfit.members[0].net.parameters()).dtype == torch.float64
    np.testing.assert_array_equal(again.predict(STUDY), model.predict(STUDY))


@pytest.mark.parametrize("options", ["", ", frozen=True", ", frozen=True, latent_dim=4"])
def test_networks_of_the_users(options):
    formula = f"y ~ age + bright(ct{options})"
    model = ss.SemiStructuredRegressor(formula, encoders={"bright": own()}, **OPEN).fit(STUDY)
    with pytest.raises(SpecificationError, match=r"encoders=\{'bright': module\}"):
        roundtrip(model)
    # Weights come from the file, whatever the module that is handed in has.
    again = roundtrip(model, encoders={"bright": Bright()})
    np.testing.assert_array_equal(again.predict(STUDY), model.predict(STUDY))
    with pytest.raises(DataError, match="another one"):
        roundtrip(model, encoders={"bright": nn.Sequential(nn.Flatten(), nn.Linear(64, 5))})


def test_a_network_may_be_made_by_a_function():
    def make(shape):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3))

    model = ss.SemiStructuredRegressor("y ~ age + f(ct)", encoders={"f": make}, **OPEN).fit(STUDY)
    again = roundtrip(model, encoders={"f": make})
    np.testing.assert_array_equal(again.predict(STUDY), model.predict(STUDY))


def test_families_of_the_users_are_refused(tmp_path):
    class Own(ss.families.Normal):
        pass

    model = ss.SemiStructuredRegressor("y ~ age", Own()).fit(STUDY)
    with pytest.raises(SpecificationError, match=r"family: .*Own cannot be saved"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_fitted_is_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        ss.CoxPH("age").save(tmp_path / "m")


# ------------------------------------------------------------------ files that are not in order


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m.semistruct"
    ss.SemiStructuredRegressor("y ~ age + s(bmi)").fit(STUDY).save(path)
    return path


def changed(path, target, **change):
    """A copy of the archive in which functions of bytes have changed some members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, function in change.items():
        key = next(k for k in members if k.startswith(name))
        members[key] = function(members[key])
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def resealed(path, target, function):
    """A changed tree with the right checksum, as somebody with bad intentions would write it."""
    import hashlib

    with zipfile.ZipFile(path) as archive:
        tree = function(archive.read("tree.json"))
    digest = hashlib.sha256(tree).hexdigest()

    def sign(data):
        manifest = json.loads(data)
        manifest["sha256"]["tree.json"] = digest
        return json.dumps(manifest).encode()

    return changed(path, target, manifest=sign, tree=lambda _: tree)


def test_there_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no file"):
        load(tmp_path / "nowhere")


def test_another_kind_of_file(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match="not a saved model"):
        load(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        load(tmp_path / "zip")
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr("manifest.json", "[]")
    with pytest.raises(DataError, match="not a saved model"):
        load(tmp_path / "other")


def test_a_file_that_was_cut_off(saved, tmp_path):
    data = saved.read_bytes()
    for part in (0.1, 0.5, 0.99):
        (tmp_path / "m").write_bytes(data[: int(part * len(data))])
        with pytest.raises(DataError, match="cut off"):
            load(tmp_path / "m")


def test_a_damaged_file(saved, tmp_path):
    def flip(data):
        return data[:-1] + bytes([data[-1] ^ 1])

    with pytest.raises(DataError, match="damaged"):
        load(changed(saved, tmp_path / "m", tensors=flip))


def test_a_later_format(saved, tmp_path):
    def later(data):
        return json.dumps(json.loads(data) | {"format": 99, "semistruct": "9.0"}).encode()

    with pytest.raises(DataError, match=r"saved by semistruct 9\.0 in format 99.*Update"):
        load(changed(saved, tmp_path / "m", manifest=later))


def test_another_class_is_refused(saved, tmp_path):
    wanted = b'"estimators.regressor.SemiStructuredRegressor"'

    def evil(data):
        assert wanted in data
        return data.replace(wanted, b'"subprocess.Popen"')

    with pytest.raises(DataError, match=r"'subprocess\.Popen'"):
        load(resealed(saved, tmp_path / "m", evil))


def test_a_file_that_holds_something_else(saved, tmp_path):
    with pytest.raises(DataError, match="not a fitted model"):
        load(resealed(saved, tmp_path / "m", lambda _: b'{"root": 3, "nodes": []}'))
    with pytest.raises(DataError, match="not laid out"):
        load(resealed(saved, tmp_path / "m", lambda _: b'{"nodes": []}'))
    with pytest.raises(DataError):
        load(resealed(saved, tmp_path / "m", lambda _: b"[" * 100_000))
