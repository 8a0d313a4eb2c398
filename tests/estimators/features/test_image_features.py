"""Features of pictures: the methods, missing pictures, sizes and channels, scikit-learn's tools."""

from __future__ import annotations

import builtins
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

import semistruct as ss
from semistruct.estimators.features.autoencoder import AutoEncoder
from semistruct.estimators.features.cache import FeatureCache, module_key
from semistruct.estimators.features.image_features import ImageFeatures

EXACT = 1e-10  # the same double precision arithmetic in another order
SINGLE = 1e-5  # networks are float32

DIGITS = load_digits()
PIXELS = (DIGITS.images * 15).astype(np.uint8)


def scans(n=120, name="ct"):
    return pd.Series(ss.ImageArray(PIXELS[:n]), index=[f"p{i}" for i in range(n)], name=name)


class Counting(nn.Module):
    """Two features; counts the pictures it has read."""

    read = 0

    def __init__(self, scale=1.0):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = scale

    def forward(self, x):
        Counting.read += len(x)
        means = x.float().mean((1, 2, 3))
        return self.scale * self.layer(torch.stack([means, means**2], 1) / 100)


def raw(x):
    return x.float()


# ---------------------------------------------------------------------- methods


def test_pca_is_scikit_learns():
    column = scans()
    found = ImageFeatures("pca", n_components=5, random_state=0).fit_transform(column)
    reference = PCA(5).fit_transform(PIXELS[:120].reshape(120, -1).astype(float))
    assert reference.std() > 0
    np.testing.assert_allclose(found, reference, rtol=1e-6, atol=1e-6)
    assert list(found) == [f"ct_{k}" for k in range(5)]
    assert found.index.equals(column.index)


def test_an_autoencoder_learns_and_says_how():
    def fit(epochs, seed):
        features = ImageFeatures(
            "autoencoder", n_components=8, max_epochs=epochs, batch_size=32, random_state=seed
        )
        return features, features.fit_transform(scans(300))

    short, values = fit(12, 0)
    assert list(short.history_) == ["epoch", "train_loss", "held_out_loss"]
    losses = short.history_["held_out_loss"]
    assert losses.min() < 0.8 * losses.iloc[0]
    assert values.shape == (300, 8) and values.to_numpy().std() > 0
    again = fit(12, 0)[1]
    pd.testing.assert_frame_equal(values, again)
    assert not np.allclose(values, fit(12, 1)[1])
    label = LogisticRegression(max_iter=2000).fit(values, DIGITS.target[:300])
    assert label.score(short.transform(scans(400)[300:]), DIGITS.target[300:400]) > 0.5


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 5, 4), (1, 9, 6), (2, 30, 17)])
def test_an_autoencoder_draws_any_shape(shape):
    network = AutoEncoder(shape, 2, random_state=0)
    assert network(torch.zeros(3, *shape)).shape == (3, *shape)


@pytest.mark.parametrize("method", ["pca", "autoencoder"])
def test_tensors_that_are_no_pictures(method, rng):
    column = ss.TensorArray(rng.normal(size=(40, 6)))
    found = ImageFeatures(method, n_components=2, max_epochs=2, random_state=0).fit_transform(
        column
    )
    assert found.shape == (40, 2) and list(found) == ["image_0", "image_1"]


