"""Everything that mgcv reports of a fit, computed here and compared key by key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.linalg import block_diag

from semistruct.fitting.structured import StructuredFit, StructuredProblem
from semistruct.inference.covariance import covariance
from semistruct.inference.criteria import information_criteria
from semistruct.inference.deviance import Deviance, model_deviance
from semistruct.inference.smooth_tests import smooth_table
from semistruct.inference.smoothing_uncertainty import (
    has_smoothing_uncertainty,
    smoothing_uncertainty,
)
from semistruct.inference.wald import wald_table

__all__ = ["ADVISED", "ESTIMATED", "FIXED", "compare", "compare_components", "flat", "mgcv_report"]

# What is named, not measured; the constant of terms is empty in all files.
LABELS = {
    *("family", "link", "method", "score_name", "converged", "newdata", "coef.name"),
    *("parametric.term", "smooth.term", "pred_terms.term", "pred_terms.constant"),
}

# By the first part of a key that is listed, as (rtol, atol). Two tiers, as the makers of the values
# advise: with the smoothing parameters fixed only rounding and the other program's convergence are
# left; estimated ones agree to the flatness of the criterion around its maximum, where both
# programs stop. "link" is in standard deviations of the predictor; "coef" in the largest one.
FIXED = {
    "link": 1e-6,
    "coef": 1e-6,
    "se": 1e-6,
    "edf": (0.0, 1e-5),
    "score": (1e-6, 1e-6),
    "loglik": (0.0, 1e-6),
    "sp": 1e-9,
    "ratio": (1e-6, 1e-9),
}
ESTIMATED = {
    "link": 1e-3,
    "coef": 1e-3,
    "se": 2e-3,
    "edf": (0.0, 5e-3),
    "score": (1e-6, 1e-4),
    "loglik": (0.0, 1e-3),
    "sp": 0.02,
    "ratio": (1e-4, 1e-5),
}
# The makers' own, where the criterion is flatter or mgcv's uncertainty contains a parameter more.
ADVISED = ESTIMATED | {"se": 1e-2, "edf": (0.0, 0.02), "loglik": (0.0, 2e-3)}
P_VALUE = (0.05, 2e-5)  # mgcv prints p-values below 2e-16 as zero
STATISTIC = (5e-3, 0.0)
EXACT = (1e-9, 0.0)


def flat(block: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; tables of smoothing parameters and of rows stay as they are."""
    found = {}
    for key, value in block.items():
        whole = isinstance(value, dict) and key not in ("sp", "full_sp", "newdata")
        found.update(flat(value, f"{above}{key}.") if whole else {f"{above}{key}": value})
    return found


