"""Latent features in a plane: groups stay apart, rows without a picture are left out."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError, SpecificationError
from semistruct.inference.embedding_maps import embedding_plane


@pytest.fixture
def features(rng):
    values = rng.normal(size=(60, 12)) + 8 * (np.arange(60) % 2)[:, None]
    values[:, 3] = 1.0  # a feature that never varies
    table = pd.DataFrame(values, index=np.arange(60) + 100)
    table.iloc[5] = np.nan
    return table


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_groups_stay_apart(features, method, global_rng_untouched):
    plane = embedding_plane(features, method)
    assert list(plane.columns) == ["first", "second"]
    assert list(plane.index) == [i for i in features.index if i != 105]
    odd = plane.index % 2 == 1
    one, other = plane[odd], plane[~odd]
    apart = np.linalg.norm(one.mean() - other.mean())
    assert apart > 2 * max(one.std().mean(), other.std().mean())
    pd.testing.assert_frame_equal(embedding_plane(features, method), plane)


def test_what_cannot_be_shown(features, monkeypatch):
    with pytest.raises(DataError, match="four pictures"):
        embedding_plane(features[:3])
    with pytest.raises(DataError, match="same latent features"):
        embedding_plane(features * 0)
    with pytest.raises(SpecificationError, match="method must be"):
        embedding_plane(features, "mds")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(SpecificationError, match="umap-learn"):
        embedding_plane(features, "umap")


def test_a_single_feature_is_a_line(features):
    plane = embedding_plane(features[[0]], "pca")
    assert (plane["second"] == 0).all() and plane["first"].std() > 0
