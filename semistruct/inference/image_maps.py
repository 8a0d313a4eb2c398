"""Which part of a picture has an effect: covering it, and the gradients behind it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semistruct.batch import Batch
from semistruct.blueprint import NetworkBlueprint, row_weights
from semistruct.encoders import ModuleEncoder
from semistruct.exceptions import SpecificationError, UnsupportedCombinationError
from semistruct.fitting.deep import DeepFit
from semistruct.fitting.model import ModelFit
from semistruct.modalities import FeatureReader, Reader, TensorReader
from semistruct.term_network import TermNetwork

__all__ = ["MapMethod", "PictureEffect", "image_maps"]

MapMethod = Literal["grad_cam", "occlusion", "integrated_gradients"]

_STEPS = 32
_WINDOWS = 8  # a covered window is an eighth of the shorter side, and moves by half of itself


@dataclass(frozen=True, eq=False)
class PictureEffect:
    """The effect of a deep term on its predictor as a differentiable function of the picture.

    Attributes
    ----------
    label : str
        Of the deep term.
    deep : DeepFit
    blueprint : NetworkBlueprint
    frame : DataFrame of n rows
    name : str
        The input that holds the pictures.
    reader : TensorReader
        Of these.
    slots : tuple of int
        Positions of the term's scores.
    device : str
    """

    label: str
    deep: DeepFit
    blueprint: NetworkBlueprint
    frame: pd.DataFrame
    name: str
    reader: TensorReader
    slots: tuple[int, ...]
    device: str

    @classmethod
    def of(
        cls, fit: ModelFit, label: str, frame: pd.DataFrame, device: str = "cpu"
    ) -> PictureEffect:
        """The effect of the term with this label.

        Raises
        ------
        SpecificationError
            If there is no such term, it reads no pictures, or its gate is closed.
        """
        slots = () if fit.deep is None else fit.deep.slots
        own = tuple(t for t, slot in enumerate(slots) if slot.term.label == label)
        if not own or fit.deep is None or fit.blueprint is None:
            known = ", ".join(dict.fromkeys(slot.term.label for slot in slots)) or "none"
            raise SpecificationError(f"the model has no deep term {label!r}; it has {known}.")
        for part in fit.blueprint.plans[slots[own[0]].network].inputs:
            reader: Reader = fit.blueprint.readers[part.name]
            source = reader.reader if isinstance(reader, FeatureReader) else reader
            if isinstance(source, TensorReader) and len(source.in_shape) == 3:
                break
        else:
            raise SpecificationError(f"{label} reads no pictures.")
        if not fit.deep.calibration.gamma[list(own)].any():
            raise SpecificationError(
                f"the gate of {label} is closed: its pictures have no effect that could be shown."
            )
        return cls(label, fit.deep, fit.blueprint, frame, part.name, source, own, device)

    @property
    def param(self) -> int:
        """The predictor that is explained: the first in which the term stands."""
        return self.deep.slots[self.slots[0]].param

    @property
    def own_slots(self) -> tuple[int, ...]:
        """Positions of the term's scores in that predictor."""
        return tuple(t for t in self.slots if self.deep.slots[t].param == self.param)

    def pictures(self) -> tuple[Tensor, np.ndarray]:
        """All pictures ``(n, C, H, W)`` as the network wants them, and which rows have one."""
        modality = self.reader.read(self.frame)
        values = modality.batch(np.arange(len(self.frame)), self.device)
        if values.dtype == torch.uint8:
            # A scaling of the user's own is for whole numbers, the learned one divides by 255.
            values = values.float() / (1.0 if self._own_scaling else 255.0)
        return values.to(self._networks[0].scale.dtype), modality.present

    def of_row(self, row: int) -> Callable[[Tensor], Tensor]:
        """Effects ``(b,)`` of pictures ``(b, C, H, W)`` in the place of the row's own."""
        plan = self.blueprint.plans[self._network]
        one = self.frame.iloc[[row]]
        others = {
            part.name: self.blueprint.readers[part.name].read(one)
            for part in plan.inputs
            if part.name != self.name
        }
        batch = Batch.read(others, np.zeros(1, dtype=int), self.device)
        weights = row_weights(self.deep.slots, one)
        slope = self.deep.calibration.gamma * (1.0 if weights is None else weights[0])

        def effect(pictures: Tensor) -> Tensor:
            b = len(pictures)
            inputs = {
                name: value.expand(b, *value.shape[1:]) for name, value in batch.inputs.items()
            }
            inputs[self.name] = self._features(pictures)
            present = {name: here.expand(b) for name, here in batch.present.items()}
            masks = {name: mask.expand(b, -1) for name, mask in batch.masks.items()}
            present[self.name] = torch.ones(b, dtype=torch.bool, device=pictures.device)
            total = pictures.new_zeros(b)
            for net in self._networks:
                latent = net.terms[self._network](Batch(inputs, present, masks))
                for t in self.own_slots:
                    score = (latent @ net.gammas[t]) * net.scale[t] - net.level[t]
                    total = total + float(slope[t]) * score
            return total / len(self._networks)

        return effect

    @property
    def term_networks(self) -> list[TermNetwork]:
        """The networks of the term, one per member."""
        return [net.terms[self._network] for net in self._networks]

    @property
    def _network(self) -> int:
        return self.deep.slots[self.slots[0]].network

    @property
    def _networks(self) -> list[Any]:
        return [m.net.to(self.device).eval() for m in self.deep.crossfit.members]

    @property
    def _frozen(self) -> ModuleEncoder | None:
        reader = self.blueprint.readers[self.name]
        return reader.encoder if isinstance(reader, FeatureReader) else None

    @property
    def _own_scaling(self) -> bool:
        encoders = [self._frozen] if self._frozen is not None else self.term_networks[0].encoders
        return any(isinstance(e, ModuleEncoder) and e.preprocess is not None for e in encoders)

    def _features(self, pictures: Tensor) -> Tensor:
        """What stands in the batch for pictures: themselves, or features of a frozen encoder."""
        if self._frozen is None:
            return pictures
        # The same modules, through which gradients with respect to the picture may pass.
        encoder = copy.copy(self._frozen)
        encoder.frozen = False
        return encoder.features(pictures)