def mgcv_report(
    problem: StructuredProblem,
    fit: StructuredFit,
    expected: Mapping[str, Any],
    new: pd.DataFrame,
    *,
    response: Callable[[torch.Tensor], torch.Tensor] | None = None,
    scale: float | None = None,
    deviance: Deviance | None = None,
) -> dict[str, Any]:
    """Our values under mgcv's keys.

    Parameters
    ----------
    problem, fit
        The fit to report on.
    expected : mapping
        Which smooth has which coefficients is read from it; both programs stack them alike.
    new : DataFrame
        Rows to predict.
    response : callable, optional
        From predictors ``(n, K)`` to what mgcv calls the response, by default the mean.
    scale : float, optional
        mgcv's dispersion, where it is not the REML estimate.
    deviance : Deviance, optional
        mgcv's, where the likelihood has no saturated model.
    """
    counted = fit.dispersion_column is None
    K = fit.eta.shape[1] - (not counted)
    P = fit.slices[K - 1].stop
    designs = problem.designs[:K]
    X = block_diag(*[design.block(new).dense() for design in designs])
    X = X.reshape(K, len(new), P)
    offset = np.column_stack([design.offset(new) for design in designs])
    beta = fit.beta[:P]

    def kind(name: Any) -> np.ndarray:
        return covariance(fit, problem, name, dispersion=scale)[:P, :P]

    V = kind("model")
    link = np.einsum("knp,p->nk", X, beta) + offset

    def link_se(C: np.ndarray) -> np.ndarray:
        return np.sqrt(np.einsum("knp,pq,knq->nk", X, C, X))

    criteria = information_criteria(fit, problem)
    explained = deviance or model_deviance(fit, problem)
    loglik = fit.loglik
    if scale is not None:
        # mgcv's gamma has the estimated dispersion there, ours that of maximum likelihood.
        eta = fit.eta.copy()
        eta[:, K] = np.log(scale if fit.method == "gcv" else fit.dispersion)
        loglik = problem.bind().loglik(eta)
    report: dict[str, Any] = {
        "n": len(fit.eta),
        "edf_total": fit.edf_total,
        "edf1_total": fit.edf1.sum() - (not counted),
        "edf_by_coef": fit.edf[:P],
        "score": fit.reml,
        "scale": 1.0 if counted else (scale or fit.dispersion),
        "scale_estimated": not counted,
        "deviance": explained.residual,
        "null_deviance": explained.null,
        "dev_expl": explained.explained,
        "loglik": loglik,
        "loglik_df": criteria.df,
        "AIC": -2 * loglik + 2 * criteria.df,
        "pred_link": link,
        "pred_link_se": link_se(V),
        "coef.value": beta,
        "coef.se": np.sqrt(np.diag(V)),
        "coef.se_freq": np.sqrt(np.diag(kind("frequentist"))),
        "sp": fit.smoothing,
        "full_sp": fit.smoothing,
        "check.own_density_loglik": loglik,
        "check.mgcv_loglik": loglik,
        "smooth_info": np.array([P, P - np.linalg.matrix_rank(fit.S_lam[:P, :P])]),
    }
    if has_smoothing_uncertainty(fit, problem):
        corrected = kind("corrected")
        report["edf2_total"] = smoothing_uncertainty(fit, problem).edf2.sum() - (not counted)
        report["coef.se_unconditional"] = np.sqrt(np.diag(corrected))
        report["pred_link_se_unconditional"] = link_se(corrected)
    if "pred_response" in expected:
        report |= _response(problem, fit, link, np.einsum("knp,pq,lnq->nkl", X, V, X), K, response)
    report |= _terms(problem, fit, expected, X.sum(axis=0), V, K)
    linear = _linear(problem, K)
    table = wald_table(beta[linear], V[np.ix_(linear, linear)], linear, df_resid=fit.df_resid)
    report |= {
        f"parametric.{ours}": table[theirs]
        for ours, theirs in (("estimate", "coef"), ("se", "se"), ("p", "p"))
    }
    if "smooth" in expected:
        smooths = smooth_table(fit, problem, dispersion=scale)
        report |= {f"smooth.{key}": smooths[key] for key in ("edf", "ref_df", "statistic", "p")}
        report["smooth.stat_name"] = smooths["statistic_name"].iloc[0]
    if "r_sq" in expected:
        report["r_sq"] = _adjusted_r_squared(problem, fit)
    return report


def _linear(problem: StructuredProblem, K: int) -> np.ndarray:
    """Positions of parametric coefficients."""
    found, start = [], 0
    for design in problem.designs[:K]:
        count = sum(len(b.names) for b in design.bases if b.kind == "parametric")
        found.append(start + np.arange(count))
        start += len(design.names)
    return np.concatenate(found)


def _response(
    problem: StructuredProblem,
    fit: StructuredFit,
    link: np.ndarray,
    V: np.ndarray,
    K: int,
    response: Callable[[torch.Tensor], torch.Tensor] | None,
) -> dict[str, Any]:
    """The mean of new rows and its standard error by the delta method."""
    rest = np.broadcast_to(fit.eta[0, K:], (len(link), fit.eta.shape[1] - K))
    eta = torch.from_numpy(np.column_stack([link, rest])).requires_grad_()
    value = (response or problem.family.mean)(eta)
    value = value.reshape(len(link), -1)
    slopes = np.stack(
        [
            torch.autograd.grad(column.sum(), eta, retain_graph=True)[0].numpy()[:, :K]
            for column in value.T
        ],
        axis=1,
    )
    se = np.sqrt(np.einsum("nmk,nkl,nml->nm", slopes, V, slopes))
    return {"pred_response": value.detach().numpy(), "pred_response_se": se}


def _terms(
    problem: StructuredProblem,
    fit: StructuredFit,
    expected: Mapping[str, Any],
    X: np.ndarray,
    V: np.ndarray,
    K: int,
) -> dict[str, Any]:
    """Contributions of the terms: linear ones first, then smooths, by mgcv's columns of each."""
    places = [
        (label, np.arange(at.start, at.stop)[columns])
        for design, at in zip(problem.designs[:K], fit.slices, strict=False)
        for label, columns in design.slices.items()
    ]
    linear = _linear(problem, K)
    columns = [c for label, c in places if label != "Intercept" and np.isin(c, linear).all()]
    columns += [np.arange(i["first_para"] - 1, i["last_para"]) for i in expected["smooth_info"]]
    value = [X[:, c] @ fit.beta[c] for c in columns]
    se = [np.sqrt(np.einsum("ij,jk,ik->i", X[:, c], V[np.ix_(c, c)], X[:, c])) for c in columns]
    return {
        "pred_terms.fit": np.column_stack(value) if value else np.zeros((len(X), 0)),
        "pred_terms.se": np.column_stack(se) if se else np.zeros((len(X), 0)),
    }


