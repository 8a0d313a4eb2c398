"""Hazards over time with networks: DeepPAMM, MultiSurv."""

from __future__ import annotations

from typing import Any

from semistruct.estimators import PAMM, DiscreteHazard
from semistruct.terms import Addend, Parametric, TermList, s
from semistruct.zoo._recipe import Network, Table, configured, joint, one_each, predictor, required

__all__ = ["deep_pamm", "multi_surv"]


def deep_pamm(
    *pictures: str,
    table: Table = None,
    baseline: Addend | TermList | None = None,
    network: Network = None,
    **options: Any,
) -> PAMM:
    """DeepPAMM: a piecewise-exponential additive model with a network for pictures.

    Parameters
    ----------
    *pictures : str
        Columns of pictures.
    table : str, term or list of names, optional
        Structured terms, also those that vary with time: ``"age + s(tend, by=stage)"``.
    baseline : term, optional
        Of time; by default ``s("tend")``.
    network : mapping, optional
        Options of the ``cnn``, ``{"encoder": "resnet"}`` for one of ``encoders=``.
    **options
        Of :class:`~semistruct.PAMM`.

    Returns
    -------
    PAMM
        Not fitted.

    Notes
    -----
    *As published*: the log hazard is a smooth baseline plus structured effects plus the score of a
    network, orthogonal to them, in the Poisson likelihood of the expanded rows; competing causes
    and effects that vary with time.

    *Changed*: a picture is read once for a subject instead of once for every interval; smoothing is
    chosen by the data; the orthogonalization is learned once and the same for new rows;
    cross-fitting and a gate.

    References
    ----------
    Kopper, Wiegrebe, Bischl, Bender & Rügamer (2022), DeepPAMM: deep piecewise exponential additive
    mixed models for complex hazard structures in survival analysis, PAKDD, 249-261.

    Examples
    --------
    >>> deep_pamm("ct", table="age + s(bmi)").formula
    age + s(bmi) + s(tend) + cnn(ct)
    """
    required(pictures, 1, "deep_pamm")
    start = s("tend") if baseline is None else baseline
    terms = predictor(table, options, start, one_each("cnn", pictures, network))
    return configured(PAMM, terms, options)


def multi_surv(
    *modalities: str,
    table: Table = None,
    baseline: Addend | TermList | None = None,
    network: Network = None,
    **options: Any,
) -> DiscreteHazard:
    """MultiSurv: hazards in discrete time from many kinds of data, joined by their maximum.

    Parameters
    ----------
    *modalities : str
        Two columns or more of pictures, blocks of measurements and other tensors; columns of the
        table among them are one more modality.
    table : str, term or list of names, optional
        Structured terms; the original has none.
    baseline : term, optional
        Of time; by default ``C(interval)``, a hazard for every interval.
    network : mapping, optional
        Options of the networks, ``{"latent_dim": 64}``; ``{"by": s("tend")}`` for scores whose
        weight changes with time.
    **options
        Of :class:`~semistruct.DiscreteHazard`: ``cuts=np.arange(1, 31)`` are the years of the
        paper.

    Returns
    -------
    DiscreteHazard
        Not fitted.

    Notes
    -----
    *As published*: every modality has a network; their features are joined by the element-wise
    maximum over those that are there; in training exactly one of them is dropped; the likelihood is
    that of survived intervals, in which a censored subject is credited with an interval when it
    passed its midpoint.

    *Changed*: the score is the same in all intervals (proportional odds) unless ``by`` says
    otherwise, where the original has an output for each; there are 15 intervals, cut at quantiles
    of the event times, instead of years, since a hazard for an interval needs events in it;
    cross-fitting and a gate.

    References
    ----------
    Vale-Silva & Rohr (2021), Long-term cancer survival prediction using multimodal deep learning,
    Scientific Reports 11, 13505. Gensheimer & Narasimhan (2019), A scalable discrete-time survival
    model for neural networks, PeerJ 7, e6257.

    Examples
    --------
    >>> multi_surv("slide", "rna", "age", table=["sex"]).formula
    sex + C(interval) + deep(slide, rna, age, fusion='max')
    """
    required(modalities, 2, "multi_surv")
    start = Parametric("C(interval)") if baseline is None else baseline
    terms = predictor(table, options, start, joint(modalities, network, fusion="max"))
    return configured(DiscreteHazard, terms, options, modality_dropout="one", cuts=15)
