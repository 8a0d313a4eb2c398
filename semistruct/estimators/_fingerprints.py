"""Short texts that are equal exactly for equal models, tables and responses."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import joblib
import numpy as np
import pandas as pd
from torch import nn

from semistruct.columns import TensorArray
from semistruct.estimators._composition import nested_params
from semistruct.responses import Interval, Surv

__all__ = ["fingerprint"]

_PLAIN = (str, bytes, bool, int, float, complex, type(None))


def fingerprint(value: Any) -> str:
    """A digest of a model's class and parameters, of a table with its pictures, or of plain values.

    Weights of networks count, addresses in memory do not, so that it is the same in another
    process.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> fingerprint(Ridge(1.0)) == fingerprint(Ridge(1.0)), fingerprint(1.0) == fingerprint(1)
    (True, False)
    """
    digest = blake2b(digest_size=12)
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    digest.update(f"<{type(value).__module__}.{type(value).__qualname__}>".encode())
    if isinstance(value, _PLAIN):
        digest.update(repr(value).encode())
    elif isinstance(value, np.generic):
        digest.update(repr(value.item()).encode())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _add(digest, key)
            _add(digest, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _add(digest, item)
    elif isinstance(value, nn.Module):
        digest.update(repr(value).encode())
        for name, tensor in value.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().numpy().tobytes())
    elif isinstance(value, pd.DataFrame):
        for name in value.columns:
            digest.update(str(name).encode())
            _add(digest, value[name])
    elif isinstance(value, pd.Series) and isinstance(value.array, TensorArray):
        digest.update(repr(value.dtype).encode())
        digest.update("".join(map(str, value.array.content_keys())).encode())
    elif isinstance(value, pd.Series):
        digest.update(pd.util.hash_pandas_object(value, index=False).to_numpy().tobytes())
    elif isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
        _add(digest, pd.Series(value))
    elif isinstance(value, Surv):
        for part in (value.time, value.cause, value.entry, value.id, value.n_causes):
            _add(digest, part)
    elif isinstance(value, Interval):
        _add(digest, (np.asarray(value.lower), np.asarray(value.upper)))
    elif isinstance(value, np.ndarray):
        digest.update(joblib.hash(value).encode())
    elif isinstance(value, type) or (callable(value) and not _has_params(value)):
        digest.update(f"{getattr(value, '__module__', '')}.{_name(value)}".encode())
    else:
        params = nested_params(value)
        if not params and not _has_params(value):
            # Frozen configurations (families, terms) say in their repr all that they are.
            params = {"repr": repr(value)} if " at 0x" not in repr(value) else vars(value)
        _add(digest, dict(sorted(params.items())))


def _has_params(value: Any) -> bool:
    return callable(getattr(value, "get_params", None))


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", None) or repr(type(value))