def test_a_module_is_frozen_and_copied():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    features = ImageFeatures(module, n_components=None).fit(scans())
    found = features.transform(scans())
    assert found.shape == (120, 4)
    np.testing.assert_allclose(found, features.transform(scans()), rtol=EXACT)
    assert module.training and all(p.requires_grad for p in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    reduced = ImageFeatures(module, n_components=2).fit_transform(scans())
    np.testing.assert_allclose(reduced, PCA(2).fit_transform(found), rtol=1e-6, atol=1e-9)


def test_preprocess_and_output_change_the_features():
    class Two(nn.Module):
        def forward(self, x):
            return {"a": x.mean((2, 3)), "b": x.amax((2, 3))}

    def fit(**options):
        return ImageFeatures(Two(), n_components=None, **options).fit_transform(scans()).to_numpy()

    plain = fit(preprocess=raw, output="a")
    means = PIXELS[:120].reshape(120, -1).mean(axis=1)
    np.testing.assert_allclose(plain[:, 0], means, rtol=SINGLE)
    assert not np.allclose(plain, fit(output="a"))
    assert not np.allclose(plain, fit(preprocess=raw, output="b"))


def test_pretrained_features():
    pytest.importorskip("efficientnet_lite_pytorch")
    features = ImageFeatures("pretrained", n_components=3, size=32).fit(scans(24))
    found = features.transform(scans(24))
    assert found.shape == (24, 3) and features.pca_.n_features_in_ == 1280
    colour = pd.Series(ss.ImageArray(np.repeat(PIXELS[:24, None], 3, axis=1)), name="ct")
    np.testing.assert_allclose(
        ImageFeatures("pretrained", n_components=3, size=32).fit_transform(colour), found, rtol=1e-3
    )
    scaled = pd.Series(ss.ImageArray(PIXELS[:24] / 240.0), name="ct")
    other = ImageFeatures("pretrained", n_components=3, size=32).fit_transform(scaled)
    assert abs(np.corrcoef(other["ct_0"], found["ct_0"])[0, 1]) > 0.9


def test_pretrained_without_its_packages(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("efficientnet"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ss.SpecificationError, match="pip install efficientnet-lite-pytorch"):
        ImageFeatures("pretrained", size=32).fit(scans(24))


# ---------------------------------------------------------------------- rows


@pytest.mark.parametrize("method", ["pca", "autoencoder", "module"])
def test_a_row_has_the_same_features_alone_and_in_any_batch(method):
    how = Counting() if method == "module" else method
    options = {"n_components": None if method == "module" else 3, "max_epochs": 2}
    features = ImageFeatures(how, random_state=0, **options).fit(scans(100))
    new = scans(150)[100:]
    together = features.transform(new)
    tolerance = EXACT if method == "pca" else SINGLE
    scale = together.abs().to_numpy().max()
    for rows in ([7], [3, 1], range(49, -1, -1)):
        some = new.iloc[list(rows)]
        np.testing.assert_allclose(
            features.transform(some), together.loc[some.index], atol=tolerance * scale
        )


def test_missing_pictures_get_the_mean_and_an_indicator():
    pictures = [None if i % 5 == 0 else image for i, image in enumerate(PIXELS[:50])]
    column = pd.Series(ss.ImageArray(pictures), name="ct")
    module = nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(1))
    features = ImageFeatures(module, n_components=None, preprocess=raw).fit(column)
    found = features.transform(column)
    present = column.notna().to_numpy()
    assert 0 < present.sum() < 50
    np.testing.assert_allclose(found.loc[~present, "ct_0"], found.loc[present, "ct_0"].mean())
    np.testing.assert_array_equal(found["ct_missing"], (~present).astype(float))
    assert list(features.get_feature_names_out()) == ["ct_0", "ct_1", "ct_missing"]
    alone = features.transform(column[:1])
    np.testing.assert_allclose(alone, found[:1])
    assert list(ImageFeatures(n_components=2, add_indicator=False).fit_transform(column)) == [
        "ct_0",
        "ct_1",
    ]


def test_no_indicator_where_nothing_was_missing():
    features = ImageFeatures(n_components=2).fit(scans())
    new = features.transform(pd.Series(ss.ImageArray([None, PIXELS[0]]), name="ct"))
    assert list(new) == ["ct_0", "ct_1"]
    np.testing.assert_allclose(new.iloc[0], features.mean_)


def test_other_sizes_and_channels_are_brought_to_those_of_training():
    features = ImageFeatures(n_components=3).fit(scans())
    known = features.transform(scans(5))
    large = np.stack([np.kron(image, np.ones((4, 4), np.uint8)) for image in PIXELS[:5]])
    colour = np.repeat(large[:, None], 3, axis=1)
    found = features.transform(pd.Series(ss.ImageArray(colour), name="ct"))
    for name in found:
        assert np.corrcoef(found[name], known[name])[0, 1] > 0.95
    small = ImageFeatures(n_components=3, size=4).fit(scans())
    assert small.reader_.shape == (1, 4, 4)


def test_training_pictures_of_several_sizes():
    ragged = ss.TensorArray([np.ones((1 + 2 * (i % 2), 6 + i, 8)) * i for i in range(5)])
    features = ImageFeatures(n_components=1).fit(ragged)
    assert features.reader_.shape == (3, 8, 8)
    assert features.transform(ragged)["image_0"].diff()[1:].abs().min() > 0


def test_paths(tmp_path):
    paths = []
    for i, image in enumerate(PIXELS[:12]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(paths[-1])
    found = ImageFeatures(n_components=2).fit_transform(pd.Series(paths, name="ct"))
    reference = ImageFeatures(n_components=2).fit_transform(scans(12))
    np.testing.assert_allclose(found, reference.to_numpy(), atol=1e-8)


# ---------------------------------------------------------------------- what is kept


def test_a_frozen_network_reads_every_distinct_picture_once():
    twice = pd.Series(ss.ImageArray(np.concatenate([PIXELS[:30], PIXELS[:30]])), name="ct")
    features = ImageFeatures(Counting(), n_components=None, preprocess=raw)
    Counting.read = 0
    features.fit(twice)
    trial = Counting.read - 30
    assert trial <= 2  # rows of the trial that finds the number of features
    Counting.read = 0
    clone(features).fit(twice[:20])
    assert Counting.read == trial
    ImageFeatures(Counting(), n_components=None, preprocess=raw).fit(twice)  # other weights
    assert Counting.read == 30 + 2 * trial


def test_keys_of_modules():
    module = Counting()
    same = pickle.loads(pickle.dumps(module))
    assert module_key(module) == module_key(same)
    same.scale = 2.0
    assert module_key(module) != module_key(same)
    same.lock = threading.Lock()
    assert module_key(same) is None


def test_the_least_recently_used_leaves():
    cache = FeatureCache(max_bytes=24)
    for key in "abc":
        cache.put(key, np.zeros(1))
    cache.get("a")
    cache.put("d", np.ones(1))
    assert cache.get("b") is None and cache.get("a") is not None


# ---------------------------------------------------------------------- scikit-learn


def test_clone_pickle_and_params():
    features = ImageFeatures("autoencoder", n_components=2, max_epochs=1, random_state=0)
    assert clone(features).get_params() == features.get_params()
    features.fit(scans())
    again = pickle.loads(pickle.dumps(features))
    pd.testing.assert_frame_equal(again.transform(scans()), features.transform(scans()))


def test_pipelines_and_column_transformers(rng):
    frame = pd.DataFrame({"age": rng.normal(size=120), "ct": scans().array})
    y = frame["age"] + PCA(1).fit_transform(PIXELS[:120].reshape(120, -1)).ravel() / 100
    columns = ColumnTransformer(
        [("pictures", ImageFeatures(n_components=4), "ct"), ("rest", "passthrough", ["age"])]
    )
    assert make_pipeline(columns, LinearRegression()).fit(frame, y).score(frame, y) > 0.99
    alone = make_pipeline(ImageFeatures(n_components=4), LinearRegression()).fit(frame[["ct"]], y)
    assert alone[:-1].get_feature_names_out().tolist() == ["ct_0", "ct_1", "ct_2", "ct_3"]
    table = ImageFeatures(n_components=4).set_output(transform="pandas").fit_transform(frame["ct"])
    assert list(table) == ["ct_0", "ct_1", "ct_2", "ct_3"]


def test_the_global_generators_stay_where_they_are(global_rng_untouched):
    ImageFeatures("autoencoder", n_components=2, max_epochs=1, random_state=0).fit(scans(30))


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "umap"}, "method must be one of"),
        ({"n_components": 0}, "n_components must be a whole number"),
        ({"n_components": None}, "needs n_components"),
        ({"preprocess": raw}, "networks of your own"),
        ({"n_components": 200}, "at most 64"),
        ({"device": "gpu0"}, "device must be"),
    ],
)
def test_options_that_make_no_sense(options, message):
    features = ImageFeatures(**options)
    with pytest.raises(ss.SpecificationError, match=message):
        features.fit(scans())
    assert not hasattr(features, "mean_")


