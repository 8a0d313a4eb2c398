"""Hazards over time with networks: DeepPAMM."""

from __future__ import annotations

from typing import Any

from semistruct.estimators import PAMM
from semistruct.terms import Addend, TermList, s
from semistruct.zoo._recipe import Network, Table, configured, one_each, predictor, required

__all__ = ["deep_pamm"]


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
