"""Columns of segmentation masks as columns of numbers: how much, how many, how large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from semistruct.estimators.features.pictures import tensor_column
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["MaskFeatures", "mask_features"]

_MEASURES = ("share", "count", "mean_area")


def mask_features(
    masks: Any,
    classes: Mapping[str, int] | None = None,
    *,
    threshold: float = 0.5,
    diagonal: bool = False,
    pixel_area: float = 1.0,
) -> pd.DataFrame:
    """What segmentation masks show: the share of the area, the number of objects, their mean area.

    Parameters
    ----------
    masks : Series, DataFrame of one column, ImageArray, TensorArray, or array
        One mask per row, ``(H, W)`` or ``(1, H, W)``; sizes may differ between rows.
    classes : mapping of str to int, optional
        Pixels of a class have this number: ``{"roof": 1, "road": 2}``. By default there is one
        class, the pixels above ``threshold``.
    threshold : float
        Without ``classes``; 0.5 suits probabilities, zeros and ones, and 0 and 255.
    diagonal : bool
        Whether pixels that touch at a corner belong to one object.
    pixel_area : float
        Area of a pixel, the unit of mean areas.

    Returns
    -------
    DataFrame
        ``<name>_share`` (0 to 1), ``<name>_count`` and ``<name>_mean_area`` (zero where there is no
        object), or for every class ``<name>_<class>_share`` and so on, with the index of ``masks``.
        A missing mask has missing values.

    Raises
    ------
    DataError
        If a row is no mask.
    SpecificationError
        If an option makes no sense.

    See Also
    --------
    MaskFeatures : the same as a transformer.

    Notes
    -----
    Objects are connected components. The function learns nothing, so it may be used before data are
    split.

    References
    ----------
    Sirko et al. (2021), Continental-scale building detection from high resolution satellite
    imagery, arXiv:2107.12283.

    Examples
    --------
    >>> from semistruct import TensorArray
    >>> masks = np.zeros((1, 4, 4))
    >>> masks[0, :2, :2] = masks[0, 3, 3] = 1
    >>> mask_features(pd.Series(TensorArray(masks), name="roof"))
       roof_share  roof_count  roof_mean_area
    0      0.3125         2.0             2.5
    """
    if not threshold >= 0:
        raise SpecificationError(f"threshold must be zero or more, got {threshold!r}.")
    if not pixel_area > 0:
        raise SpecificationError(f"pixel_area must be positive, got {pixel_area!r}.")
    labels = _labels(classes)
    column, name, index = tensor_column(masks)
    touching = ndimage.generate_binary_structure(2, 2 if diagonal else 1)
    values = np.full((len(column), len(labels), len(_MEASURES)), np.nan)
    for row in np.flatnonzero(~column.isna()):
        mask = _mask(column[int(row)], int(row), name or "mask")
        for k, label in enumerate(labels.values()):
            inside = mask > threshold if label is None else mask == label
            values[row, k] = _measured(inside, touching, pixel_area)
    names = _names(name or "mask", labels)
    return pd.DataFrame(values.reshape(len(column), -1), index, names)


class MaskFeatures(TransformerMixin, BaseEstimator):
    """The columns of :func:`mask_features` as a transformer, for early fusion and pipelines.

    Parameters
    ----------
    classes, threshold, diagonal, pixel_area
        As in :func:`mask_features`.
    add_indicator : bool
        Whether a column ``<name>_missing`` says which masks are missing. It is made where some were
        missing in training.

    Attributes
    ----------
    mean_ : (d,) array
        Means of the training masks, which missing masks get.
    n_features_in_, feature_names_in_
        As in scikit-learn; the name is there when the column has one.

    Examples
    --------
    >>> from semistruct import TensorArray
    >>> masks = pd.Series(TensorArray(np.eye(4)[None]), name="roof")
    >>> MaskFeatures(diagonal=True).fit_transform(masks)["roof_count"].tolist()
    [1.0]
    """

    def __init__(
        self,
        classes: Mapping[str, int] | None = None,
        *,
        threshold: float = 0.5,
        diagonal: bool = False,
        pixel_area: float = 1.0,
        add_indicator: bool = True,
    ) -> None:
        self.classes = classes
        self.threshold = threshold
        self.diagonal = diagonal
        self.pixel_area = pixel_area
        self.add_indicator = add_indicator

    def fit(self, X: Any, y: Any = None) -> MaskFeatures:
        """Learn what missing masks get; ``y`` is ignored.

        Raises
        ------
        DataError
            If every mask is missing.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **options: Any) -> pd.DataFrame:
        """Learn what missing masks get, and return the features of the training rows."""
        features = self._features(X)
        missing = features.iloc[:, 0].isna()
        if missing.all():
            raise DataError("every mask is missing; there is nothing to learn from.")
        name = tensor_column(X)[1]
        self.name_ = name or "mask"
        self.mean_ = features.mean().to_numpy()
        self.has_indicator_ = bool(self.add_indicator and missing.any())
        self.n_features_in_ = 1
        if name is not None:
            self.feature_names_in_ = np.array([name], dtype=object)
        return self._filled(features)

    def transform(self, X: Any) -> pd.DataFrame:
        """Features of new masks, ``(n, d)``, with the index of ``X``."""
        check_is_fitted(self)
        return self._filled(self._features(X))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of the result."""
        check_is_fitted(self)
        names = _names(self.name_, _labels(self.classes))
        names += [f"{self.name_}_missing"] * self.has_indicator_
        return np.array(names, dtype=object)

    def _features(self, X: Any) -> pd.DataFrame:
        return mask_features(
            X,
            self.classes,
            threshold=self.threshold,
            diagonal=self.diagonal,
            pixel_area=self.pixel_area,
        )

    def _filled(self, features: pd.DataFrame) -> pd.DataFrame:
        values = features.to_numpy()
        missing = np.isnan(values[:, 0])
        values = np.where(missing[:, None], self.mean_, values)
        if self.has_indicator_:
            values = np.column_stack([values, missing.astype(float)])
        return pd.DataFrame(values, features.index, list(self.get_feature_names_out()))


def _labels(classes: Mapping[str, int] | None) -> dict[str | None, int | None]:
    if classes is None:
        return {None: None}
    if not isinstance(classes, Mapping) or not classes:
        raise SpecificationError(
            "classes must map names to the numbers of their pixels, such as {'roof': 1}, got "
            f"{classes!r}."
        )
    return {name: number for name, number in classes.items()}


def _names(name: str, labels: Mapping[str | None, int | None]) -> list[str]:
    stems = [name if label is None else f"{name}_{label}" for label in labels]
    return [f"{stem}_{measure}" for stem in stems for measure in _MEASURES]


def _mask(row: Any, position: int, name: str) -> np.ndarray:
    mask = np.asarray(row)
    if mask.ndim == 3 and len(mask) == 1:
        mask = mask[0]
    if mask.ndim != 2 or not mask.size:
        raise DataError(
            f"row {position} of {name!r} has shape {np.shape(row)}; a mask is (height, width) or "
            "(1, height, width), with the number of a class in every pixel."
        )
    return mask


def _measured(inside: np.ndarray, touching: np.ndarray, pixel_area: float) -> tuple[float, ...]:
    """Share, count and mean area of the True pixels of ``inside (H, W)``."""
    count = int(ndimage.label(inside, touching)[1])
    mean_area = inside.sum() / count * pixel_area if count else 0.0
    return float(inside.mean()), float(count), float(mean_area)
