"""Values of numpy, scipy, pandas and torch as plainer values, and back."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from semistruct.columns import ImageArray, TensorArray
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["CODECS", "Codec", "codec_of"]


@dataclass(frozen=True)
class Codec:
    """How values of a type are taken apart into plainer ones and put together again.

    Attributes
    ----------
    types : tuple of type
        Exactly these, no subclasses.
    parts : callable
        From a value to a mapping of its parts.
    whole : callable
        From the parts, by name, to the value.
    """

    types: tuple[type, ...]
    parts: Callable[[Any], dict[str, Any]]
    whole: Callable[..., Any]


def codec_of(value: Any) -> tuple[str, Codec]:
    """Name and codec of a value that is neither plain nor an object of the package.

    Raises
    ------
    SpecificationError
        If there is none.
    """
    for name, codec in CODECS.items():
        if type(value) in codec.types:
            return name, codec
    raise SpecificationError(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot be saved: a "
        "file holds tensors, tables, plain values and objects of semistruct's own classes, but no "
        "functions and no code."
    )


def _object_array(dtype: str, shape: tuple[int, ...], items: list[Any]) -> np.ndarray:
    if np.dtype(dtype).kind not in "OU":
        raise DataError(f"the file has a list of the type {dtype!r}.")
    values = np.empty(len(items), dtype=object)
    values[:] = items
    return values.reshape(shape).astype(dtype)


def _date_parts(values: np.ndarray) -> dict[str, Any]:
    return {"dtype": values.dtype.str, "numbers": values.view(np.int64)}


def _dates(dtype: str, numbers: np.ndarray) -> np.ndarray:
    if np.dtype(dtype).kind not in "mM":
        raise DataError(f"the file has dates of the type {dtype!r}.")
    return numbers.view(dtype)


def _index_parts(index: pd.Index) -> dict[str, Any]:
    if isinstance(index, pd.MultiIndex):
        return {
            "levels": [level for level in index.levels],
            "codes": [np.asarray(codes) for codes in index.codes],
            "names": list(index.names),
        }
    if isinstance(index, pd.RangeIndex):
        return {"range": range(index.start, index.stop, index.step), "name": index.name}
    return {"values": _column(index.array), "name": index.name}


def _index(**parts: Any) -> pd.Index:
    if "levels" in parts:
        return pd.MultiIndex(**parts, verify_integrity=True)
    if "range" in parts:
        return pd.RangeIndex(parts["range"], name=parts["name"])
    values = parts["values"]
    if isinstance(values, np.ndarray) and values.dtype.kind in "OU":
        return pd.Index(values, dtype=object, name=parts["name"])
    return pd.Index(values, name=parts["name"])


def _column(array: Any) -> Any:
    """An array of pandas as numpy's, where it is nothing else."""
    plain = type(array) is pd.arrays.NumpyExtensionArray or isinstance(array.dtype, np.dtype)
    return np.asarray(array) if plain else array


def _series(values: Any, index: pd.Index, name: Any) -> pd.Series:
    as_text = isinstance(values, np.ndarray) and values.dtype.kind in "OU"
    return pd.Series(values, index=index, name=name, dtype=object if as_text else None)


def _frame_parts(frame: pd.DataFrame) -> dict[str, Any]:
    columns = [_column(frame.iloc[:, j].array) for j in range(frame.shape[1])]
    return {"columns": frame.columns, "index": frame.index, "values": columns}


def _frame(columns: pd.Index, index: pd.Index, values: list[Any]) -> pd.DataFrame:
    series = {j: _series(column, index, None) for j, column in enumerate(values)}
    return pd.DataFrame(series, index=index).set_axis(columns, axis=1)


def _nullable_parts(values: Any) -> dict[str, Any]:
    missing = np.asarray(values.isna())
    items = [None if gone else item for item, gone in zip(values, missing, strict=True)]
    return {"dtype": str(values.dtype), "items": items}


def _nullable(dtype: str, items: list[Any]) -> Any:
    if not isinstance(dtype, str) or dtype.split("[")[0] not in _NULLABLE:
        raise DataError(f"the file has a column of the type {dtype!r}.")
    return pd.array(items, dtype=dtype)


def _tensor_column_parts(column: TensorArray) -> dict[str, Any]:
    missing = np.asarray(column.isna())
    rows = [np.asarray(column[int(row)]) for row in np.flatnonzero(~missing)]
    return {
        "image": isinstance(column, ImageArray),
        "missing": missing,
        "shapes": [row.shape for row in rows],
        "flat": np.concatenate([row.ravel() for row in rows]) if rows else np.zeros(0),
        "dtype": str(column.dtype),
    }


def _tensor_column(
    image: bool, missing: np.ndarray, shapes: list[Any], flat: np.ndarray, dtype: str
) -> TensorArray:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    pieces = iter(np.split(flat, ends[:-1]) if shapes else [])
    tensors = iter(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))
    rows = [None if gone else next(tensors) for gone in missing]
    return (ImageArray if image else TensorArray)(rows, dtype=dtype)


def _sparse_parts(matrix: Any) -> dict[str, Any]:
    return {
        "format": matrix.format,
        "shape": tuple(int(size) for size in matrix.shape),
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
    }


