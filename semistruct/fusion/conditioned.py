"""Fusions inside an image encoder: numbers scale and shift its feature maps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from semistruct.exceptions import SpecificationError
from semistruct.fusion._layers import check_latent_dims, linear, seeded_generator, zero
from semistruct.fusion.base import LatentFusion
from semistruct.fusion.concat import ConcatFusion

__all__ = ["ConditionedFusion", "DAFTFusion", "FiLMFusion"]


class ConditionedFusion(LatentFusion):
    """Base of fusions in which vectors change the feature maps of pictures.

    For channel c of a picture's maps, ``F_c <- (1 + alpha_c) F_c + beta_c`` with ``alpha`` and
    ``beta`` functions of the vectors. What the encoders make of the changed maps is then joined
    with the vectors side by side, as :class:`~semistruct.fusion.concat.ConcatFusion` does. A row
    without any of the vectors keeps its maps as they are.

    Parameters
    ----------
    latent_dims : mapping of str to int
        Latent dimension of every modality.
    map_channels : mapping of str to int
        Number of feature maps of the modalities that have some: the pictures.
    latent_dim : int or None
        Dimension of the joined features, see :class:`~semistruct.fusion.concat.ConcatFusion`.
    random_state : int, optional
        Seed of the weights.

    Raises
    ------
    SpecificationError
        If there is no picture, or nothing to condition on.
    """

    def __init__(
        self,
        latent_dims: Mapping[str, int],
        map_channels: Mapping[str, int],
        latent_dim: int | None = 32,
        random_state: int | None = None,
    ) -> None:
        super().__init__()
        dims = check_latent_dims(latent_dims)
        self.pictures = tuple(name for name in dims if name in map_channels)
        self.vectors = tuple(name for name in dims if name not in map_channels)
        if not self.pictures or not self.vectors:
            raise SpecificationError(
                f"{type(self).__name__} lets vectors change the feature maps of pictures and needs "
                "both: an input whose encoder has feature maps (cnn) and one that has none "
                f"(columns of the table); got {', '.join(map(repr, dims))} with feature maps for "
                f"{', '.join(map(repr, self.pictures)) or 'none of them'}."
            )
        generator = seeded_generator(random_state)
        width = sum(dims[name] for name in self.vectors)
        self.changes = nn.ModuleList(
            self._change(int(map_channels[name]), width, generator) for name in self.pictures
        )
        self.join = ConcatFusion(dims, latent_dim, random_state=random_state)
        self.latent_dim = self.join.latent_dim

    @abstractmethod
    def _change(self, channels: int, width: int, generator: torch.Generator | None) -> nn.Module:
        """Module from pooled maps and vectors ``(b, channels + width)`` to ``(b, 2 channels)``."""

    def modulate(
        self,
        maps: Mapping[str, Tensor],
        vectors: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Changed feature maps.

        Parameters
        ----------
        maps : mapping of str to (b, C, ...) tensors
            Feature maps of the pictures.
        vectors : mapping of str to (b, d) tensors
            Latent features of the others.
        present : mapping of str to (b,) bool tensors

        Returns
        -------
        dict of str to (b, C, ...) tensors
        """
        given = torch.cat([zero(vectors[name], present[name]) for name in self.vectors], dim=1)
        some = torch.stack([present[name] for name in self.vectors]).any(0)
        changed = {}
        for name, change in zip(self.pictures, self.changes, strict=True):
            F = maps[name]
            pooled = F.flatten(2).mean(2)
            pooled = zero(pooled, present[name])
            alpha, beta = change(torch.cat([pooled, given], dim=1)).chunk(2, dim=1)
            shape = (*alpha.shape, *[1] * (F.ndim - 2))
            alpha = alpha.masked_fill(~some[:, None], 0.0).reshape(shape)
            beta = beta.masked_fill(~some[:, None], 0.0).reshape(shape)
            changed[name] = (1 + alpha) * F + beta
        return changed

    def forward(self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.join(latents, present)


class FiLMFusion(ConditionedFusion):
    """Feature-wise linear modulation: scale and shift are linear in the vectors.

    References
    ----------
    Perez, E. et al. (2018). FiLM: visual reasoning with a general conditioning layer. AAAI 32,
    equation (2).
    """

    def _change(self, channels: int, width: int, generator: torch.Generator | None) -> nn.Module:
        return _OfVectors(channels, linear(width, 2 * channels, generator))


class DAFTFusion(ConditionedFusion):
    """Dynamic affine feature map transform: scale and shift depend on vectors and pooled maps.

    Scale and shift come from a network with a narrow hidden layer, a seventh of its inputs.

    References
    ----------
    Wolf, T. N., Pölsterl, S. and Wachinger, C. (2022). DAFT: a universal module to interweave
    tabular data and 3D images in CNNs. NeuroImage 260, 119505, equations (1) to (3).
    """

    def _change(self, channels: int, width: int, generator: torch.Generator | None) -> nn.Module:
        hidden = max(4, (channels + width) // 7)
        return nn.Sequential(
            linear(channels + width, hidden, generator),
            nn.ReLU(),
            linear(hidden, 2 * channels, generator),
        )


class _OfVectors(nn.Module):
    """A layer that does not see the pooled maps, the first ``channels`` of its inputs."""

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.channels, self.layer = channels, layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x[:, self.channels :])
        return out
