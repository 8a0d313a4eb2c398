"""Models of the literature as short recipes: columns by name in, a configured estimator out.

Every recipe is a function ``recipe(*columns, table=..., network=..., **options)``: the columns that
networks read, the structured part as a piece of a formula or a list of names, options of the
networks, and options of the estimator, which replace those of the recipe. What it returns is not
fitted and behaves like any other estimator: ``clone``, ``summary``, ``save``. Every docstring says
what is as published, what is changed, and why.

Examples
--------
>>> from semistruct import zoo
>>> zoo.wide_and_deep_survival("ct", table="age + s(bmi)", n_folds=3)
CoxPH(formula=age + s(bmi) + cnn(ct), n_folds=3)
>>> sorted(zoo.MODELS)[:3]
['cheerla_gevaert', 'concat_ae', 'cross_ae']
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from semistruct.zoo.cox import deep_conv_surv, deep_surv, wide_and_deep_survival
from semistruct.zoo.hazards import deep_pamm, multi_surv
from semistruct.zoo.modalities import cheerla_gevaert, concat_ae, cross_ae, deep_corr_surv
from semistruct.zoo.places import (
    jean_transfer,
    law_paige_russell,
    sirko_masks,
    suel_ordinal,
    you_crop_yield,
)
from semistruct.zoo.regression import semi_structured, wide_and_deep

__all__ = [
    "MODELS",
    "cheerla_gevaert",
    "concat_ae",
    "cross_ae",
    "deep_conv_surv",
    "deep_corr_surv",
    "deep_pamm",
    "deep_surv",
    "jean_transfer",
    "law_paige_russell",
    "multi_surv",
    "semi_structured",
    "sirko_masks",
    "suel_ordinal",
    "wide_and_deep",
    "wide_and_deep_survival",
    "you_crop_yield",
]

MODELS: dict[str, Callable[..., Any]] = {
    "cheerla_gevaert": cheerla_gevaert,
    "concat_ae": concat_ae,
    "cross_ae": cross_ae,
    "deep_conv_surv": deep_conv_surv,
    "deep_corr_surv": deep_corr_surv,
    "deep_pamm": deep_pamm,
    "deep_surv": deep_surv,
    "jean_transfer": jean_transfer,
    "law_paige_russell": law_paige_russell,
    "multi_surv": multi_surv,
    "semi_structured": semi_structured,
    "sirko_masks": sirko_masks,
    "suel_ordinal": suel_ordinal,
    "wide_and_deep": wide_and_deep,
    "wide_and_deep_survival": wide_and_deep_survival,
    "you_crop_yield": you_crop_yield,
}
