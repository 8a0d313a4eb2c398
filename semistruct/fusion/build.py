"""From a name to a fusion of modalities of given latent dimensions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from semistruct._registry import lookup
from semistruct.exceptions import SpecificationError
from semistruct.fusion.attention import AttentionFusion
from semistruct.fusion.base import LatentFusion
from semistruct.fusion.concat import ConcatFusion
from semistruct.fusion.conditioned import ConditionedFusion, DAFTFusion, FiLMFusion
from semistruct.fusion.gated import GatedFusion
from semistruct.fusion.low_rank import LowRankFusion
from semistruct.fusion.pooling import MaxFusion, MeanFusion, ProductFusion, SumFusion

__all__ = ["CONDITIONED_FUSIONS", "FUSIONS", "build_fusion", "fusion_options"]

FUSIONS: dict[str, type[LatentFusion]] = {
    "attention": AttentionFusion,
    "concat": ConcatFusion,
    "gated": GatedFusion,
    "low_rank": LowRankFusion,
    "max": MaxFusion,
    "mean": MeanFusion,
    "product": ProductFusion,
    "sum": SumFusion,
}

CONDITIONED_FUSIONS: dict[str, type[ConditionedFusion]] = {
    "daft": DAFTFusion,
    "film": FiLMFusion,
}


def fusion_options(name: str) -> frozenset[str]:
    """Names of the options that a fusion takes.

    Raises
    ------
    SpecificationError
        If there is no such fusion.
    """
    cls = lookup({**FUSIONS, **CONDITIONED_FUSIONS}, name, "fusion")
    reserved = ("self", "latent_dims", "map_channels", "random_state")
    return frozenset(p for p in inspect.signature(cls).parameters if p not in reserved)


def build_fusion(
    name: str,
    latent_dims: Mapping[str, int],
    options: Mapping[str, Any] | None = None,
    random_state: int | None = None,
    *,
    map_channels: Mapping[str, int] | None = None,
) -> LatentFusion:
    """Make a new fusion.

    Parameters
    ----------
    name : str
        A name of ``FUSIONS`` or ``CONDITIONED_FUSIONS``.
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    options : mapping, optional
        Options of the fusion.
    random_state : int, optional
        Seed of its initial weights.
    map_channels : mapping of str to int, optional
        Number of feature maps of the modalities whose encoders have some.

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
Known: absence, latent_dim.
    """
    known = dict.fromkeys(sorted(fusion_options(name)))
    given: dict[str, Any] = dict(options or {})
    for option in given:
        lookup(known, option, f"option of fusion {name!r}")
    constructor: Any = {**FUSIONS, **CONDITIONED_FUSIONS}[name]
    if name in CONDITIONED_FUSIONS:
        given["map_channels"] = dict(map_channels or {})
    try:
        return constructor(latent_dims, random_state=random_state, **given)
    except TypeError as error:
        written = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise SpecificationError(
            f"fusion {name!r} has an option of the wrong type among {written}: {error}."
        ) from error
