"""Small fitted models to draw, and what every figure must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from _fits import fit_formula, make_problem

from semistruct.blueprint import InputPlan, NetworkBlueprint, Slot, TermPlan
from semistruct.columns import ImageArray
from semistruct.fitting.calibration import Calibration
from semistruct.fitting.deep import fit_deep, noise_scale
from semistruct.fitting.gradient import GradientSolver
from semistruct.fitting.members import DeepProblem, TrainingOptions
from semistruct.fitting.model import ModelFit
from semistruct.fitting.structured import fit_structured
from semistruct.modalities import column_reader
from semistruct.terms import cnn

__all__ = ["boxes", "check_nothing_overlaps", "deep_model", "table", "table_model", "with_gamma"]

# Pixels by which boxes of neighbours may touch: text boxes are rounded up to whole pixels.
TOUCHING = 2.0

FORMULAS = {
    "no smooths": {"loc": "sex * zone + dose"},
    "only a constant": {"loc": "1"},
    "only random effects": {"loc": "re(ward)"},
    "smooth on the scale": {"loc": "sex + s(area)", "scale": "s(age)"},
    "by groups": {"loc": "s(age, by=zone)"},
    "by a number": {"loc": "s(age, by=dose)"},
    "surface": {"loc": "te(lon, lat) + sex"},
    "surfaces by groups": {"loc": "s(lon, lat, bs='tp', k=12, by=sex)"},
    "many groups": {"loc": "re(plot) + s(age, by=ward, k=5)"},
    "everything": {
        "loc": "sex + dose + zone + s(area) + s(age, by=zone) + te(lon, lat) + re(ward)",
        "scale": "sex + s(age)",
    },
}
N_PANELS = {
    "no smooths": 1,
    "only a constant": 2,
    "only random effects": 1,
    "smooth on the scale": 3,
    "by groups": 1,
    "by a number": 1,
    "surface": 2,
    "surfaces by groups": 2,
    "many groups": 2,
    "everything": 7,
}


def table(n: int = 250) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "area": rng.gamma(4, 50, n),
            "age": rng.uniform(18, 80, n),
            "lon": rng.normal(size=n),
            "lat": rng.normal(size=n),
            "dose": rng.uniform(0, 2, n),
            "sex": rng.choice(["f", "m"], n),
            "zone": rng.choice(["centre", "north", "south"], n),
            "ward": rng.choice([f"ward {j:02d}" for j in range(12)], n),
            "plot": rng.choice([f"plot {j:03d}" for j in range(60)], n),
        }
    )


def table_model(case: str, size: float = 1.0) -> ModelFit:
    frame = table()
    rng = np.random.default_rng(4)
    y = np.sin(frame["area"] / 60) + 0.3 * (frame["sex"] == "m") + rng.normal(size=len(frame))
    problem, marginal = fit_formula(FORMULAS[case], frame, size * y.to_numpy())
    return ModelFit(("", ""), problem, marginal, frame=frame)


def deep_model(shape: tuple[int, int, int] = (1, 8, 8), n: int = 90) -> ModelFit:
    """A model of a picture whose scores vary; the last row has no picture."""
    rng = np.random.default_rng(5)
    light = rng.uniform(size=n)
    pixels = rng.uniform(0, 80, (n, *shape)) + 150 * light[:, None, None, None]
    frame = table(n)
    pictures: list[np.ndarray | None] = list(pixels.astype("uint8"))
    pictures[-1] = None
    frame["ct"] = ImageArray(pictures)
    y = 0.02 * frame["age"].to_numpy() + 4 * light + rng.normal(size=n) * 0.3
    problem = make_problem({"loc": "sex + s(age)"}, frame, y, "normal")
    start = fit_structured(problem)
    reader = column_reader(frame, "ct", image=True)
    plan = TermPlan((InputPlan("ct", "cnn", {}, reader.in_shape),))
    blueprint = NetworkBlueprint({"ct": reader}, (plan,), (Slot(0, cnn("ct"), 0),))
    scale = noise_scale(problem, start, blueprint.slots)
    deep = fit_deep(
        DeepProblem(problem, start, blueprint, blueprint.read(frame), scale),
        GradientSolver(TrainingOptions(max_epochs=4)),
        np.arange(n),
        n_folds=2,
        random_state=np.random.SeedSequence(0),
    )
    return ModelFit(("", ""), problem, start, blueprint=blueprint, deep=deep, frame=frame)


def with_gamma(fit: ModelFit, gamma: float) -> ModelFit:
    """The model with this slope of its first deep term; zero closes the gate."""
    old = fit.deep.calibration
    found = old.table.assign(slope=gamma, kept=gamma > 0)
    slopes = np.full(old.gamma.shape, gamma)
    return replace(fit, deep=replace(fit.deep, calibration=Calibration(slopes, found)))


def boxes(figure):
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    return [ax.get_tightbbox(renderer) for ax in figure.axes]


def check_nothing_overlaps(figure):
    found = boxes(figure)
    for i, one in enumerate(found):
        assert one.x0 > -TOUCHING and one.y0 > -TOUCHING
        assert one.x1 < figure.bbox.x1 + TOUCHING and one.y1 < figure.bbox.y1 + TOUCHING
        for other in found[:i]:
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert width < TOUCHING or height < TOUCHING
