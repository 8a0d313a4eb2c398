"""A network after a fusion, for terms that need not be additive in their inputs."""

from __future__ import annotations

from torch import Tensor, nn

from semistruct.fusion._layers import linear, seeded_generator

__all__ = ["MLPHead"]


class MLPHead(nn.Module):
    """Two layers on the joined features; what comes out still enters the predictor linearly.

    Parameters
    ----------
    latent_dim : int
        Dimension of the joined features, and of the result.
    random_state : int, optional
        Seed of the weights.
    """

    def __init__(self, latent_dim: int, random_state: int | None = None) -> None:
        super().__init__()
        generator = seeded_generator(random_state)
        self.layers = nn.Sequential(
            linear(latent_dim, latent_dim, generator),
            nn.SiLU(),
            linear(latent_dim, latent_dim, generator),
            nn.SiLU(),
        )

    def forward(self, joined: Tensor) -> Tensor:
        """Features ``(b, latent_dim)`` of joined features ``(b, latent_dim)``."""
        out: Tensor = self.layers(joined)
        return out
