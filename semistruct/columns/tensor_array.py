# Longer than 400 lines because pandas asks one class for the whole contract of a column.
"""A pandas column whose every row is a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take
from pandas.api.indexers import check_array_indexer

from semistruct.columns.rows import MISSING, Rows, is_missing
from semistruct.columns.sources import BlockSource, ListSource
from semistruct.columns.tensor_dtype import TensorDtype, merged_shape
from semistruct.exceptions import DataError

__all__ = ["PaddedBatch", "TensorArray"]


@dataclass(frozen=True)
class PaddedBatch:
    """Rows of different lengths in one array.

    Attributes
    ----------
    values : (b, L, *rest) array
        Zero beyond the length of each row.
    mask : (b, L) bool array
        True where an element exists; all False for a missing row.
    """

    values: np.ndarray
    mask: np.ndarray


class TensorArray(ExtensionArray):
    """One tensor per row of a table, of one shape or ragged.

    Parameters
    ----------
    values : (n, ...) array, or sequence of n arrays and missing values
        An array is kept as it is (not copied) and handed out read-only; do not change it
        afterwards. None, NaN and NA in a sequence are missing rows.
    dtype : TensorDtype or str, optional
        Inferred when not given.
    copy : bool, default False
        Copy an array first.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"id": [1, 2, 3], "scan": TensorArray(np.zeros((3, 2, 4)))})
    >>> frame["scan"].dtype
    tensor[2, 4; float64]
    >>> frame.iloc[[2, 0]]["scan"].array.batch().shape
    (2, 2, 4)
    >>> TensorArray([np.ones((5, 2)), None, np.ones((3, 2))]).padded_batch().mask.sum(axis=1)
    array([5, 0, 3])

    Notes
    -----
    A column is an index into shared stores, so slices, copies and concatenations never copy
    tensors. A slice keeps its whole store alive; pickling keeps only the rows it needs.
    """

    __array_priority__ = 1000
    _dtype_class: ClassVar[type[TensorDtype]] = TensorDtype

    _rows: Rows
    _dtype: TensorDtype

    def __init__(
        self, values: Any, dtype: TensorDtype | str | None = None, copy: bool = False
    ) -> None:
        built = type(self)._from_sequence(values, dtype=dtype, copy=copy)
        self._rows, self._dtype = built._rows, built._dtype

    # ------------------------------------------------------------------ construction

    @classmethod
    def _of(cls, rows: Rows, dtype: TensorDtype) -> TensorArray:
        array = cls.__new__(cls)
        array._rows, array._dtype = rows, dtype
        return array

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> TensorArray:
        if isinstance(dtype, str):
            dtype = cls._dtype_class.construct_from_string(dtype)
        if isinstance(scalars, pd.Series | pd.Index):
            scalars = scalars.array
        if isinstance(scalars, TensorArray):
            return scalars._converted(cls, dtype, copy)
        if isinstance(scalars, np.ndarray) and scalars.dtype != object and scalars.ndim != 1:
            return cls._from_block(scalars, dtype, copy)
        return cls._from_list(list(scalars), dtype)

    @classmethod
    def _from_block(cls, block: np.ndarray, dtype: TensorDtype | None, copy: bool) -> TensorArray:
        block = cls._check_block(np.array(block) if copy else np.asarray(block))
        found = cls._dtype_class(block.shape[1:], block.dtype)
        dtype = _checked_dtype(dtype, found)
        block = block.astype(dtype.element, copy=False)
        return cls._of(Rows.of(BlockSource(block), np.arange(len(block))), dtype)

    @classmethod
    def _from_list(cls, rows: list[Any], dtype: TensorDtype | None) -> TensorArray:
        present = [k for k, row in enumerate(rows) if not is_missing(row)]
        tensors = [cls._check_row(rows[k], k) for k in present]
        index = np.full(len(rows), MISSING)
        index[present] = np.arange(len(present))
        if not tensors:
            return cls._of(Rows.of(ListSource([]), index), dtype or cls._dtype_class())
        element = np.result_type(*{tensor.dtype for tensor in tensors})
        found = cls._dtype_class(merged_shape([tensor.shape for tensor in tensors]), element)
        cls._check_found(found, tensors, present)
        dtype = _checked_dtype(dtype, found)
        tensors = [tensor.astype(dtype.element, copy=False) for tensor in tensors]
        store = BlockSource(np.stack(tensors)) if found.is_fixed else ListSource(tensors)
        return cls._of(Rows.of(store, index), dtype)

    @classmethod
    def _check_block(cls, block: np.ndarray) -> np.ndarray:
        if block.ndim < 2 or block.dtype.kind not in "biuf":
            raise DataError(
                f"a {cls.__name__} needs a numeric array (n, ...) with one tensor per row, got "
                f"shape {block.shape} of {block.dtype}; one number per row is an ordinary column."
            )
        return block

    @classmethod
    def _check_row(cls, row: Any, k: int) -> np.ndarray:
        tensor = np.asarray(row)
        if tensor.ndim < 1 or tensor.dtype.kind not in "biuf":
            raise DataError(
                f"row {k} of a {cls.__name__} must be a numeric array or missing, got "
                f"{type(row).__name__} {row!r:.60}."
            )
        return tensor

    @classmethod
    def _check_found(cls, found: TensorDtype, tensors: list[np.ndarray], rows: list[int]) -> None:
        """Refuse inferred types the class cannot hold; a general tensor column holds all."""

    def _converted(self, cls: type[TensorArray], dtype: Any, copy: bool) -> TensorArray:
        """The same rows as a ``cls`` of type ``dtype``, reading them only when it must."""
        array = self.copy() if copy else self
        dtype = (dtype or cls._dtype_class()).refined(array._dtype)
        if type(array) is cls and dtype == array._dtype:
            return array
        only_missing = array._dtype.element is None
        kept = dtype.element == array._dtype.element and dtype.accepts(array._dtype)
        if only_missing or (kept and isinstance(array, cls)):
            return cls._of(array._rows, dtype)
        return cls._from_list(
            [row if is_missing(row) else row.astype(dtype.element) for row in array], dtype
        )

    @classmethod
    def _from_factorized(cls, values: Any, original: TensorArray) -> TensorArray:
        return cls._from_sequence(values, dtype=original.dtype)

    @classmethod
    def _concat_same_type(cls, to_concat: Any) -> TensorArray:
        dtypes = [array._dtype for array in to_concat]
        dtype = dtypes[0] if len(set(dtypes)) == 1 else dtypes[0]._get_common_dtype(dtypes)
        return cls._of(Rows.concatenated([array._rows for array in to_concat]), dtype)

    # ------------------------------------------------------------------ facts

    @property
    def dtype(self) -> TensorDtype:
        """Shape of a row and type of its elements."""
        return self._dtype

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of every row.

        Raises
        ------
        DataError
            When rows differ in shape.
        """
        if not self._dtype.is_fixed:
            self._refuse_ragged()
        return self._dtype.shape  # type: ignore[return-value]

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Shape of one element of a row that may have any number of them: all but the first axis.

        Raises
        ------
        DataError
            When rows differ in more than the first axis.
        """
        shape = self._dtype.shape
        if shape is None or None in shape[1:]:
            self._refuse_ragged()
        return shape[1:]  # type: ignore[return-value]

    @property
    def element_dtype(self) -> np.dtype:
        """Type of the elements."""
        return np.dtype(self._dtype.element or self._dtype.default_element)

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the rows; caches are not counted."""
        return self._rows.nbytes

    def __len__(self) -> int:
        return len(self._rows)

    def isna(self) -> np.ndarray:
        """True where the tensor is missing, ``(n,)``.

        Files read with ``on_error="missing"`` are decoded once to find out.
        """
        return self._rows.missing()

    def content_keys(self) -> np.ndarray:
        """One text per row, equal exactly for rows of identical content, ``(n,)`` of object.

        For keeping copies of one picture on the same side of a split: pass it as ``groups``.
        Rows in memory are hashed; of files the bytes are hashed, without decoding, so that two
        names of one picture agree. Each missing row gets a key of its own.
        """
        keys = self._rows.digests()
        for row in np.flatnonzero(self._rows.missing()):
            keys[row] = f"missing:{row}"
        return keys

    # ------------------------------------------------------------------ reading

    def batch(self, rows: Any = None) -> np.ndarray:
        """The tensors of some rows in one new array ``(b, *tensor_shape)``.

        Parameters
        ----------
        rows : (b,) int array, bool mask or slice, optional
            Positions; all rows when not given.

        Returns
        -------
        (b, *tensor_shape) array of ``element_dtype``
            Missing rows are zeros; :meth:`isna` tells them apart.

        Raises
        ------
        DataError
            When rows differ in shape (see :meth:`padded_batch`), or a file cannot be decoded.
        """
        positions = self._positions(rows)
        block = np.zeros((len(positions), *self.tensor_shape), dtype=self.element_dtype)
        self._rows.fill(block, positions)
        return block

    def padded_batch(self, rows: Any = None) -> PaddedBatch:
        """Rows that differ along their first axis, padded with zeros, with a mask.

        Parameters
        ----------
        rows : (b,) int array, bool mask or slice, optional
            Positions; all rows when not given.

        Raises
        ------
        DataError
            When rows differ in more than the first axis.
        """
        rest = self.element_shape
        positions = self._positions(rows)
        if self._dtype.is_fixed:  # one look-up for all rows
            values = self.batch(positions)
            here = ~self._rows.select(positions).missing()
            return PaddedBatch(values, np.repeat(here[:, None], values.shape[1], axis=1))
        tensors = [self._rows.read(row) for row in positions]
        lengths = np.array([0 if tensor is None else len(tensor) for tensor in tensors], dtype=int)
        longest = int(lengths.max(initial=0))
        values = np.zeros((len(tensors), longest, *rest), dtype=self.element_dtype)
        for k, tensor in enumerate(tensors):
            if tensor is not None:
                values[k, : lengths[k]] = tensor
        return PaddedBatch(values=values, mask=np.arange(longest) < lengths[:, None])

    def lengths(self) -> np.ndarray:
        """Length of every row along its first axis, ``(n,)``; 0 where it is missing.

        Raises
        ------
        DataError
            When rows differ in more than the first axis.

        Examples
        --------
        >>> TensorArray([np.ones((5, 2)), None, np.ones((3, 2))]).lengths()
        array([5, 0, 3])
        """
        self.element_shape  # noqa: B018  # refuses other rows
        if self._dtype.is_fixed:
            return np.where(self.isna(), 0, self.tensor_shape[0])
        tensors = [self._rows.read(row) for row in range(len(self))]
        return np.array([0 if tensor is None else len(tensor) for tensor in tensors], dtype=int)

    def to_numpy_block(self, max_bytes: int = 2 * 2**30) -> np.ndarray:
        """All rows in one new array ``(n, *tensor_shape)``, missing rows zero.

        Raises
        ------
        DataError
            When it would take more than ``max_bytes``, or rows differ in shape.
        """
        needed = len(self) * int(np.prod(self.tensor_shape)) * self.element_dtype.itemsize
        if needed > max_bytes:
            raise DataError(
                f"all {len(self)} rows of {self._dtype} take {needed / 2**20:,.0f} MiB, more than "
                f"max_bytes={max_bytes}; read batches with .batch(rows), or raise max_bytes."
            )
        return self.batch()

    def _positions(self, rows: Any) -> np.ndarray:
        if rows is not None and not isinstance(rows, slice):
            rows = np.atleast_1d(np.asarray(rows))
            rows = rows if rows.size else rows.astype(np.intp)
        positions: np.ndarray = np.arange(len(self))[slice(None) if rows is None else rows]
        return positions

    def _refuse_ragged(self) -> NoReturn:
        if self._dtype.element is None:
            raise DataError(
                f"this {type(self).__name__} has only missing rows, so their shape is unknown; "
                "give a dtype with a shape when building it."
            )
        raise DataError(
            f"the rows of this column are {self._dtype}: they have no common shape. Bring them to "
            "one shape; rows that differ along the first axis only can be read with "
            ".padded_batch(rows)."
        )

    # ------------------------------------------------------------------ pandas: items

    def __getitem__(self, item: Any) -> Any:
        item = check_array_indexer(self, _unpacked(item))
        if isinstance(item, int | np.integer):
            row = int(item) + (len(self) if item < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"index {item} is out of bounds for axis 0 with size {len(self)}")
            return _scalar(self._rows.read(row))
        return self._of(self._rows.select(item), self._dtype)

    def __iter__(self) -> Iterator[Any]:
        for row in range(len(self)):
            yield _scalar(self._rows.read(row))

    def __setitem__(self, key: Any, value: Any) -> None:
        if getattr(self, "_readonly", False):
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, _unpacked(key))
        if is_missing(value):
            self._rows.index[key] = MISSING
            return
        one_place = isinstance(key, int | np.integer)
        values = self._as_column(value, one_place)
        count = 1 if one_place else len(self._rows.index[key])
        if len(values) not in (1, count):
            raise ValueError(
                f"cannot set {count} rows from {len(values)} tensors; give one tensor for all, "
                "or one per row."
            )
        if self._dtype.element is None:  # nothing but missing rows until now
            self._dtype = values._dtype
        self._rows.assign(key, values._rows)

    def _as_column(self, value: Any, one_place: bool) -> TensorArray:
        if isinstance(value, pd.Series | pd.Index):
            value = value.array
        if isinstance(value, TensorArray):
            return value._converted(type(self), self._dtype, copy=False)
        axes = None if self._dtype.shape is None else len(self._dtype.shape)
        is_block = isinstance(value, np.ndarray) and value.dtype != object
        if one_place or (is_block and value.ndim == axes):
            value = [value]
        return type(self)._from_sequence(value, dtype=self._dtype)

    def take(
        self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None
    ) -> TensorArray:
        """Rows by position; with ``allow_fill``, -1 is a missing row (or ``fill_value``)."""
        indices = np.asarray(indices, dtype=np.intp)
        positions = take(np.arange(len(self)), indices, allow_fill=allow_fill, fill_value=MISSING)
        taken = self._of(self._rows.taken(positions), self._dtype)
        absent = positions == MISSING
        if absent.any() and not is_missing(fill_value):
            taken[absent] = fill_value
        return taken

    def copy(self) -> TensorArray:
        """A column that can be changed alone; the tensors themselves are immutable and shared."""
        return self._of(self._rows.copy(), self._dtype)

    def __copy__(self) -> TensorArray:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorArray:
        return self.copy()

    def view(self, dtype: Any = None) -> TensorArray:
        """A column over the same rows: setting a row of one sets it in the other."""
        if dtype is not None and dtype != self._dtype:
            raise NotImplementedError(f"cannot view {self._dtype} as {dtype}; use astype")
        return self[:]

    # ------------------------------------------------------------------ pandas: conversion

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Convert to another tensor type, to objects, or to text."""
        dtype = pd.api.types.pandas_dtype(dtype)
        if isinstance(dtype, TensorDtype):
            return self._converted(dtype.construct_array_type(), dtype, copy)
        if isinstance(dtype, ExtensionDtype):
            texts = [pd.NA if is_missing(row) else _summary(row) for row in self]
            return dtype.construct_array_type()._from_sequence(texts, dtype=dtype)
        if dtype.kind == "O":
            return self.to_numpy()
        if dtype.kind in "US":
            return np.array([_summary(row) for row in self], dtype=dtype)
        raise TypeError(
            f"cannot convert a column of {self._dtype} to {dtype}; .batch() gives the numbers."
        )

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = pd.NA) -> np.ndarray:
        """Object array ``(n,)`` with one tensor per row, reading all of them."""
        if dtype is not None and np.dtype(dtype).kind != "O":
            raise TypeError(f"to_numpy gives objects, not {dtype}; .batch() gives the numbers.")
        rows = np.empty(len(self), dtype=object)
        for k, row in enumerate(self):
            rows[k] = na_value if is_missing(row) else row
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # pandas prints a column through np.asarray(column, dtype=object). Printing must neither
        # decode files nor fail on a damaged one, so exactly this request gets summaries of rows
        # that are not in memory; astype(object), to_numpy() and iteration give tensors.
        if dtype is None or np.dtype(dtype).kind != "O":
            return self.to_numpy(dtype)
        rows = np.empty(len(self), dtype=object)
        for k in range(len(self)):
            text = self._rows.describe(k)
            rows[k] = _scalar(self._rows.read(k)) if text is None else LazyRow(self, k, text)
        return rows

    def _formatter(self, boxed: bool = False) -> Any:
        return _summary

    def __repr__(self) -> str:
        held = [f"{at.size} rows in {source!r}" for source, at, _ in self._rows.parts()]
        absent = int((self._rows.index == MISSING).sum())
        held += [f"{absent} rows missing"] if absent else []
        return (
            f"<{type(self).__name__}>\n[{'; '.join(held)}]\n"
            f"Length: {len(self)}, dtype: {self._dtype}"
        )

    # ------------------------------------------------------------------ pandas: comparison

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.DataFrame | pd.Index):
            return NotImplemented
        return self._equal(other)

    def __ne__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.DataFrame | pd.Index):
            return NotImplemented
        return ~self._equal(other)

    def _equal(self, other: Any) -> np.ndarray:
        """Row by row; a missing row equals nothing."""
        per_row = isinstance(other, TensorArray | list | tuple) or (
            isinstance(other, np.ndarray) and other.dtype == object
        )
        if per_row and len(other) != len(self):
            raise ValueError(f"Lengths must match to compare: {len(self)} and {len(other)}")
        equal = np.zeros(len(self), dtype=bool)
        nan_possible = self.element_dtype.kind == "f"
        for k in range(len(self)):
            mine = self._rows.read(k)
            if mine is None:
                continue
            if isinstance(other, TensorArray) and not nan_possible:
                equal[k] = self._rows.is_same(k, other._rows)
            if not equal[k]:
                theirs = other[k] if per_row else other
                equal[k] = isinstance(theirs, np.ndarray) and np.array_equal(mine, theirs)
        return equal

    def factorize(self, use_na_sentinel: bool = True) -> tuple[np.ndarray, TensorArray]:
        """Codes ``(n,)`` of distinct contents and the distinct rows, in order of appearance."""
        keys = self._rows.digests()
        if not use_na_sentinel:
            keys = np.array(["missing" if key is None else key for key in keys], dtype=object)
        codes, distinct = pd.factorize(keys)
        first = np.zeros(len(distinct), dtype=np.intp)
        present = np.flatnonzero(codes >= 0)[::-1]
        first[codes[present]] = present
        return codes, self.take(first)

    def _values_for_factorize(self) -> tuple[np.ndarray, None]:
        return self._rows.digests(), None  # joins on tensors compare contents

    def value_counts(self, dropna: bool = True) -> pd.Series:
        """How often each distinct row occurs, most frequent first."""
        codes, distinct = self.factorize(use_na_sentinel=dropna)
        counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
        counted = pd.Series(counts, index=pd.Index(distinct), name="count")
        return counted.sort_values(ascending=False, kind="stable")

    def unique(self) -> TensorArray:
        """Distinct rows in order of appearance; missing counts as one of them."""
        return self.factorize(use_na_sentinel=False)[1]

    def duplicated(self, keep: Any = "first") -> np.ndarray:
        """True where the same content occurs in another row, except in the one kept."""
        return np.asarray(pd.Series(self._rows.digests(), dtype=object).duplicated(keep=keep))

    def _hash_pandas_object(self, *, encoding: str, hash_key: str, categorize: bool) -> np.ndarray:
        keys = np.array([key or "" for key in self._rows.digests()], dtype=object)
        hashed: np.ndarray = pd.util.hash_array(keys, encoding, hash_key, categorize)
        return hashed

    def argsort(self, **kwargs: Any) -> NoReturn:
        """Tensors have no order."""
        raise TypeError("tensors have no order, so this column cannot be sorted")


TensorDtype.array_type = TensorArray


class LazyRow:
    """A row that is not in memory, as a printed table sees it; ``np.asarray(row)`` reads it."""

    def __init__(self, column: TensorArray, row: int, text: str) -> None:
        self._column = column
        self._row = row
        self.text = text

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._column[self._row], dtype=dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyRow | np.ndarray) and np.array_equal(
            np.asarray(self), np.asarray(other)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self.text


def _summary(row: Any) -> str:
    """Short text of a row for a printed table."""
    if is_missing(row):
        return str(pd.NA)
    if isinstance(row, LazyRow):
        return row.text
    return f"{row.dtype}({', '.join(map(str, row.shape))})"


def _scalar(tensor: np.ndarray | None) -> Any:
    return pd.NA if tensor is None else tensor


def _unpacked(item: Any) -> Any:
    if not isinstance(item, tuple):
        return item
    rest = [part for part in item if part is not Ellipsis]
    if len(rest) > 1:
        raise IndexError("a column of tensors has one axis; read a row first, then index into it")
    return rest[0] if rest else slice(None)


def _checked_dtype(wanted: TensorDtype | None, found: TensorDtype) -> TensorDtype:
    """``wanted`` with what it leaves open; an error when rows of ``found`` do not fit."""
    dtype = found if wanted is None else wanted.refined(found)
    if not dtype.accepts(found):
        raise DataError(f"rows of {found} do not fit into a column of {dtype}.")
    if not np.can_cast(np.dtype(found.element), np.dtype(dtype.element), "same_kind"):
        raise DataError(
            f"elements of {found.element} cannot become {dtype.element} without loss; convert "
            "them yourself first."
        )
    return dtype
