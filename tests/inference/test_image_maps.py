"""Maps over pictures: what they add up to, that they see what there is, that rows are alone."""

from __future__ import annotations

import sys

import _plot_models as _models
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import semistruct as ss
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.inference.image_maps import PictureEffect, image_maps

SUM = {"rtol": 1e-3, "atol": 1e-4}  # float32 networks, averaged in another order
HALF = {"n_folds": 2, "n_repeats": 1, "gate": False, "progress": False, "random_state": 0}


def half_pictures(n: int = 120) -> pd.DataFrame:
    """Noise on the right, the signal on the left."""
    rng = np.random.default_rng(0)
    light = rng.uniform(size=n)
    pixels = rng.uniform(0, 250, (n, 1, 8, 8))
    pixels[..., :4] = 200 * light[:, None, None, None] + rng.uniform(0, 20, (n, 1, 8, 4))
    table = pd.DataFrame({"age": rng.normal(size=n)})
    table["ct"] = ss.ImageArray(pixels.astype("uint8"))
    return table.assign(y=4 * light + 0.1 * rng.normal(size=n))


@pytest.fixture(scope="module")
def study():
    return half_pictures()


@pytest.fixture(scope="module")
def model(study):
    return ss.SemiStructuredRegressor("y ~ age + cnn(ct)", max_epochs=20, **HALF).fit(study)


def test_the_effect_is_the_score_times_its_slope(model, study):
    frame = study[:5]
    effect = PictureEffect.of(model.fit_, "cnn(ct)", frame)
    pictures, present = effect.pictures()
    assert present.all() and pictures.max() <= 1
    found = [float(effect.of_row(i)(pictures[i : i + 1]).detach()) for i in range(5)]
    expected = model.fit_.scores(frame)[:, 0] * model.fit_.deep.calibration.gamma[0]
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, **SUM)


def test_places_add_up_to_the_effect_of_a_network_that_is_linear_in_them(model, study):
    # Convolution, rectifier, pooling, linear layer, rectifier without a bias that matters much.
    effect = PictureEffect.of(model.fit_, "cnn(ct)", study[:5])
    maps = image_maps(effect)
    assert maps.shape == (5, 8, 8)
    pictures, _ = effect.pictures()
    whole = [float(effect.of_row(i)(pictures[i : i + 1]).detach()) for i in range(5)]
    assert np.corrcoef(maps.sum(axis=(1, 2)), whole)[0, 1] > 0.99


def test_the_signal_is_where_it_is(model, study):
    maps = image_maps(PictureEffect.of(model.fit_, "cnn(ct)", study[:20]))
    left, right = np.abs(maps[..., :4]).sum(), np.abs(maps[..., 4:]).sum()
    assert left > 1.5 * right


def test_a_row_has_its_map_alone_and_among_others(model, study):
    together = image_maps(PictureEffect.of(model.fit_, "cnn(ct)", study[:4]))
    alone = image_maps(PictureEffect.of(model.fit_, "cnn(ct)", study[2:3]))
    np.testing.assert_array_equal(alone[0], together[2])


def test_a_missing_picture_has_no_map(model, study):
    frame = study[:2].copy()
    frame.loc[0, "ct"] = None
    maps = image_maps(PictureEffect.of(model.fit_, "cnn(ct)", frame))
    assert np.isnan(maps[0]).all() and np.isfinite(maps[1]).all()


def test_frozen_networks_and_fusions_have_maps_too(study):
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
    frozen = ss.SemiStructuredRegressor(
        "y ~ age + net(ct, frozen=True)", encoders={"net": conv}, **HALF
    ).fit(study)
    fused = ss.SemiStructuredRegressor("y ~ deep(ct, age)", max_epochs=3, **HALF).fit(study)
    for model, label in ((frozen, "net(ct)"), (fused, "deep(ct, age)")):
        effect = PictureEffect.of(model.fit_, label, study[:3])
        maps = image_maps(effect)
        assert np.isfinite(maps).all() and np.ptp(maps) > 0
        pictures, _ = effect.pictures()
        value = [float(effect.of_row(i)(pictures[i : i + 1]).detach()) for i in range(3)]
        gamma = model.fit_.deep.calibration.gamma[0]
        np.testing.assert_allclose(value, model.fit_.scores(study[:3])[:, 0] * gamma, **SUM)


def test_networks_without_convolutions_have_no_such_map(study):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    model = ss.SemiStructuredRegressor(
        "y ~ net(ct)", encoders={"net": flat}, max_epochs=2, **HALF
    ).fit(study)
    effect = PictureEffect.of(model.fit_, "net(ct)", study[:2])
    with pytest.raises(UnsupportedCombinationError, match="occlusion"):
        image_maps(effect)


def test_what_has_no_map_is_refused(model, study):
    with pytest.raises(SpecificationError, match=r"no deep term 'cnn\(mri\)'; it has cnn\(ct\)"):
        PictureEffect.of(model.fit_, "cnn(mri)", study)
    closed = _models.with_gamma(model.fit_, 0.0)
    with pytest.raises(SpecificationError, match="closed"):
        PictureEffect.of(closed, "cnn(ct)", study)
    effect = PictureEffect.of(model.fit_, "cnn(ct)", study[:1])
    with pytest.raises(SpecificationError, match="method must be"):
        image_maps(effect, "gradcam")


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients"])
def test_without_captum_there_is_a_hint(model, study, monkeypatch, method):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(SpecificationError, match=r"semistruct\[explain\]"):
        image_maps(PictureEffect.of(model.fit_, "cnn(ct)", study[:1]), method)


def test_covering_the_signal_matters_most(model, study):
    pytest.importorskip("captum")
    maps = image_maps(PictureEffect.of(model.fit_, "cnn(ct)", study[:6]), "occlusion")
    assert np.abs(maps[..., :4]).sum() > 1.2 * np.abs(maps[..., 4:]).sum()


def test_integrated_gradients_sum_to_the_difference(model, study):
    pytest.importorskip("captum")
    effect = PictureEffect.of(model.fit_, "cnn(ct)", study[:6])
    maps = image_maps(effect, "integrated_gradients")
    pictures, _ = effect.pictures()
    differences = []
    for row in range(6):
        picture = pictures[row : row + 1]
        mean = picture.mean((2, 3), keepdim=True).expand_as(picture)
        whole, without = (float(effect.of_row(row)(x).detach()) for x in (picture, mean))
        differences.append(whole - without)
    assert np.ptp(differences) > 0.1
    # 32 steps of a piecewise smooth function.
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), differences, rtol=0.1, atol=0.05)
