"""What models of other packages need to speak scikit-learn's language."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from sklearn.utils import ClassifierTags, RegressorTags, Tags

from semistruct.exceptions import DataError, UnsupportedCombinationError
from semistruct.responses import Surv
from semistruct.terms.measurement import tabular_columns

__all__ = ["one_cause", "tabular", "tagged", "two_classes"]


def one_cause(y: Surv) -> Surv:
    """Refuse competing causes."""
    if y.n_causes > 1:
        raise UnsupportedCombinationError(
            f"the response has {y.n_causes} competing causes; take one, as y.of_cause(1)."
        )
    return y


def two_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two classes, and a response of zeros and ones."""
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) != 2:
        raise DataError(f"a response of two classes is needed, got {len(classes)}: {classes[:5]}.")
    return classes, codes.astype(float)


def tabular(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns with one value per row."""
    return cast(pd.DataFrame, frame[list(tabular_columns(frame))])


def tagged(tags: Tags, is_classifier: bool) -> Tags:
    """Tags of a regressor or classifier that needs a response."""
    if is_classifier:
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
    else:
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
    tags.target_tags.required = True
    return tags