def _adjusted_r_squared(problem: StructuredProblem, fit: StructuredFit) -> float:
    """``1 - (residual variance / (n - edf)) / (variance / (n - 1))`` of the response itself."""
    y, mu = problem.y, problem.family.mean(torch.from_numpy(fit.eta)).numpy()
    n, w = len(y), np.sqrt(problem.sample_weight)
    total = np.var(w * (y - np.average(y, weights=problem.sample_weight)))
    return 1 - np.var(w * (y - mu)) * (n - 1) / (total * (n - fit.edf_total))


def compare(
    report: Mapping[str, Any],
    expected: Mapping[str, Any],
    tolerance: Mapping[str, Any],
    fit: StructuredFit,
    *,
    apart: Collection[str] = (),
) -> None:
    """Compare every key of mgcv's; those in ``apart`` are for the calling test to compare."""
    spread = max(float(fit.eta.std(axis=0).max()), 1e-300)
    for key, theirs in flat(expected).items():
        if key in LABELS or key in apart or key.split(".")[0] in apart:
            continue
        ours = report[key]
        if isinstance(theirs, str):
            assert ours == theirs, key
            continue
        if key in ("sp", "full_sp"):
            _compare_smoothing(np.asarray(ours), expected, tolerance["sp"])
            continue
        if key == "smooth_info":
            infos = [i["last_para"] - i["first_para"] + 1 - i["null_dim"] for i in theirs]
            assert ours[0] - ours[1] == sum(infos), key
            continue
        theirs = np.atleast_1d(np.array(theirs, dtype=float))
        ours = np.asarray(ours, dtype=float).reshape(theirs.shape)
        if key == "coef.value":  # bases from eigenvectors are known up to their signs
            ours, theirs = np.abs(ours), np.abs(theirs)
        rtol, atol = _allowed(key, tolerance, spread, np.abs(theirs).max(initial=0.0))
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=key)


def _allowed(
    key: str, tolerance: Mapping[str, Any], spread: float, largest: float
) -> tuple[float, float]:
    if key in ("pred_link", "pred_terms.fit"):
        return 0.0, tolerance["link"] * spread
    if key == "pred_response" or key.startswith("natural."):
        return tolerance["link"] * spread, 0.0
    if key in ("coef.value", "parametric.estimate"):
        return 0.0, tolerance["coef"] * largest
    if key.startswith("coef.se"):  # of a coefficient that is penalised to zero as well
        return tolerance["se"], tolerance["se"] * largest
    if "se" in key.replace(".", "_").split("_"):
        return tolerance["se"], 0.0
    if "edf" in key or key in ("smooth.ref_df", "loglik_df", "edf1_total", "edf2_total"):
        return tolerance["edf"]
    if key.endswith(".p"):
        return P_VALUE
    if key == "smooth.statistic":
        return STATISTIC
    if key == "score":
        return tolerance["score"]
    if key == "loglik" or key.startswith("check."):
        return tolerance["loglik"]
    if key == "AIC":
        return 0.0, 2 * (tolerance["loglik"][1] + tolerance["edf"][1])
    if key in ("deviance", "scale", "dev_expl", "r_sq"):
        return tolerance["ratio"]
    return EXACT


def _compare_smoothing(ours: np.ndarray, expected: Mapping[str, Any], tolerance: float) -> None:
    """Where the degrees of freedom are not those of infinite smoothing."""
    sp = np.array(list(expected.get("sp", expected.get("full_sp")).values()))
    beyond = np.atleast_1d(expected["smooth"]["edf"]) > np.array(
        [info["null_dim"] + 0.1 for info in expected["smooth_info"]]
    )
    if sp.size == beyond.size == ours.size:
        gap = np.log(ours / sp)[beyond]
        assert np.abs(gap).max(initial=0.0) < tolerance, "sp"


def compare_components(
    problem: StructuredProblem, fit: StructuredFit, expected: Mapping[str, Any]
) -> None:
    """Standard deviations of random effects and their intervals, ``gam.vcomp``."""
    scales = np.array([info["S_scale"] for info in expected["smooth_info"]])
    sd = np.sqrt(scales / fit.smoothing)
    V_rho = smoothing_uncertainty(fit, problem).V_rho
    factor = np.exp(stats.norm.ppf(0.975) * np.sqrt(np.diag(V_rho)) / 2)
    random = [info["class"] == "random.effect" for info in expected["smooth_info"]]
    ours = np.column_stack([sd, sd / factor, sd * factor])
    theirs = np.array(expected["vcomp"], dtype=float)
    np.testing.assert_allclose(ours[random], theirs[random], rtol=ESTIMATED["se"])
