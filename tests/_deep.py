"""Small problems with deep terms, for tests of what happens below the estimators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import nn

import semistruct as ss
from semistruct.estimators._deep_terms import draw_blueprint
from semistruct.fitting.deep import noise_scale
from semistruct.fitting.members import DeepProblem
from semistruct.fitting.structured import fit_structured
from semistruct.terms import DeepTerm
from tests._fits import make_problem

__all__ = ["frozen", "make_deep_problem", "picture_table"]


def picture_table(n: int = 120, seed: int = 0) -> pd.DataFrame:
    """Tiny pictures whose left half moves ``y``, a covariate, and features ``u``."""
    rng = np.random.default_rng(seed)
    x, left = rng.normal(size=n), rng.uniform(0, 200, n)
    pixels = rng.integers(0, 40, (n, 1, 6, 6)).astype(float)
    pixels[..., :3] += left[:, None, None, None]
    features = rng.normal(size=(n, 5)).astype(np.float32)
    frame = pd.DataFrame(
        {
            "x": x,
            "group": rng.choice(list("abc"), n),
            "scan": ss.ImageArray(pixels.astype(np.uint8)),
            "u": ss.TensorArray(features),
        }
    )
    frame["y"] = x + left / 50 + features @ [1.0, -1.0, 0.5, 0.0, 0.0] + rng.normal(0, 0.3, n)
    assert frame["y"].std() > 0
    return frame


def frozen(n_features: int = 5) -> ss.nn.ModuleEncoder:
    """Features as they are, never trained."""
    return ss.nn.ModuleEncoder(nn.Identity(), (n_features,), frozen=True)


def make_deep_problem(
    frame: pd.DataFrame,
    deep: Sequence[Sequence[DeepTerm]],
    formulas: str | dict[str, str] = "x",
    family: str = "normal",
    sample_weight: np.ndarray | None = None,
    **options: object,
) -> DeepProblem:
    """The deep problem of ``frame["y"]``; ``options`` are those of ``draw_blueprint``."""
    structured = make_problem(formulas, frame, frame["y"].to_numpy(), family, sample_weight)
    start = fit_structured(structured)
    blueprint = draw_blueprint(deep, frame, **options)  # type: ignore[arg-type]
    problem = DeepProblem(
        structured, start, blueprint, blueprint.read(frame), np.ones(len(blueprint.slots))
    )
    return replace(problem, scale=noise_scale(structured, start, blueprint.slots))
