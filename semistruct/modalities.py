"""Columns of a table as the tensors that encoders read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from semistruct.columns import ImageArray, TensorArray, as_image_array
from semistruct.columns.rows import is_missing
from semistruct.encoders import ModuleEncoder
from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import Basis, Parametric
from semistruct.terms._tokens import quote_name

__all__ = [
    "FeatureReader",
    "Modality",
    "Reader",
    "TableReader",
    "TensorReader",
    "column_reader",
    "table_reader",
]

_FEATURE_CHUNK = 64
# Decoded pictures up to this size are kept as one array, so that an epoch decodes nothing.
_BLOCK_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Modality:
    """The rows of one input of a network.

    Attributes
    ----------
    name : str
        Key of the input in a network's batch.
    values : TensorArray or (n, *in_shape) array
        Where the rows are read from; files are decoded when a batch asks for them.
    present : (n,) bool array
        Which rows have the modality.
    in_shape : tuple of int
        Shape of one row.
    mirrored : bool
        Whether every row is given with its last axis reversed.
    lengths : (n,) int array, optional
        For rows that differ along their first axis: how many elements each has. A batch is padded
        to its longest row, and ``in_shape`` holds a typical length.
    """

    name: str
    values: TensorArray | np.ndarray
    present: np.ndarray
    in_shape: tuple[int, ...]
    mirrored: bool = False
    lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.present)

    def batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
        """Rows ``(b, *in_shape)``, in the order asked for; absent rows are zeros.

        Rows that differ in length are followed by zeros; :meth:`mask` tells where.
        """
        if self.lengths is not None:
            return torch.from_numpy(self._padded(rows)).to(device)
        in_memory = isinstance(self.values, np.ndarray)
        values = self.values[rows] if in_memory else self.values.batch(rows)  # type: ignore[union-attr]
        batch = torch.from_numpy(values).to(device)
        return batch.flip(-1) if self.mirrored else batch

    def mask(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor | None:
        """Which elements of :meth:`batch` exist, ``(b, length)``; None where all rows are alike."""
        if self.lengths is None:
            return None
        lengths = self.lengths[rows]
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        return torch.from_numpy(mask).to(device)

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        if isinstance(self.values, np.ndarray):
            return self.values[rows]
        padded = self.values.padded_batch(rows).values
        longest = max(1, padded.shape[1])
        shape = (len(rows), longest, *self.in_shape[1:])
        return padded.reshape(shape) if padded.size else np.zeros(shape, padded.dtype)

    def in_memory(self) -> Modality:
        """The same rows decoded once, where they fit into memory."""
        if isinstance(self.values, np.ndarray) or self.lengths is not None:
            return self
        size = len(self) * int(np.prod(self.in_shape)) * self.values.element_dtype.itemsize
        if size > _BLOCK_BYTES:
            return self
        return replace(self, values=self.values.batch())


class Reader(ABC):
    """Learned reading of one input: frozen, and the same for training and new rows."""

    name: str
    in_shape: tuple[int, ...]

    @property
    def column(self) -> str | None:
        """The column of pictures or tensors, which rows may lack; None for tabular columns."""
        return None

    @abstractmethod
    def read(self, frame: pd.DataFrame) -> Modality:
        """The input of every row of ``frame``."""

    @abstractmethod
    def keys(self, frame: pd.DataFrame) -> np.ndarray | None:
        """Keys ``(n,)`` that are equal for identical pictures; None for tabular columns."""


@dataclass(frozen=True)
class TensorReader(Reader):
    """A column of pictures or other tensors.

    Attributes
    ----------
    name : str
    in_shape : tuple of int
        Of a row; a typical length comes first where rows differ in length.
    image : bool
        Whether the column holds pictures, in whatever form.
    ragged : bool
        Whether rows may differ in length: they are padded, and masks tell what exists. A row
        without any element is absent.
    """

    name: str
    in_shape: tuple[int, ...]
    image: bool
    ragged: bool = False

    @property
    def column(self) -> str:
        return self.name

    def read(self, frame: pd.DataFrame) -> Modality:
        if self.name in frame.columns and frame[self.name].isna().all():
            return self._nothing(len(frame))  # of any type: nothing is known of it
        column = _tensor_column(frame, self.name, self.image, self.in_shape)
        _check_finite(column, self.name)
        if self.ragged:
            return self._read_ragged(column)
        if tuple(column.tensor_shape) != self.in_shape:
            raise DataError(
                f"column {self.name!r} has rows of shape {tuple(column.tensor_shape)}, but the "
                f"model was fitted on {self.in_shape}; resize them, for example with "
                "ImageArray.from_files(..., size=...)."
            )
        return Modality(self.name, column, ~column.isna(), self.in_shape)

    def _nothing(self, n: int) -> Modality:
        """A column of absent rows."""
        absent = np.zeros(n, dtype=bool)
        if not self.ragged:
            values = np.zeros((n, *self.in_shape), np.float32)
            return Modality(self.name, values, absent, self.in_shape)
        values = np.zeros((n, 1, *self.in_shape[1:]), np.float32)
        lengths = np.zeros(n, dtype=int)
        return Modality(self.name, values, absent, self.in_shape, lengths=lengths)

    def _read_ragged(self, column: TensorArray) -> Modality:
        rest = self.in_shape[1:]
        found = _elements(column, self.name)
        if found != rest:
            raise DataError(
                f"column {self.name!r} has rows of elements of shape {found}, but the model was "
                f"fitted on {rest}; only the number of elements may differ."
            )
        lengths = column.lengths()
        return Modality(self.name, column, lengths > 0, self.in_shape, lengths=lengths)

    def keys(self, frame: pd.DataFrame) -> np.ndarray | None:
        column = _tensor_column(frame, self.name, self.image)
        keys = column.content_keys().astype(object)
        keys[column.isna()] = None
        return keys


@dataclass(frozen=True)
class TableReader(Reader):
    """Tabular columns as one row of numbers: factors as indicators, no missing values."""

    name: str
    in_shape: tuple[int, ...]
    basis: Basis

    def read(self, frame: pd.DataFrame) -> Modality:
        values = self.basis.design(frame).dense().astype(np.float32)
        return Modality(self.name, values, np.ones(len(frame), bool), self.in_shape)

    def keys(self, frame: pd.DataFrame) -> np.ndarray | None:
        return None


@dataclass(frozen=True)
class FeatureReader(Reader):
    """Features of a frozen encoder, computed once per row and then kept.

    The features are computed in chunks of one size, so that a row's features do not depend on the
    rows around it.
    """

    name: str
    reader: Reader
    encoder: ModuleEncoder

    @property
    def in_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """``(n_features,)``."""
        return (self.encoder.n_features,)

    @property
    def column(self) -> str | None:
        return self.reader.column

    def read(self, frame: pd.DataFrame) -> Modality:
        inputs = self.reader.read(frame)
        features = np.zeros((len(inputs), *self.in_shape), np.float32)
        rows = np.flatnonzero(inputs.present)
        reference = next(self.encoder.parameters(), torch.zeros(0))
        self.encoder.eval()
        with torch.no_grad():
            for start in range(0, len(rows), _FEATURE_CHUNK):
                chunk = rows[start : start + _FEATURE_CHUNK]
                batch = inputs.batch(chunk, reference.device)
                features[chunk] = self.encoder.features(batch).float().cpu().numpy()
        return Modality(self.name, features, inputs.present, self.in_shape)

    def keys(self, frame: pd.DataFrame) -> np.ndarray | None:
        return self.reader.keys(frame)


def column_reader(
    frame: pd.DataFrame, column: str, *, image: bool, ragged: bool = False
) -> TensorReader:
    """Learn the shape of a tensor column from the training rows.

    Parameters
    ----------
    frame : DataFrame
    column : str
    image : bool
        Whether it holds pictures, in whatever form.
    ragged : bool
        Whether rows may differ in length later, even where those of ``frame`` do not. Series of
        single numbers then get an axis of one channel.

    Raises
    ------
    DataError
        If the column does not exist, holds no tensors, or has no row that is not missing.
    """
    values = _tensor_column(frame, column, image)
    if values.isna().all():
        raise DataError(
            f"every row of column {column!r} is missing in the training data; a deep term needs "
            "rows to learn from."
        )
    if not ragged and (image or values.dtype.is_fixed):
        return TensorReader(column, tuple(values.tensor_shape), image)
    elements = _elements(values, column)
    lengths = values.lengths()
    if not lengths.any():
        raise DataError(
            f"no row of column {column!r} has an element in the training data; a deep term needs "
            "rows to learn from."
        )
    typical = int(np.median(lengths[lengths > 0]))
    return TensorReader(column, (typical, *elements), image, ragged=True)


def table_reader(frame: pd.DataFrame, columns: tuple[str, ...], name: str) -> TableReader:
    """Learn the levels of factors among tabular columns that an encoder reads."""
    # One formula at once: terms that are added one by one are parsed anew each time.
    basis = Parametric(" + ".join(map(quote_name, columns))).build(frame)
    return TableReader(name, (len(basis.names),), basis)


def _check_finite(column: TensorArray, name: str) -> None:
    """Refuse numbers that are not finite, naming the row; pictures are checked where they come in.

    One such number would make every prediction of its row, and in training all of them, NaN.
    """
    if isinstance(column, ImageArray) or column.element_dtype.kind != "f":
        return
    for start in range(0, len(column), _FEATURE_CHUNK):
        some = column[start : start + _FEATURE_CHUNK]
        if some.dtype.is_fixed:
            finite = np.isfinite(some.batch()).reshape(len(some), -1).all(axis=1)
        else:
            finite = np.array([is_missing(row) or bool(np.isfinite(row).all()) for row in some])
        if not finite.all():
            raise DataError(
                f"column {name!r} has missing or infinite numbers in row "
                f"{start + int(np.argmin(finite))}; replace them, or make the whole row missing "
                "(None)."
            )


def _elements(column: TensorArray, name: str) -> tuple[int, ...]:
    """Shape of one element of the rows; a single number counts as one channel."""
    try:
        return column.element_shape or (1,)
    except DataError as error:
        raise DataError(f"column {name!r}: {error}") from error


def _tensor_column(
    frame: pd.DataFrame, column: str, image: bool, shape: tuple[int, ...] | None = None
) -> TensorArray:
    """The tensors of a column; paths and the like become pictures, of ``shape`` where it is known.

    Files differ in size, so that what is learned from the training rows decides, never the first
    file of the rows at hand.
    """
    if column not in frame.columns:
        raise DataError(
            f"the table has no column {column!r}; it has {', '.join(map(repr, frame.columns))}."
        )
    series = frame[column]
    if isinstance(series.array, TensorArray) and not (
        image and not isinstance(series.array, ImageArray)
    ):
        return series.array
    if image:
        if shape is None or len(shape) != 3:
            return as_image_array(series)
        return as_image_array(series, shape=(shape[0], shape[1], shape[2]))
    raise SpecificationError(
        f"column {column!r} of type {series.dtype} holds no tensors; make it a "
        "semistruct.TensorArray."
    )
