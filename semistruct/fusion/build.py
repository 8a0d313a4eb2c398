"""From a name to a fusion of modalities of given latent dimensions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from semistruct._registry import lookup
from semistruct.fusion.base import LatentFusion
from semistruct.fusion.concat import ConcatFusion
from semistruct.fusion.gated import GatedFusion
from semistruct.fusion.pooling import MaxFusion, MeanFusion, ProductFusion, SumFusion

__all__ = ["FUSIONS", "build_fusion"]

FUSIONS: dict[str, type[LatentFusion]] = {
    "concat": ConcatFusion,
    "gated": GatedFusion,
    "max": MaxFusion,
    "mean": MeanFusion,
    "product": ProductFusion,
    "sum": SumFusion,
}


def build_fusion(
    name: str,
    latent_dims: Mapping[str, int],
    options: Mapping[str, Any] | None = None,
    random_state: int | None = None,
) -> LatentFusion:
    """Make a new fusion.

    Parameters
    ----------
    name : str
        A name of ``FUSIONS``.
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    options : mapping, optional
        Options of the fusion.
    random_state : int, optional
        Seed of its initial weights.

    Raises
    ------
    SpecificationError
        If the name or an option is unknown.

    Examples
    --------
    >>> build_fusion("mean", {"ct": 32, "age": 8}, {"latent_dim": 16}).latent_dim
    16
    >>> build_fusion("mean", {"ct": 32}, {"width": 16})
    Traceback (most recent call last):
    ...
    semistruct.exceptions.SpecificationError: unknown option of fusion 'mean' 'width'. \
Known: latent_dim.
    """
    cls = lookup(FUSIONS, name, "fusion")
    reserved = ("self", "latent_dims", "random_state")
    known = dict.fromkeys(p for p in inspect.signature(cls).parameters if p not in reserved)
    for option in options or {}:
        lookup(known, option, f"option of fusion {name!r}")
    constructor: Any = cls
    return constructor(latent_dims, random_state=random_state, **dict(options or {}))
