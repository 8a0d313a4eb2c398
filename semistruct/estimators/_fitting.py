"""An estimator is fitted as a whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["WholeFit"]


class WholeFit(ABC):
    """A fit that leaves the estimator unfitted when it fails or is interrupted."""

    def _fit_whole(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> Any:
        """Forget what was fitted before, fit, and return the estimator."""
        self._forget()
        try:
            self._fit(X, y, sample_weight, groups)
        except BaseException:
            self._forget()
            raise
        return self

    @abstractmethod
    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        """Fit, leaving attributes that end in an underscore."""

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
