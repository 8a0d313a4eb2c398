"""Saving a fitted model, and loading it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from semistruct.estimators.persistence.container import Content, read_container, write_container
from semistruct.estimators.persistence.networks import attached, detached
from semistruct.estimators.persistence.tree import TreeReader, TreeWriter
from semistruct.exceptions import DataError
from semistruct.fitting.model import ModelFit

__all__ = ["load", "save"]


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model with one formula for each parameter to a file.

    Parameters
    ----------
    model : SemiStructuredEstimator
    path : path
        An existing file is replaced.

    Raises
    ------
    SpecificationError
        If the model has a part that is code: a family, a term or an option of the user's own.

    See Also
    --------
    load
    """
    check_is_fitted(model)
    plain = copy.copy(model)
    for name, value in vars(plain).items():
        if isinstance(value, ModelFit):
            columns = model.specification_
            tabular = tuple(v for terms in columns.terms for t in terms.structured for v in t.reads)
            setattr(plain, name, detached(value, tabular))
    plain.checkpoint = None  # a folder of this machine
    # Modules are known by their names.
    plain.encoders = None if model.encoders is None else dict.fromkeys(model.encoders)
    writer = TreeWriter()
    root = writer.value(plain)
    write_container(Path(path), Content(root, writer.nodes, writer.tensors))


def load(path: str | os.PathLike[str], *, encoders: Mapping[str, nn.Module] | None = None) -> Any:
    """Read a model that ``model.save(path)`` has written.

    Parameters
    ----------
    path : path
    encoders : mapping from str to torch.nn.Module, optional
        Networks of your own that the formula names; a file has their weights, not their code.

    Returns
    -------
    SemiStructuredRegressor, CoxPH, PAMM, DiscreteHazard or MultiTaskLogistic
        Fitted. It predicts the same numbers, bit for bit, on the same kind of machine.

    Raises
    ------
    DataError
        If there is no such file, it is no saved model, was saved by a later version, or is damaged
        or changed.
    SpecificationError
        If ``encoders`` are missing.

    Notes
    -----
    The file is a zip archive of JSON and safetensors. Nothing in it is executed and no name in it
    is imported: objects are made of a fixed table of the package's own classes, from their
    attributes. It holds the training rows' tabular columns and responses, which standard errors
    and plots need, and no pictures; treat it as you treat the data.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from semistruct import SemiStructuredRegressor
    >>> table = pd.DataFrame({"x": [0.0, 1.0, 2.0, 4.0], "y": [1.0, 3.0, 4.0, 9.0]})
    >>> model = SemiStructuredRegressor("y ~ x").fit(table)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/study.semistruct")
    ...     again = load(f"{folder}/study.semistruct")
    >>> bool((again.predict(table) == model.predict(table)).all())
    True
    """
    content = read_container(Path(path))
    model = TreeReader(content.nodes, content.tensors).value(content.root)
    if not isinstance(model, BaseEstimator) or not hasattr(model, "fit_"):
        raise DataError(f"{str(path)!r} holds a {type(model).__name__}, not a fitted model.")
    given = dict(encoders or {})
    for name, value in list(vars(model).items()):
        if isinstance(value, ModelFit):
            setattr(model, name, attached(value, given))
    model.encoders = None if model.encoders is None else given
    return model