def _sparse(
    format: str, shape: tuple[int, int], data: np.ndarray, indices: np.ndarray, indptr: np.ndarray
) -> Any:
    cls = {"csr": sparse.csr_array, "csc": sparse.csc_array}[format]
    matrix = cls((data, indices, indptr), shape=shape)
    matrix.check_format(full_check=True)  # positions outside of the matrix would read any memory
    return matrix


def _tensor(values: np.ndarray, half: bool) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(values))
    return tensor.view(torch.bfloat16) if half else tensor


def _tensor_parts(tensor: torch.Tensor) -> dict[str, Any]:
    half = tensor.dtype == torch.bfloat16
    plain = tensor.detach().cpu().contiguous()
    return {"values": (plain.view(torch.int16) if half else plain).numpy(), "half": half}


def _random_state(**state: Any) -> np.random.RandomState:
    generator = np.random.RandomState()
    generator.set_state({"bit_generator": "MT19937", **state})
    return generator


def _random_state_parts(generator: np.random.RandomState) -> dict[str, Any]:
    state: Any = generator.get_state(legacy=False)
    if state.pop("bit_generator") != "MT19937":
        raise SpecificationError("a random_state of this kind cannot be saved; give a number.")
    return dict(state)


_NULLABLE = frozenset(
    [
        *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
        *("Float32", "Float64", "boolean", "string", "str"),
    ]
)
_NULLABLE_ARRAYS = (
    pd.arrays.IntegerArray,
    pd.arrays.FloatingArray,
    pd.arrays.BooleanArray,
    pd.arrays.StringArray,
)
_INDICES = (
    pd.Index,
    pd.RangeIndex,
    pd.MultiIndex,
    pd.CategoricalIndex,
    pd.DatetimeIndex,
    pd.TimedeltaIndex,
)

# Names and types; a type is looked for in this order.
CODECS: dict[str, Codec] = {
    "slice": Codec(
        (slice,), lambda v: {"ends": [v.start, v.stop, v.step]}, lambda ends: slice(*ends)
    ),
    "range": Codec(
        (range,), lambda v: {"ends": [v.start, v.stop, v.step]}, lambda ends: range(*ends)
    ),
    "mapping": Codec(
        (OrderedDict, MappingProxyType), lambda v: {"content": dict(v)}, lambda content: content
    ),
    "date": Codec(
        (datetime.datetime,),
        lambda v: {"text": v.isoformat()},
        lambda text: datetime.datetime.fromisoformat(text),
    ),
    "timestamp": Codec(
        (pd.Timestamp, pd.Timedelta),
        lambda v: {"values": np.array([v.to_numpy()]), "zone": str(getattr(v, "tz", None) or "")},
        lambda values, zone: _moment(values, zone),
    ),
    "missing": Codec(
        (type(pd.NA), type(pd.NaT)),
        lambda v: {"date": v is pd.NaT},
        lambda date: pd.NaT if date else pd.NA,
    ),
    "dtype": Codec(
        tuple({type(np.dtype(code)) for code in "?bBhHiIlLqQefdOUmM"}),
        lambda v: {"text": v.str},
        lambda text: np.dtype(str(text)),
    ),
    "seed": Codec(
        (np.random.SeedSequence,), lambda v: dict(v.state), lambda **v: np.random.SeedSequence(**v)
    ),
    "random_state": Codec((np.random.RandomState,), _random_state_parts, _random_state),
    "sparse": Codec((sparse.csr_array, sparse.csc_array), _sparse_parts, _sparse),
    "tensor": Codec((torch.Tensor, torch.nn.Parameter), _tensor_parts, _tensor),
    "device": Codec((torch.device,), lambda v: {"text": str(v)}, lambda text: torch.device(text)),
    "index": Codec(
        _INDICES,
        _index_parts,
        _index,
    ),
    "series": Codec(
        (pd.Series,),
        lambda v: {"values": _column(v.array), "index": v.index, "name": v.name},
        _series,
    ),
    "frame": Codec((pd.DataFrame,), _frame_parts, _frame),
    "categories": Codec(
        (pd.CategoricalDtype,),
        lambda v: {"categories": v.categories, "ordered": bool(v.ordered)},
        pd.CategoricalDtype,
    ),
    "categorical": Codec(
        (pd.Categorical,),
        lambda v: {"codes": np.asarray(v.codes), "dtype": v.dtype},
        pd.Categorical.from_codes,
    ),
    "zoned": Codec(
        (pd.arrays.DatetimeArray,),
        lambda v: {"values": np.asarray(v.tz_convert(None)), "zone": str(v.tz)},
        lambda values, zone: pd.array(values).tz_localize("UTC").tz_convert(zone),
    ),
    "nullable": Codec(
        _NULLABLE_ARRAYS,
        _nullable_parts,
        _nullable,
    ),
    "tensors": Codec((TensorArray, ImageArray), _tensor_column_parts, _tensor_column),
    "objects": Codec(
        (),
        lambda v: {"dtype": v.dtype.str, "shape": v.shape, "items": v.ravel().tolist()},
        _object_array,
    ),
    "dates": Codec((), _date_parts, _dates),
}


def _moment(values: np.ndarray, zone: str) -> Any:
    if values.dtype.kind == "m":
        return pd.Timedelta(values[0])
    moment = pd.Timestamp(values[0])
    return moment.tz_localize("UTC").tz_convert(zone) if zone else moment
