"""Regression and classification: wide and deep, semi-structured distributional regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semistruct.estimators import SemiStructuredClassifier, SemiStructuredRegressor
from semistruct.families import Family, resolve_family
from semistruct.zoo._recipe import Network, Table, configured, joint, one_each, predictor, required

__all__ = ["semi_structured", "wide_and_deep"]


def wide_and_deep(
    *columns: str, table: Table = None, network: Network = None, **options: Any
) -> SemiStructuredClassifier:
    """Wide and deep learning: logistic regression plus a perceptron of the same columns.

    Parameters
    ----------
    *columns : str
        Columns that the deep part reads.
    table : str, term or list of names, optional
        The wide part, with products that shall be memorised, ``"age + sex + age:sex"``; by default
        linear effects of ``columns``.
    network : mapping, optional
        Options of the ``mlp``.
    **options
        Of :class:`~semistruct.SemiStructuredClassifier`: several and ordered classes, too.

    Returns
    -------
    SemiStructuredClassifier
        Not fitted.

    Notes
    -----
    *As published*: a generalised linear model of columns and their products, and a perceptron whose
    last layer is added to it on the scale of the logit.

    *Changed*: the wide part is maximum likelihood, with standard errors, instead of stochastic
    gradients with an L1 penalty, and the deep part is orthogonal to it, so that coefficients are
    those of the logistic regression. Groups of many levels are indicators; no embeddings.

    References
    ----------
    Cheng et al. (2016), Wide & deep learning for recommender systems, Workshop on Deep Learning for
    Recommender Systems, 7-10.

    Examples
    --------
    >>> wide_and_deep("age", "bmi", table="age + sex").formula
    age + sex + mlp(age, bmi)
    """
    required(columns, 1, "wide_and_deep")
    wide = columns if table is None else table
    terms = predictor(wide, options, joint(columns, network, name="mlp"))
    return configured(SemiStructuredClassifier, terms, options)


def semi_structured(
    *pictures: str,
    table: Table | Mapping[str, Table] = None,
    family: str | Family = "normal",
    pictures_in: Sequence[str] | None = None,
    network: Network = None,
    **options: Any,
) -> SemiStructuredRegressor:
    """Semi-structured distributional regression: every parameter of a distribution has predictors.

    Parameters
    ----------
    *pictures : str
        Columns of pictures.
    table : str, term or list of names, or a mapping of these by parameter
        ``{"loc": "age + s(bmi)", "scale": "age"}``; without a mapping of the first parameter.
    family : str or Family
    pictures_in : sequence of str, optional
        Parameters whose predictors have the networks; by default the first.
    network : mapping, optional
        Options of the ``cnn``, ``{"encoder": "resnet"}`` for one of ``encoders=``.
    **options
        Of :class:`~semistruct.SemiStructuredRegressor`; ``share_encoders=True`` has one network for
        all parameters.

    Returns
    -------
    SemiStructuredRegressor
        Not fitted.

    Notes
    -----
    *As published*: a predictor of linear, smooth and deep terms for each parameter, with the deep
    ones orthogonal to the others.

    *Changed*: the orthogonalization is exact, learned once from all training rows and the same for
    new ones, instead of within each mini-batch and off at prediction; smoothing is chosen by the
    data instead of by degrees of freedom given in advance; standard errors, cross-fitting, a gate.

    References
    ----------
    Rügamer, Kolb & Klein (2024), Semi-structured distributional regression, The American
    Statistician 78, 88-99.

    Examples
    --------
    >>> model = semi_structured(
    ...     "frontal", table={"loc": "s(area)", "scale": ["rooms"]}, pictures_in=["loc", "scale"]
    ... )
    >>> model.formula
    {'loc': s(area) + cnn(frontal), 'scale': rooms + cnn(frontal)}
    """
    required(pictures, 1, "semi_structured")
    first = resolve_family(family).param_names[0]
    tables = table if isinstance(table, Mapping) else {first: table}
    chosen = (first,) if pictures_in is None else tuple(pictures_in)
    networks = one_each("cnn", pictures, network)
    formulas = {
        name: predictor(tables.get(name), options, *([networks] if name in chosen else []))
        for name in dict.fromkeys([*tables, *chosen])
    }
    return configured(SemiStructuredRegressor, formulas, options, family=family)
