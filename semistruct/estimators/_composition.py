"""Estimators made of named parts: nested parameters, and no half-fitted state."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from lifelines.fitters import RegressionFitter
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, RegressorTags, Tags

from semistruct.estimators._fitting import WholeFit
from semistruct.exceptions import SpecificationError

__all__ = ["Composition", "Kind", "nested_params", "set_nested"]

Kind = Literal["regressor", "classifier", "survival"]


def nested_params(part: Any) -> dict[str, Any]:
    """Parameters of a part, also of a fitter of lifelines; empty where it has none.

    Examples
    --------
    >>> from lifelines import CoxPHFitter
    >>> nested_params(CoxPHFitter(penalizer=0.5))["penalizer"]
    0.5
    """
    if isinstance(part, type):
        return {}
    if isinstance(part, RegressionFitter):
        names = list(inspect.signature(type(part).__init__).parameters)[1:]
        return {name: vars(part)[name] for name in names if name in vars(part)}
    if not callable(getattr(part, "get_params", None)):
        return {}
    return dict(part.get_params())


def set_nested(part: Any, params: Mapping[str, Any]) -> None:
    """Set parameters of a part, as ``set_params`` does.

    Raises
    ------
    SpecificationError
        If it has no such parameter.
    """
    known = nested_params(part)
    for name in params:
        if name.split("__")[0] not in known:
            raise SpecificationError(
                f"{type(part).__name__} has no parameter {name!r}; it has "
                f"{', '.join(sorted(n for n in known if '__' not in n)) or 'none'}."
            )
    if isinstance(part, RegressionFitter):
        for name, value in params.items():
            setattr(part, name, value)
    else:
        part.set_params(**params)


class Composition(WholeFit, BaseEstimator):
    """An estimator whose parts have names: ``composition.set_params(table__alpha=1.0)``.

    Class attributes
    ----------------
    _parts_in : str
        Parameter that maps names to parts.
    """

    _parts_in: ClassVar[str]

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None) -> Any:
        """Fit all parts.

        Parameters
        ----------
        X : DataFrame
            Tabular columns and columns of pictures.
        y : array-like of n rows
            The response: numbers, classes or :class:`~semistruct.Surv`.
        sample_weight : (n,) array-like, optional
            Case weights; a row of weight zero behaves as if it were absent.
        groups : (n,) array-like, optional
            Subjects, whose rows stay in one fold.

        Raises
        ------
        SpecificationError, UnsupportedCombinationError
            If the parts or options make no sense, alone or together.
        DataError
            If the table or the response cannot be used. The estimator is then not fitted.
        """
        return self._fit_whole(X, y, sample_weight, groups)

    @abstractmethod
    def _kind(self) -> Kind:
        """What is predicted; also known before fitting."""

    def _part_that_predicts(self) -> Any:
        """The unfitted part whose predictions are passed on as they are; else the model itself."""
        return self

    def _passed_on(self, X: Any) -> tuple[Any, Any]:
        """That part, fitted, and the table as it sees it."""
        return self, X

    def _named(self) -> dict[str, Any]:
        parts = getattr(self, self._parts_in)
        return dict(parts) if isinstance(parts, Mapping) else {}

    def _check_names(self) -> None:
        parts = getattr(self, self._parts_in)
        if not isinstance(parts, Mapping) or not parts:
            raise SpecificationError(
                f"{self._parts_in} must map names to models or transformers, such as "
                f"{{'table': ..., 'image': ...}}; got {parts!r}."
            )
        taken = set(super().get_params(deep=False))
        for name in parts:
            if not isinstance(name, str) or "__" in name or name in taken:
                raise SpecificationError(
                    f"{name!r} cannot be a name in {self._parts_in}: names are text without '__' "
                    f"that differ from the parameters {', '.join(sorted(taken))}."
                )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, with ``deep`` those of the parts as ``<name>__<parameter>``.

        Parameters
        ----------
        deep : bool
        """
        own = super().get_params(deep=False)
        if not deep:
            return own
        found = dict(own)
        for name, part in {**own, **self._named()}.items():
            found[name] = part
            found |= {f"{name}__{key}": value for key, value in nested_params(part).items()}
        return found

    def set_params(self, **params: Any) -> Any:
        """Set parameters, parts by their names, and parameters of parts.

        Parameters
        ----------
        **params
            Such as ``image=other`` or ``image__random_state=1``.
        """
        own = set(super().get_params(deep=False))
        super().set_params(**{name: value for name, value in params.items() if name in own})
        parts = self._named()
        nested: dict[str, dict[str, Any]] = defaultdict(dict)
        replaced = {}
        for name, value in params.items():
            first, found, rest = name.partition("__")
            if found and (first in parts or first in own):
                nested[first][rest] = value
            elif name in parts:
                replaced[name] = value
            elif name not in own:
                raise SpecificationError(
                    f"{type(self).__name__} has no parameter {name!r}; it has "
                    f"{', '.join(sorted(own | set(parts)))}."
                )
        if replaced:
            # A new mapping: the old one may belong to somebody else.
            setattr(self, self._parts_in, {**parts, **replaced})
            parts = self._named()
        for first, values in nested.items():
            set_nested(parts[first] if first in parts else getattr(self, first), values)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        kind = self._kind()
        if kind == "classifier":
            tags.estimator_type, tags.classifier_tags = kind, ClassifierTags()
        elif kind == "regressor":
            tags.estimator_type, tags.regressor_tags = kind, RegressorTags()
        tags.target_tags.required = True
        return tags
