"""Cox models with one network: DeepSurv, DeepConvSurv, wide and deep survival."""

from __future__ import annotations

from typing import Any

from semistruct.estimators import CoxPH
from semistruct.zoo._recipe import Network, Table, configured, joint, one_each, predictor, required

__all__ = ["deep_conv_surv", "deep_surv", "wide_and_deep_survival"]


def deep_surv(*columns: str, table: Table = None, network: Network = None, **options: Any) -> CoxPH:
    """DeepSurv: a Cox model whose log hazard ratio is a perceptron of columns of the table.

    Parameters
    ----------
    *columns : str
        Columns that the network reads: numbers, groups, or one column of vectors.
    table : str, term or list of names, optional
        Structured terms beside the network; the original has none.
    network : mapping, optional
        Options of the ``mlp``: ``{"hidden": (32,), "dropout": 0.2}``.
    **options
        Of :class:`~semistruct.CoxPH`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: fully connected layers, trained by the negative log partial likelihood with
    decay of the weights and of the learning rate.

    *Changed*: tied times by Efron instead of ignored; the network is trained on folds, so that its
    score of a row comes from rows it has not seen, and it is dropped where it does not help there;
    several networks are averaged; there are baseline hazards and survival curves; the width of the
    layers is one default instead of a random search for each data set.

    References
    ----------
    Katzman et al. (2018), DeepSurv: personalized treatment recommender system using a Cox
    proportional hazards deep neural network, BMC Medical Research Methodology 18, 24.

    Examples
    --------
    >>> deep_surv("age", "bmi", table="strata(center)", random_state=0).formula
    mlp(age, bmi) + strata(center)
    """
    required(columns, 1, "deep_surv")
    return configured(
        CoxPH, predictor(table, options, joint(columns, network, name="mlp")), options
    )


def deep_conv_surv(
    *pictures: str, table: Table = None, network: Network = None, **options: Any
) -> CoxPH:
    """DeepConvSurv: a Cox model whose log hazard ratio is a convolutional network of a picture.

    Parameters
    ----------
    *pictures : str
        Columns of pictures; the scores of several networks add up.
    table : str, term or list of names, optional
        Structured terms beside the network; the original has none.
    network : mapping, optional
        Options of the ``cnn``: ``{"channels": (8, 16)}``; or ``{"encoder": "resnet"}``, a name in
        ``encoders=``.
    **options
        Of :class:`~semistruct.CoxPH`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: three convolutions and a fully connected layer whose output is a log hazard
    ratio, trained by the partial likelihood in mini-batches.

    *Changed*: one picture for each subject instead of patches around regions of interest that all
    carry the subject's follow-up; group normalisation, augmentation and dropout; cross-fitting, and
    a gate that drops a network of no use; the reported likelihood is that of the full cohort.

    References
    ----------
    Zhu, Yao & Huang (2016), Deep convolutional neural network for survival analysis with
    pathological images, IEEE BIBM, 544-547.

    Examples
    --------
    >>> deep_conv_surv("ct").formula
    cnn(ct)
    """
    required(pictures, 1, "deep_conv_surv")
    return configured(CoxPH, predictor(table, options, one_each("cnn", pictures, network)), options)


def wide_and_deep_survival(
    *deep: str, table: Table = None, network: Network = None, **options: Any
) -> CoxPH:
    """Wide and deep survival: clinical columns enter linearly, an anatomical shape by a network.

    Parameters
    ----------
    *deep : str
        Columns of pictures or other tensors.
    table : str, term or list of names
        The wide part.
    network : mapping, optional
        Options of the network, ``{"encoder": "mlp"}`` for another kind than a ``cnn``.
    **options
        Of :class:`~semistruct.CoxPH`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: the log hazard ratio is the sum of a linear part and the linear last layer of a
    network, trained together by the partial likelihood.

    *Changed*: the sum is identified. There the network could take over what the table says, so that
    coefficients had no meaning; here its scores are orthogonal to the wide part, whose coefficients
    and standard errors are those of the Cox model without it. A missing scan adds nothing instead
    of excluding the subject. The original read point clouds by a PointNet; any encoder may be
    given.

    References
    ----------
    Pölsterl, Sarasua, Gutiérrez-Becker & Wachinger (2020), A wide and deep neural network for
    survival analysis from anatomical shape and tabular clinical data, ECML PKDD Workshops,
    453-464.

    Examples
    --------
    >>> wide_and_deep_survival("hippocampus", table="age + sex + education").formula
    age + sex + education + cnn(hippocampus)
    """
    required(deep, 1, "wide_and_deep_survival")
    return configured(CoxPH, predictor(table, options, one_each("cnn", deep, network)), options)
