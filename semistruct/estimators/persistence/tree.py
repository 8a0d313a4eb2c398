"""A value as a list of plain nodes and a set of tensors, and back.

Every node is a JSON object that names what it is and has plain values or positions of nodes before
it: there are no cycles, what is shared is written once, and reading needs no recursion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from semistruct.estimators.persistence.classes import class_name, known_classes, rebuilt, state_of
from semistruct.estimators.persistence.values import CODECS, codec_of
from semistruct.exceptions import DataError, SpecificationError

__all__ = ["TreeReader", "TreeWriter"]

_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


class TreeWriter:
    """Takes a value apart.

    Attributes
    ----------
    nodes : list of dict
    tensors : dict from str to array

    Examples
    --------
    >>> writer = TreeWriter()
    >>> root = writer.value({"beta": np.ones(2), "names": ("a", None)})
    >>> writer.nodes[0], root
    ({'is': 'array', 'tensor': '0'}, {'#': 2})
    >>> TreeReader(writer.nodes, writer.tensors).value(root)
    {'beta': array([1., 1.]), 'names': ('a', None)}
    """

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.tensors: dict[str, np.ndarray] = {}
        self._written: dict[int, int] = {}
        self._open: set[int] = set()
        self._classes = known_classes()
        self._alive: list[Any] = []  # an identity means something only while its object lives

    def value(self, value: Any, path: str = "") -> Any:
        """What stands for a value: itself, or the position of its node.

        Raises
        ------
        SpecificationError
            If a part of it cannot be written; the message says where it is.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float and math.isfinite(value):
            return value
        if id(value) not in self._written:
            if id(value) in self._open:
                raise SpecificationError(f"{path} contains itself and cannot be saved.")
            self._open.add(id(value))
            node = self._node(value, path)
            self._open.remove(id(value))
            self._alive.append(value)
            self._written[id(value)] = len(self.nodes)
            self.nodes.append(node)
        return {"#": self._written[id(value)]}

    def _node(self, value: Any, path: str) -> dict[str, Any]:
        if type(value) is float:
            return {"is": "float", "text": repr(value)}
        if isinstance(value, np.generic):
            return {"is": "scalar", "array": self.value(np.asarray(value), path)}
        if type(value).__name__ in _CONTAINERS and type(value).__module__ == "builtins":
            # A set has no order of its own; a file has.
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            content = [self.value(item, f"{path}[{i}]") for i, item in enumerate(items)]
            return {"is": type(value).__name__, "of": content}
        if type(value) is dict:
            pairs = [
                [self.value(key, f"{path} key"), self.value(item, f"{path}[{key!r}]")]
                for key, item in value.items()
            ]
            return {"is": "dict", "of": pairs}
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if self._classes.get(class_name(type(value))) is type(value):
            state = state_of(value)
            parts = {name: self.value(part, f"{path}.{name}") for name, part in state.items()}
            return {"is": "object", "class": class_name(type(value)), "has": parts}
        try:
            name, codec = codec_of(value)
        except SpecificationError as error:
            raise SpecificationError(f"{path.lstrip('.')}: {error}") from error
        return self._parts(name, codec.parts(value), path)

    def _array(self, values: np.ndarray, path: str) -> dict[str, Any]:
        if values.dtype.kind in "OU":
            return self._parts("objects", CODECS["objects"].parts(values), path)
        if values.dtype.kind in "mM":
            return self._parts("dates", CODECS["dates"].parts(values), path)
        if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
            raise SpecificationError(f"{path}: arrays of {values.dtype} cannot be saved.")
        node: dict[str, Any] = {"is": "array", "tensor": str(len(self.tensors))}
        kept = np.array(values, order="K", dtype=values.dtype.newbyteorder("="))
        if kept.flags.f_contiguous and not kept.flags.c_contiguous:
            # Sums are rounded in the order of the memory.
            kept, node["order"] = kept.T, "F"
        self.tensors[node["tensor"]] = np.ascontiguousarray(kept)
        if not values.flags.writeable:
            node["frozen"] = True
        if values.ndim == 0:
            node["order"] = "scalar"
        return node

    def _parts(self, name: str, parts: Mapping[str, Any], path: str) -> dict[str, Any]:
        found = {key: self.value(part, f"{path}.{key}") for key, part in parts.items()}
        return {"is": name, "has": found}


class TreeReader:
    """Puts together what a :class:`TreeWriter` took apart.

    Parameters
    ----------
    nodes : list of dict
    tensors : mapping from str to array

    Raises
    ------
    DataError
        If a node is none that a writer writes, or names a class outside of the package's table.
    """

    def __init__(self, nodes: list[dict[str, Any]], tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors
        self._classes = known_classes()
        self._values: list[Any] = []
        for position, node in enumerate(nodes):
            try:
                self._values.append(self._whole(node))
            except DataError:
                raise
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"node {position} of the file cannot be read ({type(error).__name__}: {error})."
                ) from error

    def value(self, written: Any) -> Any:
        """The value that something written stands for."""
        if not isinstance(written, dict):
            return written
        position = written["#"]
        if not isinstance(position, int) or not 0 <= position < len(self._values):
            raise DataError(f"the file points to node {position!r}, which it does not have.")
        return self._values[position]

    def _whole(self, node: dict[str, Any]) -> Any:
        kind = node["is"]
        if kind == "float":
            return float(node["text"])
        if kind == "scalar":
            return self.value(node["array"])[()]
        if kind in _CONTAINERS:
            return _CONTAINERS[kind]([self.value(item) for item in node["of"]])
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in node["of"]}
        if kind == "array":
            return self._array(node)
        parts = {str(name): self.value(part) for name, part in node["has"].items()}
        if kind == "object":
            return rebuilt(node["class"], parts, self._classes)
        if kind not in CODECS:
            raise DataError(f"the file has a node of the unknown kind {kind!r}.")
        return CODECS[kind].whole(**parts)

    def _array(self, node: dict[str, Any]) -> np.ndarray:
        # A copy of its own: aligned, and as writeable as it was.
        values = np.array(self._tensors[node["tensor"]], order="C")
        order = node.get("order", "C")
        if order == "F":
            values = values.T
        elif order == "scalar":
            values = values.reshape(())
        if node.get("frozen", False):
            values.setflags(write=False)
        return values