def image_maps(effect: PictureEffect, method: MapMethod = "grad_cam") -> np.ndarray:
    """What every place of every picture adds to the effect, ``(n, H, W)``; NaN without a picture.

    Parameters
    ----------
    effect : PictureEffect
    method : {"grad_cam", "occlusion", "integrated_gradients"}
        "grad_cam": last convolutional features times their gradient, place by place. "occlusion":
        how much the effect falls when a window is covered by the picture's mean colour.
        "integrated_gradients": gradients along the way from the mean colour to the picture, which
        sum to the difference of the effects. The last two need captum,
        ``pip install "semistruct[explain]"``.

    Raises
    ------
    SpecificationError
        If the method is unknown, or captum is needed and not installed.
    UnsupportedCombinationError
        If "grad_cam" is asked of a network without convolutions.

    Notes
    -----
    Maps show where the *network* looks, averaged over the members, not where a cause is. Features
    times gradients at each place, rather than gradients averaged over places, are exact for
    networks whose last layer is linear in the places, as ``cnn``'s is (Draelos and Carin 2020); the
    sign is kept. A row's map does not depend on the other rows.

    References
    ----------
    Selvaraju et al. (2017), Grad-CAM, ICCV. Draelos and Carin (2020), HiResCAM, arXiv:2011.08891.
    Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, ECCV.
    Sundararajan, Taly and Yan (2017), Axiomatic attribution for deep networks, ICML.
    """
    if method not in get_args(MapMethod):
        raise SpecificationError(
            f"method must be one of {', '.join(map(repr, get_args(MapMethod)))}, got {method!r}."
        )
    pictures, present = effect.pictures()
    maps = np.full((len(pictures), *pictures.shape[2:]), np.nan)
    for row in np.flatnonzero(present):
        picture = pictures[row : row + 1]
        if method == "grad_cam":
            found = _grad_cam(effect, effect.of_row(int(row)), picture)
        else:
            found = _by_captum(method, effect.of_row(int(row)), picture)
        maps[row] = found.detach().double().cpu().numpy()
    return maps


def _grad_cam(
    effect: PictureEffect, function: Callable[[Tensor], Tensor], picture: Tensor
) -> Tensor:
    seen: list[Tensor]
    with _last_maps(effect) as seen, torch.enable_grad():
        value = function(picture.clone().requires_grad_(True))
        if not seen:
            raise UnsupportedCombinationError(
                f"{effect.label} has no layer with maps of features, which 'grad_cam' needs; use "
                "'occlusion'."
            )
        gradients = torch.autograd.grad(value.sum(), seen)
    total = picture.new_zeros(picture.shape[2:])
    for features, gradient in zip(seen, gradients, strict=True):
        places = (features * gradient).sum(1, keepdim=True)
        size = F.interpolate(places, picture.shape[2:], mode="bilinear", align_corners=False)
        # Cells become many pixels; the sum stays.
        total += size[0, 0] * (places[0, 0].numel() / size[0, 0].numel())
    return total


@contextmanager
def _last_maps(effect: PictureEffect) -> Iterator[list[Tensor]]:
    """Inside, the last four-dimensional output of every encoder that reads the pictures."""
    seen: list[Tensor] = []
    frozen = effect._frozen
    modules: list[nn.Module] = []
    if frozen is not None:
        modules = [frozen.module]
    else:
        for network in effect.term_networks:
            at = network.inputs.index(effect.name)
            modules.append(network.encoders[at])
    handles = []
    for module in modules:
        last: dict[str, Tensor] = {}

        def keep(_: nn.Module, __: Any, output: Any, last: dict[str, Tensor] = last) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad:
                last["maps"] = output

        def take(_: nn.Module, __: Any, ___: Any, last: dict[str, Tensor] = last) -> None:
            if "maps" in last:
                seen.append(last.pop("maps"))

        convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        if convolutions:
            following = list(module.modules())
            start = max(i for i, m in enumerate(following) if m is convolutions[-1])
            leaves = [m for m in following[start:] if not list(m.children())]
            handles += [leaf.register_forward_hook(keep) for leaf in leaves]
            handles.append(module.register_forward_hook(take))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _by_captum(method: MapMethod, function: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    try:
        from captum.attr import IntegratedGradients, Occlusion
    except ImportError as error:
        raise SpecificationError(
            f"method={method!r} needs captum, which is not installed; "
            "pip install 'semistruct[explain]', or use 'grad_cam'."
        ) from error
    mean = picture.mean((2, 3), keepdim=True).expand_as(picture)
    if method == "integrated_gradients":
        found = IntegratedGradients(function).attribute(picture, mean, n_steps=_STEPS)
        return found[0].sum(0)
    channels, height, width = picture.shape[1:]
    side = max(1, round(min(height, width) / _WINDOWS))
    step = max(1, side // 2)
    with torch.no_grad():
        found = Occlusion(function).attribute(
            picture,
            strides=(channels, step, step),
            sliding_window_shapes=(channels, side, side),
            baselines=mean,
        )
    return found[0, 0]