def test_columns_that_cannot_be_used():
    with pytest.raises(ss.DataError, match="every row of 'ct' is missing"):
        ImageFeatures().fit(pd.Series(ss.ImageArray([None, None]), name="ct"))
    with pytest.raises(ss.DataError, match="one column of pictures, got 2"):
        ImageFeatures().fit(pd.DataFrame({"a": scans().array, "b": scans().array}))
    features = ImageFeatures(n_components=2).fit(scans())
    with pytest.raises(ss.DataError, match="learned from the column 'ct', got 'mri'"):
        features.transform(scans(name="mri"))
    with pytest.raises(ss.DataError, match="same scale"):
        features.transform(pd.Series(ss.ImageArray(PIXELS[:5] / 240.0), name="ct"))
    with pytest.raises(ss.DataError, match="had shape"):
        ImageFeatures(n_components=2).fit(ss.TensorArray(np.eye(5))).transform(
            ss.TensorArray(np.ones((5, 4)))
        )
    with pytest.raises(ss.DataError, match="are no pictures"):
        ImageFeatures().fit(ss.TensorArray([np.ones(3), np.ones(4)]))
    with pytest.raises(ss.SpecificationError, match="resizes pictures"):
        ImageFeatures(size=4).fit(ss.TensorArray(np.eye(5)))
    features.fit(scans())
    with pytest.raises(ss.SpecificationError):
        features.set_params(method="umap").fit(scans())
    assert not hasattr(features, "mean_")
