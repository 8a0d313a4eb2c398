"""Pictures of places: house prices, inequality, poverty, crops and buildings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from semistruct.estimators import (
    EarlyFusion,
    SemiStructuredClassifier,
    SemiStructuredRegressor,
)
from semistruct.estimators.features.mask_features import MaskFeatures
from semistruct.exceptions import SpecificationError
from semistruct.objectives import Proxy
from semistruct.terms import DeepTerm, TermList, mlp, parse_formula, s
from semistruct.zoo._recipe import (
    Network,
    Table,
    configured,
    joint,
    one_each,
    predictor,
    required,
    table_columns,
)

__all__ = [
    "jean_transfer",
    "law_paige_russell",
    "sirko_masks",
    "suel_ordinal",
    "you_crop_yield",
]


def law_paige_russell(
    *pictures: str,
    table: Table = None,
    head: Literal["linear", "semi_interpretable", "non_linear"] = "linear",
    network: Network = None,
    **options: Any,
) -> SemiStructuredRegressor:
    """Law, Paige and Russell: prices from attributes of houses and pictures of their streets.

    Parameters
    ----------
    *pictures : str
        Columns of pictures: of the street, from the air.
    table : str, term or list of names
        Attributes of the house.
    head : {"linear", "semi_interpretable", "non_linear"}
        "linear": linear attributes, and one number for each picture, its visual desirability.
        "semi_interpretable": a network of the attributes in addition, so that these may bend and
        interact; each picture still adds one number. "non_linear": one network of attributes and
        pictures together. Each can do all that the one before can do.
    network : mapping, optional
        Options of the networks of pictures.
    **options
        Of :class:`~semistruct.SemiStructuredRegressor`; ``family="lognormal"`` for prices.

    Returns
    -------
    SemiStructuredRegressor
        Not fitted.

    Notes
    -----
    *As published*: the hedonic regression is extended by scores of convolutional networks, with
    three ways to join them, from interpretable to free.

    *Changed*: attributes stay in the predictor under every head, and networks are orthogonal to
    them, so that the three have the same coefficients, those of the hedonic regression, and differ
    in what they explain beyond it. Smooth terms may be among the attributes.

    References
    ----------
    Law, Paige & Russell (2019), Take a look around: using street view and satellite images to
    estimate house prices, ACM Transactions on Intelligent Systems and Technology 10, 54.

    Examples
    --------
    >>> law_paige_russell("street", "air", table="area + age", head="linear").formula
    area + age + cnn(street) + cnn(air)
    >>> law_paige_russell("street", "air", table="area + age", head="non_linear").formula
    area + age + deep(street, air, area, age, head='mlp')
    """
    required(pictures, 1, "law_paige_russell")
    attributes = table_columns(table, options)
    if head != "linear" and not attributes:
        raise SpecificationError(
            f"head={head!r} has a network of the attributes of the house; name them in table=."
        )
    deep: DeepTerm | TermList
    if head == "linear":
        deep = one_each("cnn", pictures, network)
    elif head == "semi_interpretable":
        deep = mlp(*attributes) + one_each("cnn", pictures, network)
    elif head == "non_linear":
        deep = joint((*pictures, *attributes), network, head="mlp")
    else:
        raise SpecificationError(
            f"head must be 'linear', 'semi_interpretable' or 'non_linear', got {head!r}."
        )
    return configured(SemiStructuredRegressor, predictor(table, options, deep), options)


def jean_transfer(
    *pictures: str, proxy: str, table: Table = None, network: Network = None, **options: Any
) -> SemiStructuredRegressor:
    """Jean and colleagues: a network learns a proxy of which much is known, then the response.

    Parameters
    ----------
    *pictures : str
        Columns of pictures.
    proxy : str
        Column of the proxy, such as the light at night: numbers or classes. Only the training table
        needs it.
    table : str, term or list of names, optional
        Structured terms; the original has none.
    network : mapping, optional
        Options of the ``cnn``, ``{"encoder": "resnet"}`` for one of ``encoders=``.
    **options
        Of :class:`~semistruct.SemiStructuredRegressor`.

    Returns
    -------
    SemiStructuredRegressor
        Not fitted.

    Notes
    -----
    *As published*: a network is trained to predict classes of night-time light from pictures by
    day; its features then predict consumption and assets of the few places with a survey.

    *Changed*: the proxy is a stage of training within each fold, after which the network goes on to
    learn the response with decaying weights, where the original froze it and fitted a ridge
    regression. For pictures of places without a response fit a model of the proxy first, and hand
    in its network by ``encoders=`` as a frozen one: its last layer is then a ridge regression.

    References
    ----------
    Jean, Burke, Xie, Davis, Lobell & Ermon (2016), Combining satellite imagery and machine learning
    to predict poverty, Science 353, 790-794.

    Examples
    --------
    >>> jean_transfer("day", proxy="light").pretraining.column
    'light'
    """
    required(pictures, 1, "jean_transfer")
    terms = predictor(table, options, one_each("cnn", pictures, network))
    return configured(SemiStructuredRegressor, terms, options, pretraining=Proxy(proxy))


def suel_ordinal(
    *pictures: str, table: Table = None, network: Network = None, **options: Any
) -> SemiStructuredClassifier:
    """Suel and colleagues: ordered classes of an area, such as deciles of income, from pictures.

    Parameters
    ----------
    *pictures : str
        Columns of pictures of one place, read alike and fused.
    table : str, term or list of names, optional
        Structured terms; the original has none.
    network : mapping, optional
        ``{"encoder": "vgg"}`` with ``encoders={"vgg": module}`` for one picture and a frozen
        network, as published; by default a ``cnn`` is trained.
    **options
        Of :class:`~semistruct.SemiStructuredClassifier`.

    Returns
    -------
    SemiStructuredClassifier
        With the ordinal family; not fitted. Larger classes have larger predictors.

    Notes
    -----
    *As published*: features of a frozen network that was trained on ImageNet, a small network on
    top that is the same for all pictures of a place, and one predictor of ordered classes.

    *Changed*: the ordered classes have a likelihood, the cumulative logit, whose probabilities are
    coherent; several pictures are fused by their mean, and a missing one takes no part.

    References
    ----------
    Suel, Polak, Bennett & Ezzati (2019), Measuring social, environmental and health inequalities
    using deep learning and street imagery, Scientific Reports 9, 6229.

    Examples
    --------
    >>> suel_ordinal("street").family, suel_ordinal("north", "south").formula
    ('ordinal', deep(north, south, fusion='mean'))
    """
    required(pictures, 1, "suel_ordinal")
    if len(pictures) == 1:
        deep = joint(pictures, network, name="cnn")
    else:
        deep = joint(pictures, network, fusion="mean")
    terms = predictor(table, options, deep)
    return configured(SemiStructuredClassifier, terms, options, family="ordinal")


def you_crop_yield(
    *pictures: str,
    place: tuple[str, str] = ("lon", "lat"),
    year: str | None = "year",
    table: Table = None,
    network: Network = None,
    **options: Any,
) -> SemiStructuredRegressor:
    """You and colleagues: yields of crops by a network and a Gaussian process of space and time.

    Parameters
    ----------
    *pictures : str
        Columns of pictures, or of histograms of their pixels, ``(bands, bins, weeks)``.
    place : pair of str
        Columns of the coordinates.
    year : str, optional
        Column of the time; None for none.
    table : str, term or list of names, optional
        Further structured terms.
    network : mapping, optional
        Options of the networks, ``{"encoder": "recurrent"}`` for another kind than a ``cnn``.
    **options
        Of :class:`~semistruct.SemiStructuredRegressor`.

    Returns
    -------
    SemiStructuredRegressor
        Not fitted.

    Notes
    -----
    *As published*: a Gaussian process of coordinates and year whose mean is linear in the last
    features of a network.

    *Changed*: the process is a term of the same likelihood, ``s(lon, lat, bs="gp")``, whose range
    and variance are estimated together with everything else instead of after the network and on a
    grid; it comes with bands, and the map can be drawn. The process of space and time is a surface
    plus a curve.

    References
    ----------
    You, Li, Low, Lobell & Ermon (2017), Deep Gaussian process for crop yield prediction based on
    remote sensing data, AAAI, 4559-4565.

    Examples
    --------
    >>> you_crop_yield("field").formula
    s(lon, lat, bs='gp') + s(year) + cnn(field)
    """
    required(pictures, 1, "you_crop_yield")
    if len(place) != 2:
        raise SpecificationError(f"place names two columns of coordinates, got {place!r}.")
    surface = s(*place, bs="gp")
    structured = surface if year is None else surface + s(year)
    terms = predictor(table, options, structured, one_each("cnn", pictures, network))
    return configured(SemiStructuredRegressor, terms, options)


def sirko_masks(
    *masks: str,
    table: Table = None,
    classes: Mapping[str, int] | None = None,
    **options: Any,
) -> EarlyFusion:
    """Sirko and colleagues: masks of buildings as columns, their area, their number, their size.

    Parameters
    ----------
    *masks : str
        Columns of segmentation masks, which were made before by a network for segmentation.
    table : str, term or list of names, optional
        Structured terms beside them.
    classes : mapping of str to int, optional
        Classes of the masks, see :func:`~semistruct.mask_features`.
    **options
        Of :class:`~semistruct.SemiStructuredRegressor`.

    Returns
    -------
    EarlyFusion
        Not fitted. A regression with linear effects of share, count and mean area; another model or
        another formula by :class:`~semistruct.EarlyFusion` with :class:`~semistruct.MaskFeatures`.

    Notes
    -----
    *As published*: detected buildings enter analyses of places by what is counted and measured on
    the masks.

    *Changed*: nothing is segmented here; a mask is an input. What is counted has coefficients with
    standard errors beside those of the table, and missing masks have the mean features and an
    indicator.

    References
    ----------
    Sirko et al. (2021), Continental-scale building detection from high resolution satellite
    imagery, arXiv:2107.12283.

    Examples
    --------
    >>> sirko_masks("roofs", table="elevation").estimator.formula
    "elevation + cols('roofs_*')"
    """
    required(masks, 1, "sirko_masks")
    terms = predictor(table, options)
    columns = " + ".join(f"cols('{mask}_*')" for mask in masks)
    text = terms if isinstance(terms, str) else terms.text()
    formula = columns if text == "1" else f"{text} + {columns}"
    parse_formula(formula)  # names that no formula can have are refused here
    model = configured(SemiStructuredRegressor, formula, options)
    return EarlyFusion(model, features={mask: MaskFeatures(classes) for mask in masks})
