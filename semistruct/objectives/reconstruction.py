"""Latent features should know their input, and perhaps those of the other modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from semistruct.encoders import Decoder, build_decoder
from semistruct.losses import cross_reconstruction_loss, reconstruction_loss
from semistruct.objectives.base import (
    ObjectiveLoss,
    ObjectiveValue,
    RepresentationObjective,
    TrainingRows,
)
from semistruct.objectives.forward_pass import ForwardPass
from semistruct.objectives.sites import Site

__all__ = ["Reconstruction"]


@dataclass(frozen=True)
class Reconstruction(RepresentationObjective):
    """Squared error of drawing every input again from its latent features.

    Parameters
    ----------
    cross : bool
        Whether every input is also drawn from the features of every other one, by the same decoder.
    weight, epochs, inputs
        See :class:`RepresentationObjective`.

    Notes
    -----
    ``sum_m mean (x_m - D_m E_m x_m)^2`` and with ``cross`` ``+ sum_{m != l} mean (x_l - D_l E_m
    x_m)^2``, over the rows that have what is read and what is drawn. Inputs are standardised, and
    the mean is over rows and entries, so that neither units nor the number of columns matter: 1 is
    the error of drawing the average. Pictures that the encoder changes at random in training are
    to be drawn as they were.

    The decoders are made for the shapes of the inputs, trained along and thrown away.

    References
    ----------
    Tong, L., Mitchel, J., Chatlin, K. and Wang, M. D. (2020). Deep learning based feature-level
    integration of multi-omics data for breast cancer patients survival analysis. BMC Medical
    Informatics and Decision Making 20, 225: ConcatAE, and with ``cross`` CrossAE.

    Examples
    --------
    >>> Reconstruction(cross=True, weight=0.5).name
    'cross_reconstruction'
    """

    cross: bool = False

    @property
    def name(self) -> str:
        """``"reconstruction"`` or ``"cross_reconstruction"``."""
        return "cross_reconstruction" if self.cross else "reconstruction"

    def why_not(self, sites: Sequence[Site]) -> str | None:
        ragged = [site.input for site in sites if site.ragged]
        if ragged:
            return (
                f"reads {', '.join(map(repr, ragged))}, whose rows differ in length and cannot be "
                "drawn again; name the other inputs in inputs="
            )
        if not self.cross:
            return None
        if len(sites) < 2:
            return "has one input, and cross=True draws one input from another; write deep(a, b)"
        dims = {site.input: site.latent_dim for site in sites}
        if len(set(dims.values())) > 1:
            return (
                f"has latent features of several dimensions ({dims}), and cross=True needs one for "
                "all; write deep(..., latent_dim=16)"
            )
        return None

    def takes_part(self, present: np.ndarray) -> np.ndarray:
        return present.sum(axis=0) >= 1

    def make(
        self, sites: Sequence[Site], training: TrainingRows, target: np.ndarray | None
    ) -> ObjectiveLoss:
        decoders = []
        for site, seed in zip(sites, training.seeds(len(sites)), strict=True):
            decoder = build_decoder(site.latent_dim, site.in_shape, random_state=seed)
            sample = training.sample(site)
            if len(sample):
                decoder.learn_inputs(sample)
            decoders.append(decoder)
        return _Reconstruction(sites, decoders, self.cross)


class _Reconstruction(ObjectiveLoss):
    def __init__(self, sites: Sequence[Site], decoders: Sequence[Decoder], cross: bool) -> None:
        super().__init__(sites)
        self.decoders = nn.ModuleList(decoders)
        self.cross = cross

    def forward(self, seen: ForwardPass) -> ObjectiveValue:
        # Two terms may read one column: inputs are told apart by their position.
        names = [str(number) for number in range(len(self.sites))]
        decoders = dict(zip(names, self.decoders, strict=True))
        latents = {name: seen.latent(site) for name, site in zip(names, self.sites, strict=True)}
        present = {name: seen.present(site) for name, site in zip(names, self.sites, strict=True)}
        inputs = {
            name: decoders[name].target(seen.batch.inputs[site.input])  # type: ignore[operator]
            for name, site in zip(names, self.sites, strict=True)
        }
        loss = reconstruction_loss(inputs, latents, decoders, present)
        if self.cross:
            loss = loss + cross_reconstruction_loss(inputs, latents, decoders, present)
        some = torch.stack(list(present.values())).any(0)
        return ObjectiveValue(loss, int(some.sum()))
