"""Masks as columns: the numbers are scipy's."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import semistruct as ss


@pytest.fixture
def masks(rng) -> np.ndarray:
    found = (rng.random((12, 9, 7)) < 0.35).astype(np.uint8)
    assert len({mask.sum() for mask in found}) > 3
    return found


def column(masks: np.ndarray, name: str = "roof") -> pd.Series:
    return pd.Series(ss.ImageArray(masks[:, None]), name=name, index=np.arange(len(masks)) + 5)


def test_columns_are_scipys_counts(masks):
    found = ss.mask_features(column(masks))
    counts = np.array([ndimage.label(mask)[1] for mask in masks])
    sizes = [np.bincount(ndimage.label(mask)[0].ravel())[1:].mean() for mask in masks]
    assert list(found) == ["roof_share", "roof_count", "roof_mean_area"]
    assert list(found.index) == list(range(5, 17))
    np.testing.assert_array_equal(found["roof_count"], counts)
    np.testing.assert_allclose(found["roof_share"], masks.mean(axis=(1, 2)))
    np.testing.assert_allclose(found["roof_mean_area"], sizes)


def test_corners_join_objects(masks):
    plain = ss.mask_features(column(masks))
    diagonal = ss.mask_features(column(masks), diagonal=True)
    expected = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks]
    np.testing.assert_array_equal(diagonal["roof_count"], expected)
    assert (diagonal["roof_count"] < plain["roof_count"]).any()
    np.testing.assert_array_equal(diagonal["roof_share"], plain["roof_share"])


def test_classes_are_counted_apart(rng):
    labels = rng.integers(0, 3, (6, 8, 8)).astype(np.uint8)
    found = ss.mask_features(column(labels, "land"), {"roof": 1, "road": 2})
    for name, number in {"roof": 1, "road": 2}.items():
        alone = ss.mask_features(column((labels == number).astype(np.uint8), "land"))
        np.testing.assert_array_equal(found.filter(like=f"land_{name}_"), alone)


def test_threshold_and_pixel_area():
    soft = np.array([[[0.9, 0.4], [0.0, 0.9]]])
    array = pd.Series(ss.TensorArray(soft), name="m")
    assert ss.mask_features(array)["m_count"].item() == 2
    assert ss.mask_features(array, threshold=0.3)["m_count"].item() == 1
    assert ss.mask_features(array, threshold=0.95)["m_mean_area"].item() == 0
    assert ss.mask_features(array, threshold=0.3, pixel_area=4.0)["m_mean_area"].item() == 12


def test_sizes_may_differ(masks):
    ragged = ss.TensorArray([masks[0], masks[1][:5, :4]])
    found = ss.mask_features(ragged)
    assert list(found) == ["mask_share", "mask_count", "mask_mean_area"]
    assert found["mask_share"][1] == masks[1][:5, :4].mean()


def test_missing_masks(masks):
    some = column(masks)
    some.iloc[[2, 3]] = None
    found = ss.mask_features(some)
    assert found.isna().all(axis=1).tolist() == [k in (2, 3) for k in range(12)]
    part = ss.MaskFeatures().fit(some)
    filled = part.transform(some)
    np.testing.assert_allclose(filled.iloc[2, :3], found.mean())
    assert filled["roof_missing"].sum() == 2
    assert "roof_missing" not in ss.MaskFeatures(add_indicator=False).fit_transform(some)
    assert list(part.get_feature_names_out()) == list(filled)


def test_scikit_learns_tools(masks, rng):
    frame = pd.DataFrame({"roof": ss.ImageArray(masks[:, None]), "x": rng.normal(size=12)})
    part = clone(ss.MaskFeatures(diagonal=True))
    columns = ColumnTransformer([("roof", part, ["roof"])], remainder="passthrough")
    model = make_pipeline(columns, LinearRegression()).fit(frame, frame["x"])
    assert model.predict(frame).shape == (12,)
    function = FunctionTransformer(ss.mask_features, kw_args={"diagonal": True})
    np.testing.assert_array_equal(
        function.fit_transform(frame[["roof"]]), part.fit_transform(frame[["roof"]])
    )
    again = pickle.loads(pickle.dumps(part.fit(frame["roof"])))
    pd.testing.assert_frame_equal(again.transform(frame["roof"]), part.transform(frame["roof"]))


def test_a_mask_alone_has_the_same_numbers(masks):
    part = ss.MaskFeatures().fit(column(masks))
    together = part.transform(column(masks))
    pd.testing.assert_frame_equal(part.transform(column(masks)[4:5]), together[4:5])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": -1}, ss.SpecificationError, "threshold"),
        ({"pixel_area": 0}, ss.SpecificationError, "pixel_area"),
        ({"classes": {}}, ss.SpecificationError, "classes"),
        ({"classes": ["roof"]}, ss.SpecificationError, "classes"),
    ],
)
def test_options_that_make_no_sense(masks, options, error, message):
    with pytest.raises(error, match=message):
        ss.mask_features(column(masks), **options)


def test_what_is_no_mask(rng):
    with pytest.raises(ss.DataError, match=r"row 0 of 'photo'.*\(3, 4, 4\)"):
        ss.mask_features(pd.Series(ss.ImageArray(np.zeros((2, 3, 4, 4), np.uint8)), name="photo"))
    nothing = pd.Series(ss.ImageArray([None, None], dtype="image[1, 4, 4; uint8]"))
    with pytest.raises(ss.DataError, match="every mask is missing"):
        ss.MaskFeatures().fit(nothing)
