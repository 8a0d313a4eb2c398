"""Real handwriting with a simulated outcome: the truth is known."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from semistruct.columns import ImageArray
from semistruct.exceptions import SpecificationError

__all__ = ["bmi_effect", "simulate_digits", "true_contributions"]

INTERCEPT_AT_60 = 0.5
AGE = 0.03
MALE = 0.4
SCALE = 0.5
IMAGE = 1.25
CENTER_SD = 0.4
N_CENTERS = 12
AGES = (40.0, 80.0)

_MIDDLE_AGE = 60.0
_GREY_LEVELS = 15  # scikit-learn's pixels are 0 to 16
_HIGH_LOGIT = -0.4
_AGE_LOGIT = 0.06  # of a high digit, per year: pictures know the age


def bmi_effect(bmi: Any) -> np.ndarray:
    """Simulated effect of the body mass index, not centred: a dip near 22, then a slow rise.

    Examples
    --------
    >>> bmi_effect([22.0, 27.0, 35.0]).round(2)
    array([-1.2 , -0.21,  0.32])
    """
    bmi = np.asarray(bmi, dtype=float)
    return 0.04 * (bmi - 27.0) - np.exp(-(((bmi - 22.0) / 4.0) ** 2))


def simulate_digits(
    n: int = 1500,
    *,
    random_state: int | np.random.Generator | None = 0,
    family: Literal["normal", "lognormal", "poisson"] = "normal",
) -> pd.DataFrame:
    """A study with one picture per person: handwriting is real, everything else is simulated.

    Parameters
    ----------
    n : int
        Number of rows. There are 1797 pictures; when those of a kind are used up they repeat, and
        then ``frame["digit"].array.content_keys()`` tells which rows belong together.
    random_state : int, Generator or None
    family : {"normal", "lognormal", "poisson"}
        Distribution of the response given the predictor.

    Returns
    -------
    DataFrame
        ``age`` (40 to 80), ``sex``, ``bmi``, ``center`` (12 of them), ``digit`` (an
        :class:`~semistruct.ImageArray` of 1 x 8 x 8) and the response ``y``. The truth is in
        ``frame.attrs["truth"]``, a dictionary of plain numbers: ``coefficients`` given the
        picture, ``coefficients_marginal`` without it (not for counts), ``scale``, ``image_effect``
        by digit, ``center``, ``center_sd``, and ``bmi_mean``, by which :func:`bmi_effect` is
        centred.

    Notes
    -----
    The predictor is ``Intercept + 0.03 age + 0.4 [male] + f(bmi) + b_center + h(digit)``, where
    ``h`` is 1.25 for 6, 7, 8, 9 and 0 for the others, centred over the rows as ``f`` is, and
    ``b_center ~ N(0, 0.4^2)``, not centred: the intercept is that of all centers there could be.
    ``y`` is normal around it with standard deviation 0.5, lognormal with the same, or Poisson
    with that log rate. High digits are more frequent at high age, so the effect of age given the
    picture differs from that without it.

    Examples
    --------
    >>> frame = simulate_digits(200)
    >>> frame.columns.tolist()
    ['age', 'sex', 'bmi', 'center', 'digit', 'y']
    >>> frame.attrs["truth"]["coefficients"]["age"]
    0.03
    """
    if family not in ("normal", "lognormal", "poisson"):
        raise SpecificationError(
            f"family={family!r} is not allowed; choose from 'normal', 'lognormal', 'poisson'."
        )
    rng = np.random.default_rng(random_state)
    age = rng.uniform(*AGES, n)
    is_male = rng.random(n) < 0.5
    bmi = np.clip(rng.normal(27.0, 4.5, n), 16.0, 42.0)
    center = rng.integers(N_CENTERS, size=n)
    center_effects = rng.normal(0.0, CENTER_SD, N_CENTERS)
    is_high = rng.random(n) < _probability_high(age)
    pixels, labels = _handwriting()
    chosen = _draw_pictures(labels > 5, is_high, rng)

    effect = IMAGE * (labels[chosen] > 5)
    image_mean = float(effect.mean()) if n else 0.0
    bmi_mean = float(bmi_effect(bmi).mean()) if n else 0.0
    eta = (
        INTERCEPT_AT_60
        + AGE * (age - _MIDDLE_AGE)
        + MALE * is_male
        + bmi_effect(bmi)
        - bmi_mean
        + center_effects[center]
        + effect
        - image_mean
    )
    names = [f"c{k:02d}" for k in range(1, N_CENTERS + 1)]
    frame = pd.DataFrame(
        {
            "age": age,
            "sex": pd.Categorical.from_codes(is_male.astype(int), ["female", "male"]),
            "bmi": bmi,
            "center": pd.Categorical.from_codes(center, names),
            "digit": ImageArray(pixels[chosen]),
            "y": _respond(eta, family, rng),
        }
    )
    intercept = round(INTERCEPT_AT_60 - AGE * _MIDDLE_AGE, 12)
    coefficients = {"Intercept": intercept, "age": AGE, "sex[T.male]": MALE}
    truth: dict[str, Any] = {
        "family": family,
        "coefficients": coefficients,
        "image_effect": {str(d): IMAGE * (d > 5) - image_mean for d in range(10)},
        "center": dict(zip(names, center_effects.tolist(), strict=True)),
        "center_sd": CENTER_SD,
        "bmi_mean": bmi_mean,
    }
    if family != "poisson":
        slope = _image_slope_of_age()
        truth["scale"] = SCALE
        truth["coefficients_marginal"] = {
            "Intercept": intercept - slope * _MIDDLE_AGE,
            "age": AGE + slope,
            "sex[T.male]": MALE,
        }
    frame.attrs["truth"] = truth
    return frame


def true_contributions(frame: pd.DataFrame) -> pd.DataFrame:
    """What each term truly adds to the predictor of each row of :func:`simulate_digits`.

    Parameters
    ----------
    frame : DataFrame
        The simulated table or any selection of its rows.

    Returns
    -------
    DataFrame
        ``Intercept, age, sex, bmi, center, digit``; their sum is the predictor. Indexed as
        ``frame``.
    """
    truth = frame.attrs["truth"]
    coefficients = truth["coefficients"]
    pixels, labels = _handwriting()
    keys = ImageArray(pixels).content_keys()
    label_of = dict(zip(keys, labels.tolist(), strict=True))
    digits = [str(label_of[key]) for key in frame["digit"].array.content_keys()]
    return pd.DataFrame(
        {
            "Intercept": coefficients["Intercept"],
            "age": coefficients["age"] * frame["age"],
            "sex": coefficients["sex[T.male]"] * (frame["sex"] == "male"),
            "bmi": bmi_effect(frame["bmi"]) - truth["bmi_mean"],
            "center": [truth["center"][name] for name in frame["center"]],
            "digit": [truth["image_effect"][digit] for digit in digits],
        },
        index=frame.index,
    )


def _handwriting() -> tuple[np.ndarray, np.ndarray]:
    bunch = load_digits()
    pixels = (bunch.images * _GREY_LEVELS).astype(np.uint8)[:, None]
    return pixels, np.asarray(bunch.target)


def _probability_high(age: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-_HIGH_LOGIT - _AGE_LOGIT * (age - _MIDDLE_AGE)))


def _draw_pictures(
    picture_is_high: np.ndarray, is_high: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A picture of the wanted kind per row; each is used once before any is used again."""
    chosen = np.zeros(len(is_high), dtype=np.intp)
    for kind in (False, True):
        pool = np.flatnonzero(picture_is_high == kind)
        rows = np.flatnonzero(is_high == kind)
        rounds = -(-len(rows) // len(pool))
        drawn = [rng.permutation(pool) for _ in range(rounds)]
        chosen[rows] = np.concatenate([*drawn, pool[:0]])[: len(rows)]
    return chosen


def _image_slope_of_age() -> float:
    """Least-squares slope of the image effect on age in the population."""
    age = np.linspace(*AGES, 20001)
    return float(IMAGE * np.polyfit(age - _MIDDLE_AGE, _probability_high(age), 1)[0])


def _respond(eta: np.ndarray, family: str, rng: np.random.Generator) -> np.ndarray:
    if family == "poisson":
        return rng.poisson(np.exp(eta))
    y = eta + SCALE * rng.normal(size=len(eta))
    return np.exp(y) if family == "lognormal" else y
