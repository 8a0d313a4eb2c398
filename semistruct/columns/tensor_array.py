"""A pandas column whose every row is a tensor.

Longer than most files of the package because pandas asks one class for the whole contract.
"""

from __future__ import annotations

import copy as copy_module
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype, take
from pandas.api.indexers import check_array_indexer

from semistruct.columns.sources import BlockSource, ListSource, TensorSource
from semistruct.exceptions import DataError

__all__ = ["PaddedBatch", "TensorArray", "TensorDtype"]

_MISSING = -1


@register_extension_dtype
class TensorDtype(ExtensionDtype):
    """Type of a column of tensors: the shape of one row and the type of its elements.

    Parameters
    ----------
    shape : tuple of (int or None), optional
        Shape of one row. None in place of a length: rows differ along that axis. None in place
        of the tuple: any number of axes.
    element : dtype-like, optional
        Type of the elements; ``default_element`` when a shape is given without one.

    Examples
    --------
    >>> TensorDtype((3, 64, 64), "uint8")
    tensor[3, 64, 64; uint8]
    >>> TensorDtype((None, 5), "float32") == "tensor[?, 5; float32]"
    True
    """

    type = np.ndarray
    kind = "O"
    na_value = pd.NA
    family: ClassVar[str] = "tensor"
    default_element: ClassVar[str] = "float64"
    _metadata = ("shape", "element")

    def __init__(self, shape: Sequence[int | None] | None = None, element: Any = None) -> None:
        self.shape = (
            None
            if shape is None
            else tuple(None if length is None else int(length) for length in shape)
        )
        if element is None and shape is not None:
            element = self.default_element
        self.element = None if element is None else np.dtype(element)

    @property
    def name(self) -> str:
        """Text form, which :meth:`construct_from_string` reads back."""
        if self.shape is None:
            axes = "..."
        else:
            axes = ", ".join("?" if length is None else str(length) for length in self.shape)
        if self.element is None:
            return f"{self.family}[{axes}]"
        return f"{self.family}[{axes}; {self.element.name}]"

    def __repr__(self) -> str:
        return self.name

    @property
    def is_fixed(self) -> bool:
        """True when all rows have one known shape."""
        return self.shape is not None and None not in self.shape

    @classmethod
    def construct_from_string(cls, string: str) -> TensorDtype:
        """Read ``"tensor"`` or ``"tensor[3, ?; float32]"``."""
        if not isinstance(string, str):
            raise TypeError(f"expected a string, got {type(string).__name__}")
        if string == cls.family:
            return cls()
        match = re.fullmatch(rf"{cls.family}\[([^;\]]*)(?:;\s*(\w+))?\]", string)
        if match is None:
            raise TypeError(f"Cannot construct a '{cls.__name__}' from '{string}'")
        axes, element = match.groups()
        try:
            if axes.strip() == "...":
                return cls(None, element)
            lengths = [axis.strip() for axis in axes.split(",") if axis.strip()]
            return cls([None if axis == "?" else int(axis) for axis in lengths], element)
        except (TypeError, ValueError) as error:
            raise TypeError(f"Cannot construct a '{cls.__name__}' from '{string}'") from error

    @classmethod
    def construct_array_type(cls) -> type[TensorArray]:
        """:class:`TensorArray`."""
        return TensorArray

    def accepts(self, other: TensorDtype) -> bool:
        """True when every row shaped like ``other`` is shaped like this type as well."""
        if self.shape is None:
            return True
        if other.shape is None or len(self.shape) != len(other.shape):
            return False
        return all(
            mine is None or mine == theirs
            for mine, theirs in zip(self.shape, other.shape, strict=True)
        )

    def refined(self, found: TensorDtype) -> TensorDtype:
        """This type with what it leaves open taken from ``found``."""
        if self.shape is not None:
            return self
        return type(self)(found.shape, self.element or found.element)

    def _get_common_dtype(self, dtypes: list[Any]) -> TensorDtype | None:
        if not all(isinstance(dtype, TensorDtype) for dtype in dtypes):
            return None
        known = [dtype for dtype in dtypes if dtype.element is not None]
        if not known:
            return TensorDtype()
        element = np.result_type(*(dtype.element for dtype in known))
        return TensorDtype(merged_shape([dtype.shape for dtype in known]), element)


