"""Latent features of pictures as points in a plane."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from semistruct.exceptions import DataError, SpecificationError

__all__ = ["PlaneMethod", "embedding_plane"]

PlaneMethod = Literal["tsne", "umap", "pca"]

_COMPONENTS = 50  # before t-SNE, as its authors advise


def embedding_plane(
    embeddings: pd.DataFrame, method: PlaneMethod = "tsne", random_state: int = 0
) -> pd.DataFrame:
    """Two coordinates for every row that has a picture.

    Parameters
    ----------
    embeddings : DataFrame of n rows
        Features in columns; rows with missing features are left out.
    method : {"tsne", "umap", "pca"}
        "umap" needs umap-learn to be installed.
    random_state : int

    Returns
    -------
    DataFrame
        Columns ``first`` and ``second``, rows as in ``embeddings``.

    Raises
    ------
    DataError
        If fewer than four rows have features.
    SpecificationError
        If the method is unknown or not installed.

    Notes
    -----
    Features are standardised, and where there are many the first 50 principal components are used.
    Distances between far points of t-SNE and UMAP mean nothing, nor do the axes.

    References
    ----------
    van der Maaten and Hinton (2008), Visualizing data using t-SNE, JMLR 9. McInnes, Healy and
    Melville (2018), UMAP, arXiv:1802.03426.
    """
    if method not in get_args(PlaneMethod):
        raise SpecificationError(
            f"method must be one of {', '.join(map(repr, get_args(PlaneMethod)))}, got {method!r}."
        )
    known = embeddings.dropna()
    if len(known) < 4:
        raise DataError(f"a map needs four pictures or more, and {len(known)} rows have one.")
    values = known.to_numpy(float)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    if not values.shape[1]:
        raise DataError("all pictures have the same latent features.")
    components = min(_COMPONENTS if method != "pca" else 2, *values.shape)
    values = PCA(components, svd_solver="full").fit_transform(values)
    if method == "tsne":
        perplexity = min(30.0, (len(values) - 1) / 3)
        values = TSNE(perplexity=perplexity, random_state=random_state).fit_transform(values)
    elif method == "umap":
        values = _umap(values, random_state)
    elif values.shape[1] < 2:
        values = np.column_stack([values, np.zeros(len(values))])
    return pd.DataFrame(values, known.index, ["first", "second"], dtype=float)


def _umap(values: np.ndarray, random_state: int) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise SpecificationError(
            "method='umap' needs umap-learn, which is not installed; pip install umap-learn, or "
            "use 'tsne'."
        ) from error
    neighbours = min(15, len(values) - 1)
    return UMAP(n_neighbors=neighbours, random_state=random_state).fit_transform(values)
