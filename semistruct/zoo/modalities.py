"""Cox models of several modalities whose features have an objective of their own."""

from __future__ import annotations

from typing import Any

from semistruct.estimators import CoxPH
from semistruct.objectives import CanonicalCorrelation, Reconstruction, Similarity
from semistruct.zoo._recipe import Network, Table, configured, joint, predictor, required

__all__ = ["cheerla_gevaert", "concat_ae", "cross_ae", "deep_corr_surv"]


def deep_corr_surv(
    *modalities: str, table: Table = None, network: Network = None, **options: Any
) -> CoxPH:
    """DeepCorrSurv: networks of two views are made to correlate, then to predict survival.

    Parameters
    ----------
    *modalities : str
        Two columns of pictures, blocks of measurements or other tensors.
    table : str, term or list of names, optional
        Structured terms; the original has none.
    network : mapping, optional
        Options of the networks, ``{"latent_dim": 8}``.
    **options
        Of :class:`~semistruct.CoxPH`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: stage one maximises the sum of the canonical correlations of the features of two
    networks, stage two trains them on under the partial likelihood.

    *Changed*: views may be missing; with three or more the correlations of all pairs are added; a
    ridge on their covariances keeps the first stage finite; eight rows for each latent feature are
    in a batch, since fewer correlate by chance; cross-fitting, with both stages inside each fold.

    References
    ----------
    Yao, Zhu, Zhu & Huang (2017), Deep correlational learning for survival prediction from
    multi-modality data, MICCAI, 406-414.

    Examples
    --------
    >>> deep_corr_surv("slide", "rna").formula
    deep(slide, rna, fusion='concat', latent_dim=4)
    """
    return _fused(
        "deep_corr_surv",
        modalities,
        table,
        network,
        options,
        {"fusion": "concat", "latent_dim": 4},
        pretraining=CanonicalCorrelation(),
    )


def concat_ae(
    *modalities: str, table: Table = None, network: Network = None, **options: Any
) -> CoxPH:
    """ConcatAE: the codes of auto-encoders side by side, and a Cox model of them.

    Parameters
    ----------
    *modalities : str
        Two columns or more.
    table, network, **options
        As in :func:`deep_corr_surv`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: each modality has an auto-encoder; the codes are joined and enter the partial
    likelihood, to which the errors of reconstruction are added.

    *Changed*: errors are in units of each column's variation, so that no modality rules by its
    scale; a missing modality is neither reconstructed nor joined; cross-fitting and a gate.

    References
    ----------
    Tong, Mitchel, Chatlin & Wang (2020), Deep learning based feature-level integration of
    multi-omics data for breast cancer patients survival analysis, BMC Medical Informatics and
    Decision Making 20, 225.

    Examples
    --------
    >>> concat_ae("rna", "methylation").auxiliary.cross
    False
    """
    return _fused(
        "concat_ae",
        modalities,
        table,
        network,
        options,
        {"fusion": "concat", "latent_dim": 16},
        auxiliary=Reconstruction(),
    )


def cross_ae(
    *modalities: str, table: Table = None, network: Network = None, **options: Any
) -> CoxPH:
    """CrossAE: the code of each modality must reconstruct the others too; their mean enters Cox.

    Parameters
    ----------
    *modalities : str
        Two columns or more.
    table, network, **options
        As in :func:`deep_corr_surv`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: codes reconstruct their own modality and every other one, which leaves in them
    what the modalities share; the mean of the codes enters the partial likelihood.

    *Changed*: the mean is over the modalities that are there; errors are in units of each column's
    variation, and own and cross errors are minimised at once instead of in turns; cross-fitting and
    a gate.

    References
    ----------
    Tong et al. (2020), see :func:`concat_ae`.

    Examples
    --------
    >>> cross_ae("rna", "methylation").formula
    deep(rna, methylation, fusion='mean', latent_dim=16)
    """
    return _fused(
        "cross_ae",
        modalities,
        table,
        network,
        options,
        {"fusion": "mean", "latent_dim": 16},
        auxiliary=Reconstruction(cross=True),
    )


def cheerla_gevaert(
    *modalities: str, table: Table = None, network: Network = None, **options: Any
) -> CoxPH:
    """Cheerla and Gevaert: the mean of the modalities that are there, made similar in a patient.

    Parameters
    ----------
    *modalities : str
        Two columns or more.
    table, network, **options
        As in :func:`deep_corr_surv`.

    Returns
    -------
    CoxPH
        Not fitted.

    Notes
    -----
    *As published*: features of all modalities have one length; a margin loss makes those of a
    patient more alike than those of two patients; their mean over the available modalities enters
    the partial likelihood; in training whole modalities are dropped, each with probability 0.25.

    *Changed*: absent is a mask in the mean, the loss and the networks, never a vector of zeros;
    cross-fitting and a gate.

    References
    ----------
    Cheerla & Gevaert (2019), Deep learning with multimodal representation for pancancer prognosis
    prediction, Bioinformatics 35, i446-i454.

    Examples
    --------
    >>> cheerla_gevaert("slide", "rna", modality_dropout=0.5).modality_dropout
    0.5
    """
    return _fused(
        "cheerla_gevaert",
        modalities,
        table,
        network,
        options,
        {"fusion": "mean", "latent_dim": 16},
        auxiliary=Similarity(),
        modality_dropout=0.25,
    )


def _fused(
    recipe: str,
    modalities: tuple[str, ...],
    table: Table,
    network: Network,
    options: dict[str, Any],
    layers: dict[str, Any],
    **published: Any,
) -> CoxPH:
    required(modalities, 2, recipe)
    terms = predictor(table, options, joint(modalities, network, **layers))
    return configured(CoxPH, terms, options, **published)
