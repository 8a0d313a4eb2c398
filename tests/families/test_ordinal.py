"""Ordered classes against statsmodels, high precision arithmetic and their limits."""

from __future__ import annotations

import mpmath
import numpy as np
import pandas as pd
import pytest
import torch
from _fits import fit_formula
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel

from semistruct.exceptions import SpecificationError
from semistruct.families import Bernoulli, Ordinal
from semistruct.families._latent import LATENT

LINKS = ("logit", "probit", "cloglog")
COEFFICIENT = 1e-6  # statsmodels stops its search at a gradient of 1e-9
STANDARD_ERROR = 1e-5  # its second derivatives are by differences
# Of a value, and absolutely where a derivative passes zero.
EXACT = {"rtol": 1e-11, "atol": 1e-11}
# The variance of a normal that is truncated to a wide remote interval is a difference of squares.
REMOTE = 3e-9

DISTRIBUTIONS = {"logit": stats.logistic, "probit": stats.norm, "cloglog": stats.gumbel_l}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400), "z": rng.uniform(-1, 1, 400)})
    latent = 0.8 * frame["x"] - 0.5 * frame["z"] + rng.logistic(size=400)
    frame["y"] = np.digitize(latent, [-1.0, 0.3, 1.5])
    assert (np.bincount(frame["y"]) > 40).all()
    return frame


@pytest.mark.parametrize("link", LINKS)
def test_regression_against_statsmodels(table, link):
    family = Ordinal(categories=4, link=link)
    _, fit = fit_formula("x + z", table, table["y"].to_numpy(), family)
    assert fit.converged
    reference = OrderedModel(table["y"], table[["x", "z"]], distr=DISTRIBUTIONS[link]).fit(
        method="bfgs", disp=0, gtol=1e-9, maxiter=500
    )
    # Its parameters: slopes, first threshold, logarithms of the differences between thresholds.
    order = np.array([2, 0, 1, 3, 4])
    sign = np.array([-1, 1, 1, 1, 1])
    expected = reference.params.to_numpy()[order] * sign
    np.testing.assert_allclose(fit.beta, expected, rtol=COEFFICIENT)
    np.testing.assert_allclose(
        np.sqrt(np.diag(fit.V)), reference.bse.to_numpy()[order], rtol=STANDARD_ERROR
    )
    np.testing.assert_allclose(fit.loglik, reference.llf, rtol=1e-10)
    np.testing.assert_allclose(fit.loglik_null, reference.llnull, rtol=1e-9)


@pytest.mark.parametrize("link", LINKS)
def test_two_classes_are_the_bernoulli_distribution(link):
    eta = torch.linspace(-30, 30, 21, dtype=torch.float64)[:, None]
    y = torch.arange(21).double() % 2
    two, bernoulli = Ordinal(categories=2, link=link), Bernoulli(link=link)
    # P(Y = 0) = F(-eta): the mirrored link, which matters for the complementary log-log alone.
    torch.testing.assert_close(two.contributions(eta, y), bernoulli.contributions(-eta, 1 - y))
    torch.testing.assert_close(two.score(eta, y), -bernoulli.score(-eta, 1 - y))
    torch.testing.assert_close(
        two.row_information(eta, y), bernoulli.row_information(-eta, 1 - y), rtol=1e-6, atol=1e-9
    )


def _interval(link, x, w):
    """The log-probability of an interval, in the tail that is smaller."""
    upper = x + w
    if link == "logit":
        if x > 0:
            x, upper = -upper, -x
        return mpmath.log(1 / (1 + mpmath.exp(-upper)) - 1 / (1 + mpmath.exp(-x)))
    if link == "probit":
        return mpmath.log(mpmath.ncdf(min(upper, -x)) - mpmath.ncdf(min(x, -upper)))
    z, d = mpmath.exp(x), mpmath.exp(x) * mpmath.expm1(w)
    return -z + mpmath.log(-mpmath.expm1(-d))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("x", [-30.0, -6.0, -0.7, 0.0, 0.4, 3.0, 25.0])
@pytest.mark.parametrize("t", [-30.0, -8.0, -1.3, 0.0, 1.5, 4.0])
def test_intervals_keep_their_digits(link, x, t):
    if link == "cloglog" and x > 20:
        x = 5.0
    at = torch.tensor([x], dtype=torch.float64), torch.tensor([t], dtype=torch.float64)
    found = LATENT[link].log_interval(*at)
    with mpmath.workdps(1200 if link == "logit" else 700):

        def f(a, b):
            return _interval(link, a, mpmath.exp(b))

        h = mpmath.mpf(10) ** -60
        X, T = mpmath.mpf(x), mpmath.mpf(t)
        up, down, on = f(X + h, T), f(X - h, T), f(X, T)
        wide, narrow = f(X, T + h), f(X, T - h)
        mixed = f(X + h, T + h) - f(X + h, T - h) - f(X - h, T + h) + f(X - h, T - h)
        expected = {
            "value": on,
            "x": (up - down) / (2 * h),
            "t": (wide - narrow) / (2 * h),
            "xx": (up - 2 * on + down) / h**2,
            "xt": mixed / (4 * h**2),
            "tt": (wide - 2 * on + narrow) / h**2,
        }
    tolerance = {"rtol": 1e-11, "atol": REMOTE} if link == "probit" and abs(x) > 20 else EXACT
    for name, value in expected.items():
        np.testing.assert_allclose(
            getattr(found, name).item(), float(value), err_msg=name, **tolerance
        )


def test_thresholds_increase_whatever_the_predictors():
    family = Ordinal(categories=5)
    eta = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    assert (family.thresholds(eta).diff(dim=-1) > 0).all()
    torch.testing.assert_close(family.thresholds(eta)[:, 0], -eta[:, 0])


def test_a_width_may_have_a_predictor(table):
    """What a group adds to a width is the difference of two separate fits."""
    frame = table.assign(group=(table["z"] > 0).astype(float))
    family, y = Ordinal(categories=4), frame["y"].to_numpy()
    names = family.param_names
    _, fit = fit_formula(dict.fromkeys(names, "group"), frame, y, family)
    apart = [
        fit_formula("1", frame[side], y[side], family)[1]
        for side in (frame["group"].to_numpy() == 0, frame["group"].to_numpy() == 1)
    ]
    np.testing.assert_allclose(fit.beta[::2], apart[0].beta, atol=1e-6)
    np.testing.assert_allclose(fit.beta[::2] + fit.beta[1::2], apart[1].beta, atol=1e-6)


def test_refused():
    with pytest.raises(SpecificationError, match="Known: cloglog, logit, probit"):
        Ordinal(link="log")
    with pytest.raises(SpecificationError, match="two at least"):
        Ordinal(categories=("low",))