def merged_shape(
    shapes: Sequence[tuple[int | None, ...] | None],
) -> tuple[int | None, ...] | None:
    """The narrowest shape that covers all of ``shapes``."""
    if not shapes or any(shape is None for shape in shapes):
        return None
    if len({len(shape) for shape in shapes if shape is not None}) != 1:
        return None
    axes = zip(*[shape for shape in shapes if shape is not None], strict=True)
    return tuple(lengths[0] if len(set(lengths)) == 1 else None for lengths in axes)


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

    def __init__(
        self, values: Any, dtype: TensorDtype | str | None = None, copy: bool = False
    ) -> None:
        built = type(self)._from_sequence(values, dtype=dtype, copy=copy)
        self._set(built._sources, built._source, built._index, built._dtype)

    # ------------------------------------------------------------------ construction

    def _set(
        self,
        sources: list[TensorSource],
        source: np.ndarray,
        index: np.ndarray,
        dtype: TensorDtype,
    ) -> None:
        self._sources = sources
        self._source = source  # (n,) which store
        self._index = index  # (n,) where in it, -1 when missing
        self._dtype = dtype

    @classmethod
    def _of(
        cls,
        sources: list[TensorSource],
        source: np.ndarray,
        index: np.ndarray,
        dtype: TensorDtype,
    ) -> TensorArray:
        array = cls.__new__(cls)
        array._set(sources, source, index, dtype)
        return array

    @classmethod
    def _of_source(cls, store: TensorSource, index: np.ndarray, dtype: TensorDtype) -> TensorArray:
        return cls._of([store], np.zeros(len(index), dtype=np.int32), index, dtype)

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
        dtype = found if dtype is None else dtype.refined(found)
        _check_accepts(dtype, found)
        block = block.astype(dtype.element, copy=False)
        return cls._of_source(BlockSource(block), np.arange(len(block)), dtype)

    @classmethod
    def _from_list(cls, rows: list[Any], dtype: TensorDtype | None) -> TensorArray:
        present = [k for k, row in enumerate(rows) if not is_missing(row)]
        tensors = [cls._check_row(rows[k], k) for k in present]
        index = np.full(len(rows), _MISSING)
        index[present] = np.arange(len(present))
        if not tensors:
            return cls._of_source(ListSource([]), index, dtype or cls._dtype_class())
        element = np.result_type(*{tensor.dtype for tensor in tensors})
        found = cls._dtype_class(merged_shape([tensor.shape for tensor in tensors]), element)
        cls._check_found(found, tensors, present)
        dtype = found if dtype is None else dtype.refined(found)
        _check_accepts(dtype, found)
        tensors = [tensor.astype(dtype.element, copy=False) for tensor in tensors]
        store = BlockSource(np.stack(tensors)) if found.is_fixed else ListSource(tensors)
        return cls._of_source(store, index, dtype)

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
        if array._dtype.element is None:  # nothing but missing rows
            return cls._of(array._sources, array._source, array._index, dtype)
        element_kept = dtype.element == array._dtype.element
        if element_kept and dtype.accepts(array._dtype) and issubclass(type(array), cls):
            return cls._of(array._sources, array._source, array._index, dtype)
        rows = [row if is_missing(row) else row.astype(dtype.element) for row in array]
        return cls._from_list(rows, dtype)

    @classmethod
    def _from_factorized(cls, values: Any, original: TensorArray) -> TensorArray:
        return cls._from_sequence(values, dtype=original.dtype)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[TensorArray]) -> TensorArray:
        sources: list[TensorSource] = []
        seen: dict[int, int] = {}
        pieces = []
        for array in to_concat:
            for store in array._sources:
                if id(store) not in seen:
                    seen[id(store)] = len(sources)
                    sources.append(store)
            place = np.array([seen[id(store)] for store in array._sources], dtype=np.int32)
            pieces.append(place[array._source] if len(place) else array._source)
        dtypes = [array._dtype for array in to_concat]
        dtype = dtypes[0] if len(set(dtypes)) == 1 else dtypes[0]._get_common_dtype(dtypes)
        index = np.concatenate([array._index for array in to_concat])
        return cls._of(sources, np.concatenate(pieces), index, dtype or cls._dtype_class())

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
    def element_dtype(self) -> np.dtype:
        """Type of the elements."""
        return self._dtype.element

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the rows; caches are not counted."""
        total = self._source.nbytes + self._index.nbytes
        for store, i in self._used():
            total += store.nbytes(np.unique(i))
        return total

    def __len__(self) -> int:
        return len(self._index)

    def isna(self) -> np.ndarray:
        """True where the tensor is missing, ``(n,)``.

        Files read with ``on_error="missing"`` are decoded once to find out.
        """
        missing = self._index == _MISSING
        for s, store in enumerate(self._sources):
            at = np.flatnonzero((self._source == s) & (self._index != _MISSING))
            if at.size:
                missing[at] = store.missing(self._index[at])
        return missing

    def content_keys(self) -> np.ndarray:
        """One text per row, equal exactly for rows of identical content, ``(n,)`` of object.

        For keeping copies of one picture on the same side of a split: pass it as ``groups``.
        Rows in memory are hashed; of files the bytes are hashed, without decoding, so that two
        names of one picture agree. Each missing row gets a key of its own.
        """
        keys = self._digests()
        for row in np.flatnonzero(keys == None):  # noqa: E711  (elementwise)
            keys[row] = f"missing:{row}"
        return keys

    def _digests(self) -> np.ndarray:
        keys = np.full(len(self), None, dtype=object)
        for s, store in enumerate(self._sources):
            at = np.flatnonzero((self._source == s) & (self._index != _MISSING))
            if at.size:
                distinct, inverse = np.unique(self._index[at], return_inverse=True)
                keys[at] = np.array(store.digests(distinct), dtype=object)[inverse]
        keys[self.isna()] = None
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
        rows = self._positions(rows)
        block = np.zeros((len(rows), *self.tensor_shape), dtype=self.element_dtype)
        source, index = self._source[rows], self._index[rows]
        for s in np.unique(source):
            at = np.flatnonzero((source == s) & (index != _MISSING))
            if at.size:
                self._sources[s].fill(block, at, index[at], rows[at])
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
        rows = self._positions(rows)
        shape = self._dtype.shape
        if shape is None or None in shape[1:]:
            self._refuse_ragged()
        tensors = [self._read(row) for row in rows]
        lengths = np.array([0 if tensor is None else len(tensor) for tensor in tensors], dtype=int)
        longest = int(lengths.max(initial=0))
        values = np.zeros((len(rows), longest, *shape[1:]), dtype=self.element_dtype)
        for k, tensor in enumerate(tensors):
            if tensor is not None:
                values[k, : lengths[k]] = tensor
        return PaddedBatch(values=values, mask=np.arange(longest) < lengths[:, None])

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

    def _read(self, row: int) -> np.ndarray | None:
        i = int(self._index[row])
        if i == _MISSING:
            return None
        return self._sources[self._source[row]].read(i, int(row))

    def _positions(self, rows: Any) -> np.ndarray:
        positions = np.arange(len(self))
        if rows is None:
            return positions
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows.astype(np.intp) if rows.size == 0 else rows
        return np.atleast_1d(positions[rows])

    def _used(self) -> Iterator[tuple[TensorSource, np.ndarray]]:
        for s, store in enumerate(self._sources):
            i = self._index[(self._source == s) & (self._index != _MISSING)]
            if i.size:
                yield store, i

    def _refuse_ragged(self) -> NoReturn:
        raise DataError(
            f"the rows of this column are {self._dtype}: they have no common shape. Bring them to "
            "one shape; rows that differ along the first axis only can be read with "
            ".padded_batch(rows)."
        )

    # ------------------------------------------------------------------ pandas: items

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, tuple):
            item = _unpack_tuple(item)
        item = check_array_indexer(self, item)
        if isinstance(item, int | np.integer):
            row = int(item) + (len(self) if item < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {item} is out of bounds for a column of {len(self)} rows")
            tensor = self._read(row)
            return pd.NA if tensor is None else tensor
        sources = self._sources if isinstance(item, slice) else list(self._sources)
        return self._of(sources, self._source[item], self._index[item], self._dtype)

    def __iter__(self) -> Iterator[Any]:
        for row in range(len(self)):
            tensor = self._read(row)
            yield pd.NA if tensor is None else tensor

    def __setitem__(self, key: Any, value: Any) -> None:
        if getattr(self, "_readonly", False):
            raise ValueError("Cannot modify read-only array")
        if isinstance(key, tuple):
            key = _unpack_tuple(key)
        key = check_array_indexer(self, key)
        if is_missing(value):
            self._index[key] = _MISSING
            return
        values = self._as_column(value, scalar_key=isinstance(key, int | np.integer))
        if self._dtype.element is None:  # nothing but missing rows until now
            self._dtype = values._dtype
        if not isinstance(key, int | np.integer):
            count = len(np.arange(len(self))[key])
            if len(values) not in (1, count):
                raise ValueError(
                    f"cannot set {count} rows from {len(values)} tensors; give one tensor for "
                    "all, or one per row."
                )
        offset = len(self._sources)
        self._sources.extend(values._sources)
        self._source[key] = (
            values._source + offset if len(values) != 1 else (values._source[0] + offset)
        )
        self._index[key] = values._index if len(values) != 1 else values._index[0]

    def _as_column(self, value: Any, scalar_key: bool) -> TensorArray:
        if isinstance(value, pd.Series | pd.Index):
            value = value.array
        if isinstance(value, TensorArray):
            return value._converted(type(self), self._dtype, copy=False)
        axes = None if self._dtype.shape is None else len(self._dtype.shape)
        is_tensor = isinstance(value, np.ndarray) and value.dtype != object
        if scalar_key or (is_tensor and value.ndim == axes):
            value = [value]
        return type(self)._from_sequence(value, dtype=self._dtype)

    def take(
        self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None
    ) -> TensorArray:
        """Rows by position; with ``allow_fill``, -1 is a missing row (or ``fill_value``)."""
        positions = np.arange(len(self))
        rows = take(
            positions, np.asarray(indices, dtype=np.intp), allow_fill=allow_fill, fill_value=-1
        )
        absent = rows == -1
        if len(self):
            source, index = self._source[rows], self._index[rows]
        else:
            source, index = np.zeros(len(rows), np.int32), np.full(len(rows), _MISSING)
        index[absent] = _MISSING
        taken = self._of(list(self._sources), source, index, self._dtype)
        if absent.any() and not is_missing(fill_value):
            taken[absent] = fill_value
        return taken

    def copy(self) -> TensorArray:
        """A column that can be changed alone; the tensors themselves are immutable and shared."""
        return self._of(list(self._sources), self._source.copy(), self._index.copy(), self._dtype)

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
        if dtype == object:
            return self.to_numpy(dtype=object)
        if isinstance(dtype, ExtensionDtype):
            texts = [pd.NA if is_missing(row) else self._summary(row) for row in self]
            return dtype.construct_array_type()._from_sequence(texts, dtype=dtype)
        if dtype.kind in "US":
            return np.array([str(self._summary(row)) for row in self], dtype=dtype)
        raise TypeError(
            f"cannot convert a column of {self._dtype} to {dtype}; .batch() gives the numbers."
        )

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = pd.NA) -> np.ndarray:
        """Object array ``(n,)`` with one tensor per row, reading all of them."""
        if dtype is not None and np.dtype(dtype) != object:
            raise TypeError(f"to_numpy gives objects; .batch() gives the numbers, not {dtype}.")
        rows = np.empty(len(self), dtype=object)
        for k, row in enumerate(self):
            rows[k] = na_value if is_missing(row) else row
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # pandas prints a column through np.asarray(column, dtype=object). Printing must neither
        # decode files nor fail on a damaged one, so exactly this request gets summaries of rows
        # that are not in memory; astype(object), to_numpy() and iteration give tensors.
        if dtype is None or np.dtype(dtype) != object:
            return self.to_numpy(dtype)
        rows = np.empty(len(self), dtype=object)
        for k in range(len(self)):
            i = self._index[k]
            store = self._sources[self._source[k]] if i != _MISSING else None
            text = store.describe(i) if store is not None else None
            if text is None:
                tensor = self._read(k)
                rows[k] = pd.NA if tensor is None else tensor
            else:
                rows[k] = LazyRow(self, k, text)
        return rows

    def _formatter(self, boxed: bool = False) -> Any:
        return self._summary

    @staticmethod
    def _summary(row: Any) -> str:
        if is_missing(row):
            return str(pd.NA)
        if isinstance(row, LazyRow):
            return row.text
        return f"{row.dtype}({', '.join(map(str, row.shape))})"

    def __repr__(self) -> str:
        held = [f"{len(i)} rows in {type(store).__name__}" for store, i in self._used()]
        missing = int((self._index == _MISSING).sum())
        parts = [*held, *([f"{missing} rows missing"] if missing else [])]
        return (
            f"<{type(self).__name__}>\n[{'; '.join(parts)}]\n"
            f"Length: {len(self)}, dtype: {self._dtype}"
        )

    # ------------------------------------------------------------------ pandas: comparison

    def __eq__(self, other: Any) -> Any:  # type: ignore[override]
        if isinstance(other, pd.Series | pd.DataFrame | pd.Index):
            return NotImplemented
        return self._equal(other)

    def __ne__(self, other: Any) -> Any:  # type: ignore[override]
        if isinstance(other, pd.Series | pd.DataFrame | pd.Index):
            return NotImplemented
        return ~self._equal(other)

    def _equal(self, other: Any) -> np.ndarray:
        """Row by row; a missing row equals nothing."""
        if isinstance(other, TensorArray | list | tuple) or (
            isinstance(other, np.ndarray) and other.dtype == object
        ):
            if len(other) != len(self):
                raise ValueError(f"Lengths must match to compare: {len(self)} and {len(other)}")
            others: Any = other
        else:
            others = [other] * len(self)
        equal = np.zeros(len(self), dtype=bool)
        for k in range(len(self)):
            if isinstance(other, TensorArray) and self._same_place(k, other):
                equal[k] = self._read(k) is not None
                continue
            mine, theirs = self._read(k), others[k]
            if mine is not None and not is_missing(theirs):
                equal[k] = isinstance(theirs, np.ndarray) and np.array_equal(mine, theirs)
        return equal

    def _same_place(self, k: int, other: TensorArray) -> bool:
        i = self._index[k]
        return bool(
            i != _MISSING
            and i == other._index[k]
            and self._sources[self._source[k]] is other._sources[other._source[k]]
            and self._dtype.element.kind != "f"  # NaN differs from itself
        )

    def factorize(self, use_na_sentinel: bool = True) -> tuple[np.ndarray, TensorArray]:
        """Codes ``(n,)`` of distinct contents and the distinct rows, in order of appearance."""
        keys = self._digests()
        if not use_na_sentinel:
            keys = np.array(["missing" if key is None else key for key in keys], dtype=object)
        codes, distinct = pd.factorize(keys)
        first = np.zeros(len(distinct), dtype=np.intp)
        present = np.flatnonzero(codes >= 0)[::-1]
        first[codes[present]] = present
        return codes, self.take(first)

    def unique(self) -> TensorArray:
        """Distinct rows in order of appearance; missing counts as one of them."""
        return self.factorize(use_na_sentinel=False)[1]

    def duplicated(self, keep: Any = "first") -> np.ndarray:
        """True where the same content occurs in another row, except in the one kept."""
        return np.asarray(pd.Series(self._digests()).duplicated(keep=keep))

    def value_counts(self, dropna: bool = True) -> pd.Series:
        """How often each distinct row occurs."""
        codes, distinct = self.factorize(use_na_sentinel=dropna)
        counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
        return pd.Series(counts, index=pd.Index(distinct), name="count").sort_values(
            ascending=False, kind="stable"
        )

    def _hash_pandas_object(self, *, encoding: str, hash_key: str, categorize: bool) -> np.ndarray:
        keys = np.array([key or "" for key in self._digests()], dtype=object)
        return pd.util.hash_array(keys, encoding, hash_key, categorize)

    def _values_for_argsort(self) -> NoReturn:
        raise TypeError("tensors have no order, so this column cannot be sorted")

    def argsort(self, **kwargs: Any) -> NoReturn:  # type: ignore[override]
        """Tensors have no order."""
        self._values_for_argsort()

    # ------------------------------------------------------------------ copies and pickles

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorArray:
        return self.copy()

    def __copy__(self) -> TensorArray:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        sources: list[TensorSource] = []
        source = np.zeros_like(self._source)
        index = np.full_like(self._index, _MISSING)
        for s, store in enumerate(self._sources):
            at = np.flatnonzero((self._source == s) & (self._index != _MISSING))
            if at.size:
                distinct, inverse = np.unique(self._index[at], return_inverse=True)
                source[at], index[at] = len(sources), inverse
                sources.append(store.subset(distinct))
        return {
            "sources": sources or [ListSource([])],
            "source": source,
            "index": index,
            "dtype": self._dtype,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(
            state["sources"], state["source"], state["index"], copy_module.copy(state["dtype"])
        )


class LazyRow:
    """A row that is not in memory, as a printed table sees it; ``np.asarray(row)`` reads it."""

    def __init__(self, column: TensorArray, row: int, text: str) -> None:
        self._column = column
        self._row = row
        self.text = text

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._column[self._row], dtype=dtype)

    def __repr__(self) -> str:
        return self.text


def is_missing(row: Any) -> bool:
    """True for None, NaN, NA and NaT."""
    return (
        row is None
        or row is pd.NA
        or row is pd.NaT
        or (isinstance(row, float | np.floating) and bool(np.isnan(row)))
    )


def _unpack_tuple(item: tuple[Any, ...]) -> Any:
    rest = [part for part in item if part is not Ellipsis]
    if len(rest) > 1:
        raise IndexError("a column of tensors has one axis; read a row first, then index into it")
    return rest[0] if rest else slice(None)


def _check_accepts(wanted: TensorDtype, found: TensorDtype) -> None:
    if not wanted.accepts(found):
        raise DataError(f"rows of {found} do not fit into a column of {wanted}.")
    if not np.can_cast(found.element, wanted.element, "same_kind"):
        raise DataError(
            f"elements of {found.element} cannot become {wanted.element} without loss; convert "
            "them yourself first."
        )
