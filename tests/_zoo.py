"""Small studies for the models of the literature, and one fit of each for all tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import semistruct as ss
from semistruct import zoo

__all__ = ["CASES", "QUICK", "Case", "fitted", "place_study", "survival_study"]

N_TRAIN = 200
QUICK = {
    "n_folds": 2,
    "n_repeats": 1,
    "max_epochs": 15,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "progress": False,
    "random_state": 0,
}
# Tiny pictures need no augmentation and few channels.
SMALL = {
    "channels": (8,),
    "latent_dim": 4,
    "dropout": 0.0,
    "shift": 0.0,
    "rotation": 0.0,
    "hflip": False,
}


def brightness_pictures(values: np.ndarray, rng: np.random.Generator) -> ss.ImageArray:
    """Pictures 1 x 6 x 6 whose left half is as bright as ``values (n,)``, 0 to 1, with noise."""
    pixels = rng.uniform(0, 40, (len(values), 1, 6, 6))
    pixels[..., :3] += 200 * values[:, None, None, None]
    return ss.ImageArray(pixels.astype(np.uint8))


@cache
def survival_study(n: int = 2 * N_TRAIN) -> tuple[pd.DataFrame, ss.Surv]:
    """Two views of one hidden cause, a picture and a vector, and two columns."""
    rng = np.random.default_rng(0)
    hidden, age, bmi = rng.random(n), rng.normal(size=n), rng.normal(size=n)
    weights = rng.normal(size=12)
    genes = (hidden[:, None] - 0.5) * weights + rng.normal(0, 0.5, (n, 12))
    frame = pd.DataFrame(
        {
            "age": age,
            "bmi": bmi,
            "sex": rng.choice(["f", "m"], n),
            "ct": brightness_pictures(hidden, rng),
            "rna": ss.TensorArray(genes.astype(np.float32)),
        }
    )
    risk = 0.7 * age + 3 * (hidden - 0.5) + bmi**2 / 2
    time, end = rng.exponential(np.exp(-risk)), rng.uniform(0.5, 3, n)
    y = ss.Surv(np.minimum(time, end), time <= end)
    assert 0.3 < y.event.mean() < 0.9
    return frame, y


@cache
def place_study(n: int = 2 * N_TRAIN) -> pd.DataFrame:
    """Houses with a picture of the street and one from the air, and where they stand."""
    rng = np.random.default_rng(1)
    lon, lat, street, air = rng.random((4, n))
    year, area, rooms = rng.uniform(2000, 2010, n), rng.normal(size=n), rng.normal(size=n)
    roofs = np.zeros((n, 12, 12), np.uint8)
    houses = rng.integers(0, 5, n)
    for row, count in enumerate(houses):
        for k in range(count):
            width = rng.integers(2, 6)
            roofs[row, 3 * (k // 2) : 3 * (k // 2) + 2, 6 * (k % 2) : 6 * (k % 2) + width] = 1
    frame = pd.DataFrame(
        {
            "lon": lon,
            "lat": lat,
            "year": year,
            "area": area,
            "rooms": rooms,
            "street": brightness_pictures(street, rng),
            "air": brightness_pictures(air, rng),
            "roofs": ss.ImageArray(roofs[:, None]),
        }
    )
    beauty = street + air
    surface = np.sin(4 * lon) * np.cos(3 * lat)
    noise = rng.normal(0, 0.3, n)
    frame["surface"] = surface
    frame["light"] = np.where(street > 0.5, "bright", "dark")
    frame["price"] = 0.5 * area + 0.3 * rooms + 1.5 * beauty + noise
    frame["yield"] = surface + 0.05 * (year - 2005) + street + noise
    frame["income"] = 0.4 * houses + 0.3 * area + noise
    level = np.digitize(3 * street + 2 * air + noise, [1.5, 2.5, 3.5])
    frame["decile"] = pd.Categorical(np.array(list("abcd"))[level], ordered=True)
    frame["rich"] = np.where(0.8 * area + area * rooms + noise > 0, "yes", "no")
    return frame


@dataclass(frozen=True)
class Case:
    """A recipe with its columns, and the study that it is for."""

    make: Callable[..., Any]
    columns: tuple[str, ...]
    options: dict[str, Any]
    response: str | None = None  # None is follow-up

    def model(self, **options: Any) -> Any:
        return self.make(*self.columns, **{**QUICK, **self.options, **options})

    def study(self) -> tuple[pd.DataFrame, Any]:
        if self.response is None:
            return survival_study()
        frame = place_study()
        return frame, frame[self.response]

    def halves(self) -> tuple[pd.DataFrame, Any, pd.DataFrame, Any]:
        frame, y = self.study()
        train, test = slice(0, N_TRAIN), slice(N_TRAIN, None)
        return frame[train], y[train], frame[test], y[test]


FUSED = {"network": {**SMALL, "hidden": (16,)}, "batch_size": 32}

CASES = {
    "cheerla_gevaert": Case(zoo.cheerla_gevaert, ("ct", "rna"), FUSED | {"max_epochs": 30}),
    "concat_ae": Case(zoo.concat_ae, ("ct", "rna"), FUSED),
    "cross_ae": Case(zoo.cross_ae, ("ct", "rna"), FUSED),
    "deep_corr_surv": Case(zoo.deep_corr_surv, ("ct", "rna"), FUSED),
    "jean_transfer": Case(
        zoo.jean_transfer, ("street",), {"proxy": "light", "network": SMALL}, "price"
    ),
    "deep_conv_surv": Case(zoo.deep_conv_surv, ("ct",), {"network": SMALL}),
    "deep_pamm": Case(
        zoo.deep_pamm,
        ("ct",),
        {"table": "age", "baseline": ss.s("tend", k=5), "cuts": 6, "network": SMALL},
    ),
    "deep_surv": Case(zoo.deep_surv, ("age", "bmi"), {"network": {"hidden": (16,)}}),
    "law_paige_russell": Case(
        zoo.law_paige_russell,
        ("street", "air"),
        {"table": ["area", "rooms"], "network": SMALL},
        "price",
    ),
    "multi_surv": Case(
        zoo.multi_surv,
        ("ct", "rna"),
        {
            "cuts": 5,
            "network": {**SMALL, "hidden": (16,)},
            "learning_rate": 3e-3,
            "max_epochs": 30,
            "n_folds": 3,
        },
    ),
    "semi_structured": Case(
        zoo.semi_structured,
        ("street",),
        {"table": {"loc": "area + rooms", "scale": "area"}, "network": SMALL},
        "price",
    ),
    "sirko_masks": Case(zoo.sirko_masks, ("roofs",), {"table": "area"}, "income"),
    "suel_ordinal": Case(zoo.suel_ordinal, ("street", "air"), {"network": SMALL}, "decile"),
    "wide_and_deep": Case(
        zoo.wide_and_deep,
        ("area", "rooms"),
        {"network": {"hidden": (16,)}, "max_epochs": 60},
        "rich",
    ),
    "wide_and_deep_survival": Case(
        zoo.wide_and_deep_survival, ("ct",), {"table": "age + sex", "network": SMALL}
    ),
    "you_crop_yield": Case(zoo.you_crop_yield, ("street",), {"network": SMALL}, "yield"),
}


@cache
def fitted(name: str) -> Any:
    """The model of a case, fitted to the first half of its study."""
    train, y, _, _ = CASES[name].halves()
    return CASES[name].model().fit(train, y)
