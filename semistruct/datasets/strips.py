"""Images of three strips whose intensities are confounded with a covariate."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from semistruct.columns import ImageArray
from semistruct.exceptions import SpecificationError

__all__ = ["simulate_strips"]

_HEIGHT, _WIDTH = 20, 60
_CENSORED = 0.3


def simulate_strips(
    n: int = 1000,
    *,
    random_state: int | np.random.Generator | None = 0,
    family: Literal["normal", "bernoulli", "exponential"] = "normal",
) -> pd.DataFrame:
    """Images in which one strip is a distractor, one confounded and one new information.

    Parameters
    ----------
    n : int
    random_state : int, Generator or None
    family : {"normal", "bernoulli", "exponential"}
        Response: normal with standard deviation 1; a coin with that logit; survival times with
        that log hazard, of which about 30 % are censored.

    Returns
    -------
    DataFrame
        ``z``, ``image`` (an :class:`~semistruct.ImageArray` of 1 x 20 x 60, values 0 to 1) and
        ``y``, or ``time`` and ``event``. ``frame.attrs["truth"]`` holds the coefficient of ``z``
        given the image and, for the normal family, without it.

    Notes
    -----
    ``z, e1, e2, e3 ~ U(0, 1)``; the strips, side by side, have the intensities
    ``v1 = (e1 + z) / 2``, ``v2 = (e2 + z) / 2`` and ``v3 = e3``; the predictor is
    ``v2 + v3 + z``. Given the image and ``z`` the coefficient of ``z`` is 1; without the image
    ``v2`` adds its slope of 0.5 on ``z``.

    Examples
    --------
    >>> simulate_strips(3)["image"].dtype
    image[1, 20, 60; float32]
    """
    if family not in ("normal", "bernoulli", "exponential"):
        raise SpecificationError(
            f"family={family!r} is not allowed; choose from 'normal', 'bernoulli', 'exponential'."
        )
    rng = np.random.default_rng(random_state)
    z, e1, e2, e3 = rng.random((4, n))
    strips = np.stack([(e1 + z) / 2, (e2 + z) / 2, e3], axis=1).astype(np.float32)
    eta = (e2 + z) / 2 + e3 + z
    wide = np.repeat(strips, _WIDTH // 3, axis=1)[:, None, None, :]
    images = np.repeat(wide, _HEIGHT, axis=2)
    frame = pd.DataFrame({"z": z, "image": ImageArray(images)})
    if family == "normal":
        frame["y"] = eta + rng.normal(size=n)
    elif family == "bernoulli":
        frame["y"] = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    else:
        time = rng.exponential(np.exp(-eta))
        censoring = rng.exponential(1.0, n) / _censoring_rate(eta)
        frame["time"] = np.minimum(time, censoring)
        frame["event"] = time <= censoring
    truth: dict[str, object] = {"family": family, "coefficients": {"z": 1.0}}
    if family == "normal":
        truth["coefficients_marginal"] = {"z": 1.5}
    frame.attrs["truth"] = truth
    return frame


def _censoring_rate(eta: np.ndarray) -> float:
    """Rate of exponential censoring at which the expected share of censored rows is 30 %."""
    if not len(eta):
        return 1.0
    hazard = np.exp(eta)

    def excess(log_rate: float) -> float:
        rate = np.exp(log_rate)
        return float(np.mean(rate / (rate + hazard))) - _CENSORED

    return float(np.exp(brentq(excess, -20.0, 20.0)))
