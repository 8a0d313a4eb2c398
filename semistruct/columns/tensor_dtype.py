"""The type of a column of tensors: the shape of one row and the type of its elements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionDtype, register_extension_dtype

__all__ = ["TensorDtype", "merged_shape"]


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
    array_type: ClassVar[Any]  # the column class names itself here once it exists
    _metadata = ("shape", "element")

    def __init__(self, shape: Sequence[int | None] | None = None, element: Any = None) -> None:
        self.shape = None if shape is None else tuple(n if n is None else int(n) for n in shape)
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
            raise TypeError(f"'construct_from_string' expects a string, got {type(string)}")
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
    def construct_array_type(cls) -> Any:
        """Class of the columns of this type."""
        return cls.array_type

    def accepts(self, other: TensorDtype) -> bool:
        """True when every row shaped like ``other`` is shaped like this type as well."""
        if self.shape is None:
            return True
        if other.shape is None or len(self.shape) != len(other.shape):
            return False
        pairs = zip(self.shape, other.shape, strict=True)
        return all(mine is None or mine == theirs for mine, theirs in pairs)

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
    """The narrowest shape that covers all of ``shapes``; None when their axes differ in number.

    Examples
    --------
    >>> merged_shape([(3, 5), (3, 7)])
    (3, None)
    """
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or len({len(shape) for shape in known}) != 1:
        return None
    axes = zip(*known, strict=True)
    return tuple(lengths[0] if len(set(lengths)) == 1 else None for lengths in axes)
