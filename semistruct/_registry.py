"""Looking names up in the literal registries of the package."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from semistruct.exceptions import SpecificationError

__all__ = ["lookup"]

T = TypeVar("T")


def lookup(registry: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``registry[name]``, or say which names exist and which one was probably meant.

    Parameters
    ----------
    registry : mapping from str
        One of the literal registries, for example ``FAMILIES``.
    name : str
        The name asked for.
    kind : str
        What the registry holds, for the message: ``"family"``, ``"smooth"``.

    Raises
    ------
    SpecificationError
        If the name is not registered.

    Examples
    --------
    >>> lookup({"normal": 1}, "normal", "family")
    1
    >>> lookup({"normal": 1}, "norml", "family")
    Traceback (most recent call last):
    ...
    semistruct.exceptions.SpecificationError: unknown family 'norml'; did you mean 'normal'? \
Known: normal.
    """
    if name in registry:
        return registry[name]
    close = difflib.get_close_matches(str(name), registry, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    known = ", ".join(sorted(registry))
    raise SpecificationError(f"unknown {kind} {name!r}{hint} Known: {known}.")
