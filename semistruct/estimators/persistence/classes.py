"""Which classes a file may name, and their state as names and values."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from sklearn.base import BaseEstimator

from semistruct.exceptions import DataError
from semistruct.families import Objective
from semistruct.links import Link
from semistruct.responses import Interval, Surv

__all__ = ["class_name", "known_classes", "rebuilt", "state_of"]

_PACKAGE = "semistruct."
# Classes that are no dataclasses, and keep all they know in plain attributes.
_PLAIN = (BaseEstimator, Objective, Link, Surv, Interval)


def known_classes() -> dict[str, type]:
    """Every class of the package whose objects may stand in a file, by its dotted name.

    Only what the package has imported itself is there; no name of a file is ever imported.

    Examples
    --------
    >>> known_classes()["fitting.model.ModelFit"].__name__
    'ModelFit'
    >>> "os.system" in known_classes()
    False
    """
    found = {}
    for module, content in list(sys.modules.items()):
        if not module.startswith(_PACKAGE):
            continue
        for cls in list(vars(content).values()):
            if isinstance(cls, type) and cls.__module__ == module and _is_storable(cls):
                found[class_name(cls)] = cls
    return found


def class_name(cls: type) -> str:
    """The name of a class in a file."""
    return f"{cls.__module__.removeprefix(_PACKAGE)}.{cls.__qualname__}"


def state_of(value: Any) -> dict[str, Any]:
    """Attributes of an object of a known class, without those that are computed from others."""
    cls = type(value)
    if not dataclasses.is_dataclass(cls):
        slots = [name for base in cls.__mro__ for name in vars(base).get("__slots__", ())]
        own = {name: getattr(value, name) for name in slots if hasattr(value, name)}
        own |= getattr(value, "__dict__", {})
        return {name: part for name, part in own.items() if not _is_computed(cls, name)}
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(cls)}


def rebuilt(name: str, state: Mapping[str, Any], classes: Mapping[str, type]) -> Any:
    """An object of the class with this name and these attributes; none of its code is run.

    Parameters
    ----------
    name : str
    state : mapping
    classes : mapping
        As :func:`known_classes` gives them.

    Raises
    ------
    DataError
        If no such class may stand in a file, or it has other attributes.
    """
    cls = classes.get(name)
    if cls is None:
        raise DataError(
            f"the file asks for the class {name!r}, which is none that a saved model can hold. It "
            "was changed after it was saved, or comes from another version."
        )
    full = dict(state)
    if dataclasses.is_dataclass(cls):
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for missing in fields.keys() - full.keys():
            full[missing] = _default(fields[missing], name)
        unknown = full.keys() - fields.keys()
    else:
        unknown = {own for own in full if not _may_be_set(cls, own)}
    if unknown:
        raise DataError(
            f"the file gives {name} the attributes {', '.join(sorted(unknown))}, which it does not "
            "have in this version of semistruct."
        )
    value: Any = object.__new__(cls)
    for own, content in full.items():
        object.__setattr__(value, own, content)
    return value


def _default(field: dataclasses.Field[Any], name: str) -> Any:
    """What an attribute that the file does not know is without being told."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise DataError(
        f"the file lacks {field.name!r} of {name}, which this version of semistruct needs; load it "
        "with the version that saved it."
    )


def _is_storable(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or issubclass(cls, _PLAIN)


def _is_computed(cls: type, name: str) -> bool:
    return any(isinstance(vars(base).get(name), cached_property) for base in cls.__mro__)


def _may_be_set(cls: type, name: str) -> bool:
    """Whether an attribute is data: neither hidden machinery nor the name of a method."""
    own = getattr(cls, name, None)
    return (
        name.isidentifier()
        and not name.startswith("__")
        and not callable(own)
        and not isinstance(own, property | cached_property)
    )
