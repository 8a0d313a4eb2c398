"""What a response may be, in words and as a check."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from semistruct.exceptions import DataError

__all__ = ["BINARY", "COUNTS", "POSITIVE", "REAL", "UNIT_INTERVAL", "Support"]


@dataclass(frozen=True)
class Support:
    """The set of responses a family allows.

    Attributes
    ----------
    words : str
        The set in words, for error messages.
    contains : callable
        ``(n,)`` float64 array of finite numbers -> ``(n,)`` booleans.
    hint : str
        What to try when a response is outside; may be empty.
    lower, upper : float
        Its ends: a response is known to exceed the one and not to exceed the other.
    """

    words: str
    contains: Callable[[np.ndarray], np.ndarray]
    hint: str = ""
    lower: float = -math.inf
    upper: float = math.inf

    def check(self, y: Any, family: str) -> np.ndarray:
        """The response as a float64 array ``(n,)``.

        Parameters
        ----------
        y : array_like (n,)
            Numbers or booleans; a pandas Series is taken by position.
        family : str
            Who asks, for the message.

        Raises
        ------
        DataError
            If ``y`` is not one-dimensional and numeric, is missing somewhere, or leaves the set.

        Examples
        --------
        >>> POSITIVE.check([1.0, -2.0], "Gamma")
        Traceback (most recent call last):
        ...
        semistruct.exceptions.DataError: the response is -2.0 in row 1, but Gamma needs ...
        """
        try:
            values = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the response must be numeric for {family} ({self.words}), got values of type "
                f"{np.asarray(y).dtype}: {error}."
            ) from error
        if values.ndim != 1:
            raise DataError(
                f"the response must be one-dimensional for {family}, got shape {values.shape}."
            )
        missing = np.flatnonzero(np.isnan(values))
        if missing.size:
            raise DataError(
                f"the response is missing in row {missing[0]} ({missing.size} in all); "
                "drop those rows before fitting."
            )
        infinite = ~np.isfinite(values)
        outside = np.flatnonzero(infinite | ~self.contains(np.where(infinite, 0.0, values)))
        if outside.size:
            others = f" ({outside.size} rows in all)" if outside.size > 1 else ""
            raise DataError(
                f"the response is {values[outside[0]]!s} in row {outside[0]}{others}, but {family} "
                f"needs {self.words}.{' ' + self.hint if self.hint else ''}"
            )
        return values


REAL = Support("finite numbers", lambda y: np.isfinite(y))
UNIT_INTERVAL = Support(
    "numbers strictly between 0 and 1",
    lambda y: (y > 0) & (y < 1),
    "Shares of exactly 0 or 1 need a family that gives them a probability.",
    lower=0.0,
    upper=1.0,
)
POSITIVE = Support("positive numbers", lambda y: y > 0, lower=0.0)
COUNTS = Support(
    "non-negative whole numbers",
    lambda y: (y >= 0) & (y == np.floor(y)),
    "A rate is modelled by its count and an offset.",
)
BINARY = Support(
    "0 and 1, or False and True",
    lambda y: (y == 0) | (y == 1),
    "Recode a two-valued column to 0 and 1.",
)
