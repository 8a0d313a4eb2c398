"""Link functions: maps between a parameter's natural scale and its additive predictor."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["LINKS", "CLogLog", "Identity", "Link", "Log", "Logit", "Probit", "Softplus"]


class Link(ABC):
    """A monotone map from the natural scale ``theta`` to the predictor ``eta``; immutable."""

    name: str

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """``eta`` from ``theta``, elementwise."""

    @abstractmethod
    def inverse(self, eta: Tensor) -> Tensor:
        """``theta`` from ``eta``, elementwise; finite for every finite ``eta`` float64 can hold."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
