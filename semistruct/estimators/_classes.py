"""Labels of classes: their order, their numbers, their weights, and the family they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets

from semistruct.estimators._input import response_values
from semistruct.exceptions import DataError, SpecificationError, UnsupportedCombinationError
from semistruct.families import Bernoulli, Family, Ordinal, resolve_family
from semistruct.families.classes import ClassFamily

__all__ = ["Labels", "class_family", "class_weights", "find_classes", "read_labels"]

_FIX = (
    "Make it an ordered categorical, pd.Categorical(y, ['low', 'mid', 'high'], ordered=True), or "
    "name the order in the family, Ordinal(categories=('low', 'mid', 'high'))."
)


@dataclass(frozen=True)
class Labels:
    """The label of every row as given.

    Attributes
    ----------
    values : (n,) array
    missing : (n,) bool array
    order : (m,) array or None
        All categories in order, of an ordered categorical.
    """

    values: np.ndarray
    missing: np.ndarray
    order: np.ndarray | None

    def codes(self, classes: np.ndarray) -> np.ndarray:
        """Numbers of the classes, ``(n,)`` floats; NaN where a label is missing.

        Raises
        ------
        DataError
            If a label is none of ``classes``.
        """
        found = pd.Index(classes).get_indexer(pd.Index(self.values))
        codes = np.where(self.missing, np.nan, found)
        unknown = np.flatnonzero(codes < 0)
        if unknown.size:
            row = unknown[0]
            raise DataError(
                f"the label {_listed(self.values[row : row + 1])} in row {row} "
                f"({unknown.size} such rows in all) is none of the classes of the fit: "
                f"{_listed(classes)}."
            )
        return codes

    def known(self, classes: np.ndarray) -> np.ndarray:
        """Numbers of the classes, ``(n,)``; -1 of a label that is none of them.

        Raises
        ------
        DataError
            If a label is missing.
        """
        if self.missing.any():
            raise DataError(
                f"the label in row {self.missing.argmax()} is missing ({self.missing.sum()} in "
                "all); leave out such rows."
            )
        return pd.Index(classes).get_indexer(pd.Index(self.values))


def read_labels(y: Any, n: int) -> Labels:
    """The labels of ``n`` rows from what users pass.

    Raises
    ------
    DataError
        If there are none, another number of rows, several columns, or labels of mixed types.
    ValueError
        If they are continuous numbers, in scikit-learn's words.
    """
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    dtype = getattr(y, "dtype", None)
    order = None
    if isinstance(dtype, pd.CategoricalDtype):
        order = np.asarray(dtype.categories) if dtype.ordered else None
    if pd.api.types.is_extension_array_dtype(dtype):
        y = np.asarray(y, dtype=object)  # whole numbers stay whole beside missing ones
    values = response_values(y, n)
    missing = np.asarray(pd.isna(values), dtype=bool)
    if values.dtype == object and not missing.all():
        known = pd.Series(values[~missing]).infer_objects().to_numpy()
        kinds = sorted({type(value).__name__ for value in known}) if known.dtype == object else []
        if len(kinds) > 1:
            raise DataError(f"y has labels of several types ({', '.join(kinds)}); use one.")
        if not missing.any():
            values = known
    return Labels(values, missing, order)


def find_classes(labels: Labels, weight: np.ndarray, family: str | Family) -> np.ndarray:
    """The classes of the rows of positive weight, in the order that the model gives them.

    That of the family's ``categories`` where these are names, of an ordered categorical, else
    sorted.

    Raises
    ------
    DataError
        If there is one class only, or one that the family does not have.
    ValueError
        If the labels are continuous numbers, in scikit-learn's words.
    """
    used = labels.values[(weight > 0) & ~labels.missing]
    if not used.size:
        raise DataError("y has no label in any row of positive weight.")
    if used.dtype == object:
        used = pd.Series(used).infer_objects().to_numpy()
    if used.dtype.kind == "f" and not np.isfinite(used).all():
        raise DataError("Input y contains infinity; labels are text or whole numbers.")
    check_classification_targets(used)
    classes = np.unique(used)
    if labels.order is not None:
        classes = labels.order[np.isin(labels.order, classes)]
    if len(classes) < 2:
        raise DataError(f"y has one class only, {_listed(classes)}; a classifier needs two.")
    names = getattr(family, "categories", None)
    if isinstance(names, tuple):
        unknown = [label for label in classes if str(label) not in names]
        if unknown:
            raise DataError(
                f"y has the label {_listed(np.array(unknown[:1]))}, which {family!r} does not have "
                "among its categories."
            )
        classes = classes[np.argsort([names.index(str(label)) for label in classes])]
    return classes


def class_family(family: Any, classes: np.ndarray, ordered: bool) -> Family:
    """The family asked for, with the names of the classes.

    Parameters
    ----------
    family : "auto", str or Family
    classes : (C,) array
    ordered : bool
        Whether they come from an ordered categorical.

    Raises
    ------
    SpecificationError
        If an order is needed that the labels do not have.
    DataError
        If the family is of two classes and there are more.
    UnsupportedCombinationError
        If the family is none of classes.
    """
    if isinstance(family, str) and family == "auto":
        family = "bernoulli" if len(classes) == 2 else "ordinal" if ordered else "categorical"
    found = resolve_family(family)
    if isinstance(found, Bernoulli):
        if len(classes) > 2:
            raise DataError(
                f"y has {len(classes)} classes, {_listed(classes)}, and Bernoulli is of two; use "
                "family='categorical' or 'ordinal'."
            )
        return found
    if not isinstance(found, ClassFamily):
        raise UnsupportedCombinationError(
            f"{found!r} is no distribution of classes; a classifier takes 'bernoulli', "
            "'categorical' or 'ordinal'. Numbers are for SemiStructuredRegressor."
        )
    if isinstance(found, Ordinal):
        has_order = ordered or isinstance(found.categories, tuple)
        if not has_order and not np.issubdtype(classes.dtype, np.number) and classes.dtype != bool:
            raise SpecificationError(
                f"family='ordinal' needs an order of the classes, and {_listed(classes)} have none "
                f"but the alphabet's. {_FIX}"
            )
    return replace(found, categories=tuple(str(label) for label in classes))


def class_weights(
    class_weight: Any, classes: np.ndarray, codes: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Factors ``(n,)`` of the case weights.

    Parameters
    ----------
    class_weight : None, "balanced" or mapping from labels to positive numbers
        Classes that a mapping leaves out have weight one.
    classes : (C,) array
    codes : (n,) array
        NaN where the label is missing.
    weight : (n,) array
        Case weights: "balanced" gives all classes the same sum and keeps the total.

    Raises
    ------
    SpecificationError
        If it is nothing of these, or names no class.
    """
    factors = np.ones(len(classes))
    known = ~np.isnan(codes)
    at = codes[known].astype(int)
    if isinstance(class_weight, str) and class_weight == "balanced":
        sums = np.bincount(at, weights=weight[known], minlength=len(classes))
        factors = sums.sum() / (len(classes) * sums)
    elif isinstance(class_weight, Mapping):
        for label, value in class_weight.items():
            found = np.flatnonzero(classes == label)
            if not found.size:
                raise SpecificationError(
                    f"class_weight names {label!r}, which is none of the classes "
                    f"{_listed(classes)}."
                )
            if not (np.isfinite(value) and value > 0):
                raise SpecificationError(
                    f"class_weight must be positive numbers, got {value!r} for {label!r}."
                )
            factors[found] = value
    elif class_weight is not None:
        raise SpecificationError(
            "class_weight must be None, 'balanced' or a mapping from labels to positive numbers, "
            f"got {class_weight!r}."
        )
    rows = np.ones(len(codes))
    rows[known] = factors[at]
    return rows


def _listed(classes: np.ndarray) -> str:
    shown = [repr(label) for label in classes.tolist()]
    return ", ".join(shown if len(shown) <= 10 else [*shown[:9], f"... ({len(shown)} in all)"])
