"""What responses of several columns share: their validation, their start, their marginals."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semistruct.exceptions import DataError, SpecificationError
from semistruct.families.separable import SeparableFamily

__all__ = ["MultivariateFamily", "check_columns"]


class MultivariateFamily(SeparableFamily):
    """A family of responses ``(n, D)``; ``D`` is an option of the family.

    ``cdf`` and ``quantile`` are the columns' own: a marginal distribution each, with a last axis of
    length D. ``mean``, ``variance`` and ``sample`` have that axis as well, ``contributions`` is the
    joint log-density of a row.
    """

    @property
    @abstractmethod
    def columns(self) -> int:
        """The number D of columns of the response."""

    def validate(self, y: Any) -> np.ndarray:
        """The response as a float64 array ``(n, D)``.

        Parameters
        ----------
        y : array_like (n, D)
            Two-dimensional array or DataFrame; rows are taken by position.

        Raises
        ------
        DataError
            If it has another number of columns, is not numeric, is missing somewhere or leaves the
            support; the message quotes row and column.
        """
        try:
            values = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the response must be numeric for {self!r} ({self.support}), got values of type "
                f"{np.asarray(y).dtype}: {error}."
            ) from error
        if values.ndim != 2 or values.shape[1] != self.columns:
            raise DataError(
                f"the response of {self!r} has {self.columns} columns, got shape {values.shape}. "
                "The number of columns is an option of the family."
            )
        wrong = np.argwhere(~np.isfinite(values))
        if wrong.size:
            row, column = wrong[0]
            state = "missing" if np.isnan(values[row, column]) else values[row, column]
            raise DataError(
                f"the response is {state} in row {row}, column {column} "
                f"({np.unique(wrong[:, 0]).size} rows in all); drop those rows before fitting."
            )
        return self._inside(values)

    def initial_eta(self, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(y[:, 0]) if sample_weight is None else sample_weight
        return super().initial_eta(y, weight)

    @abstractmethod
    def _inside(self, values: np.ndarray) -> np.ndarray:
        """Finite values ``(n, D)``, refused with a :class:`DataError` outside of the support."""


def check_columns(option: str, columns: Any, example: str) -> None:
    """Refuse a number of columns below two."""
    if isinstance(columns, bool) or not isinstance(columns, int) or columns < 2:
        raise SpecificationError(
            f"{option} must be a whole number of at least 2, got {columns!r}; write for example "
            f"{example}."
        )
