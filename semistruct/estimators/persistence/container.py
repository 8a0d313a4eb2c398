"""The file: a zip archive of a manifest, a tree of nodes and the tensors."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from semistruct.exceptions import DataError

__all__ = ["FORMAT", "Content", "read_container", "write_container"]

# Raised when files of this version cannot be read by an earlier one.
FORMAT = 1
_NAME = "semistruct model"
_MANIFEST, _TREE, _TENSORS = "manifest.json", "tree.json", "tensors.safetensors"


@dataclass(frozen=True)
class Content:
    """What is in a file.

    Attributes
    ----------
    root : JSON value
        What stands for the model.
    nodes : list of dict
    tensors : dict from str to array
    """

    root: Any
    nodes: list[dict[str, Any]]
    tensors: dict[str, np.ndarray]


def write_container(path: Path, content: Content) -> None:
    """Write a file, whole or not at all."""
    tree = json.dumps({"root": content.root, "nodes": content.nodes}, allow_nan=False).encode()
    tensors = save(content.tensors)
    manifest = {
        "what": _NAME,
        "format": FORMAT,
        "semistruct": version("semistruct"),
        "sha256": {_TREE: _digest(tree), _TENSORS: _digest(tensors)},
    }
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".draft")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1), zipfile.ZIP_DEFLATED)
            archive.writestr(_TREE, tree, zipfile.ZIP_DEFLATED)
            archive.writestr(_TENSORS, tensors, zipfile.ZIP_DEFLATED)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def read_container(path: Path) -> Content:
    """Read a file.

    Raises
    ------
    DataError
        If it is no file of a model, was written by a later version, or is damaged.
    """
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{str(path)!r} is not a saved model, or it was cut off.")
    try:
        with zipfile.ZipFile(path) as archive:
            if _MANIFEST not in archive.namelist():
                raise DataError(f"{str(path)!r} is not a saved model: it has no {_MANIFEST}.")
            manifest = json.loads(archive.read(_MANIFEST))
            _check(path, manifest)
            tree, tensors = archive.read(_TREE), archive.read(_TENSORS)
        for name, data in ((_TREE, tree), (_TENSORS, tensors)):
            if _digest(data) != manifest["sha256"][name]:
                raise DataError(f"{str(path)!r} is damaged: {name} is not what was saved.")
        plain = json.loads(tree)
        return Content(plain["root"], plain["nodes"], load(tensors))
    except (zipfile.BadZipFile, SafetensorError, EOFError) as error:
        raise DataError(f"{str(path)!r} is damaged: {error}.") from error
    except (json.JSONDecodeError, RecursionError, KeyError, TypeError) as error:
        raise DataError(
            f"{str(path)!r} is not laid out as a saved model ({type(error).__name__}: {error})."
        ) from error


def _check(path: Path, manifest: Any) -> None:
    if not isinstance(manifest, dict) or manifest.get("what") != _NAME:
        raise DataError(f"{str(path)!r} is not a saved model of semistruct.")
    if manifest["format"] > FORMAT:
        raise DataError(
            f"{str(path)!r} was saved by semistruct {manifest['semistruct']} in format "
            f"{manifest['format']}; this is semistruct {version('semistruct')}, which reads "
            f"formats up to {FORMAT}. Update semistruct to load it."
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
