"""The projection of latent features as a torch layer, for networks of one's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from semistruct._validation import check_sample_weight
from semistruct.exceptions import DataError, SpecificationError
from semistruct.orthogonalization._least_squares import check_finite, project

__all__ = ["OrthogonalizationCell"]


class OrthogonalizationCell(nn.Module):
    """``U - X G - center`` as a layer, with ``G`` learned from all training rows at once.

    For people who write their own networks. The map is the same in training and evaluation, and
    never computed from the batch at hand: a projection within batches of ``b`` rows would take an
    extra share ``p / b`` of the features and make a row's prediction depend on its companions.

    Parameters
    ----------
    p : int
        Number of structured columns.
    d : int
        Number of latent features.

    Attributes
    ----------
    G : (p, d) tensor
        Buffer; see :class:`Projection`.
    center : (d,) tensor
        Buffer; zero when the columns contain a constant.

    Notes
    -----
    The features move in training, so refresh the cell once per epoch and after the last one::

        cell = OrthogonalizationCell(p, d)
        for epoch in range(n_epochs):
            with torch.no_grad():
                cell.refresh(X, encoder(images))             # all training rows
            for rows in batches:
                eta = linear(X[rows]) + last(cell(X[rows], encoder(images[rows])))
                loss(eta, y[rows]).backward(); optimizer.step(); optimizer.zero_grad()

    Gradients flow through ``U``; ``G`` is a constant between refreshes.

    Examples
    --------
    >>> X, U = torch.randn(100, 2), torch.randn(100, 3)
    >>> cell = OrthogonalizationCell(2, 3)
    >>> cell.refresh(X, U)
    >>> bool((X.T @ cell(X, U)).abs().max() < 1e-4)
    True
    """

    G: Tensor
    center: Tensor
    n_refreshes: Tensor

    def __init__(self, p: int, d: int) -> None:
        super().__init__()
        if p < 0 or d < 0:
            raise SpecificationError(f"p and d must not be negative, got p={p}, d={d}.")
        self.register_buffer("G", torch.zeros(p, d))
        self.register_buffer("center", torch.zeros(d))
        self.register_buffer("n_refreshes", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def refresh(
        self,
        X: Tensor,
        U: Tensor,
        sample_weight: Tensor | None = None,
        penalty: Tensor | None = None,
    ) -> None:
        """Learn ``G`` from all training rows, in float64.

        Parameters
        ----------
        X : (n, p) tensor
            Structured design.
        U : (n, d) tensor
            Latent features; the buffers take its dtype and device.
        sample_weight : (n,) tensor, optional
            Case weights.
        penalty : (p, p) tensor, optional
            As in :meth:`Orthogonalizer.fit`; columns whose row of it is zero are projected out
            exactly, the others through the penalised smoother.
        """
        p, d = self.G.shape
        if X.ndim != 2 or U.ndim != 2 or X.shape[1] != p or U.shape[1] != d or len(X) != len(U):
            raise DataError(
                f"the cell was made for X (n, {p}) and U (n, {d}); got {tuple(X.shape)} and "
                f"{tuple(U.shape)}."
            )
        values, features = _to_numpy(X), _to_numpy(U)
        n = len(features)
        weights = check_sample_weight(
            None if sample_weight is None else _to_numpy(sample_weight), n
        )
        rows = np.flatnonzero(weights)
        check_finite(features, rows)
        S = np.zeros((p, p)) if penalty is None else _to_numpy(penalty)
        free = ~S.any(1)
        columns = np.concatenate([np.flatnonzero(free), np.flatnonzero(~free)])
        smooth = columns[int(free.sum()) :]
        found = project(
            lambda chunk: values[np.ix_(chunk, columns)],
            features,
            weights,
            rows,
            int(free.sum()),
            S[np.ix_(smooth, smooth)],
        )
        G = np.zeros((p, d))
        G[columns] = found.G
        self.G = torch.as_tensor(G).to(U)
        self.center = torch.as_tensor(found.center).to(U)
        self.n_refreshes += 1

    def forward(self, X: Tensor, U: Tensor) -> Tensor:
        """``U - X G - center`` of any rows, ``(..., d)`` for ``X (..., p)`` and ``U (..., d)``."""
        if not self.n_refreshes:
            raise SpecificationError(
                "the orthogonalization cell has not learned its projection; call refresh(X, U) "
                "with all training rows before its first use."
            )
        return U - X.to(U) @ self.G.to(U) - self.center.to(U)


def _to_numpy(x: Tensor) -> np.ndarray:
    return x.detach().to("cpu", torch.float64).numpy()
