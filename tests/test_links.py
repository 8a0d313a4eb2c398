"""Links: round trips, derivatives, tails, and changes of scale."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import statsmodels.genmod.families.links as sm
import torch
from scipy import special

from semistruct.exceptions import SpecificationError
from semistruct.links import (
    LINKS,
    CLogLog,
    Identity,
    Link,
    Log,
    Logit,
    Probit,
    Softplus,
    bounded_exp,
    relink,
    resolve_link,
)

AUTODIFF = {"rtol": 1e-9, "atol": 1e-12}  # two exact derivatives, rounding only

POSITIVE_ETA = {"inverse", "sqrt"}
STATSMODELS = {
    "identity": sm.Identity(),
    "log": sm.Log(),
    "logit": sm.Logit(),
    "probit": sm.Probit(),
    "cloglog": sm.CLogLog(),
    "inverse": sm.InversePower(),
    "sqrt": sm.Sqrt(),
}
# Pairs whose theta lives in the same set.
SAME_SET = [
    ({"identity", "log", "softplus", "inverse", "sqrt"}, (Log(), Identity())),
    ({"logit", "probit", "cloglog"}, (Logit(),)),
]
PAIRS = [
    pytest.param(LINKS[name], target, id=f"{name}-{target.name}")
    for names, targets in SAME_SET
    for name, target in itertools.product(sorted(names), targets)
]


def grid(name: str) -> torch.Tensor:
    low = 0.05 if name in POSITIVE_ETA else -4.0
    # The probability of the complementary log-log link rounds to 1 soon after.
    high = 2.5 if name == "cloglog" else 4.0
    return torch.linspace(low, high, 41, dtype=torch.float64)


def derivative(function, eta: torch.Tensor) -> torch.Tensor:
    eta = eta.clone().requires_grad_()
    value = function(eta)
    if not value.requires_grad:
        return torch.zeros_like(eta)
    gradient = torch.autograd.grad(value.sum(), eta, allow_unused=True)[0]
    return torch.zeros_like(eta) if gradient is None else gradient


@pytest.fixture(params=sorted(LINKS))
def name(request) -> str:
    return request.param


def test_names_are_those_of_the_registry(name):
    assert LINKS[name].name == name
    assert resolve_link(name) is LINKS[name]
    assert resolve_link(LINKS[name], allowed=[name]) == LINKS[name]


def test_round_trip(name):
    eta = grid(name)
    torch.testing.assert_close(LINKS[name].forward(LINKS[name].inverse(eta)), eta)


def test_derivatives(name):
    link, eta = LINKS[name], grid(name)
    torch.testing.assert_close(link.derivative(eta), derivative(link.inverse, eta), **AUTODIFF)
    torch.testing.assert_close(
        link.second_derivative(eta), derivative(link.derivative, eta), **AUTODIFF
    )


@pytest.mark.parametrize("reference", sorted(STATSMODELS))
def test_statsmodels_agrees(reference):
    link, eta = LINKS[reference], grid(reference)
    theirs = STATSMODELS[reference]
    np.testing.assert_allclose(link.inverse(eta), theirs.inverse(eta.numpy()), rtol=1e-10)
    np.testing.assert_allclose(
        link.derivative(eta), theirs.inverse_deriv(eta.numpy()), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_is_finite_and_monotone_far_out(name, dtype):
    link = LINKS[name]
    eta = torch.tensor([1e-3, 0.5, 3.0, 20.0, 700.0, 1e4, 1e15], dtype=dtype)
    if name not in POSITIVE_ETA:
        eta = torch.cat([-eta.flip(0), eta])
    theta = link.inverse(eta)
    assert theta.dtype == dtype
    assert theta.isfinite().all()
    steps = theta.diff()
    assert (steps <= 0).all() if name == "inverse" else (steps >= 0).all()
    assert not link.derivative(eta).isnan().any()
    assert not link.second_derivative(eta).isnan().any()


def test_log_stays_positive():
    assert (Log().inverse(torch.tensor([-1e6, -746.0], dtype=torch.float64)) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounded_exp_leaves_its_margin(dtype):
    big = bounded_exp(torch.tensor(1e6, dtype=dtype), 40.0)
    assert (big * 1e17).isfinite()
    assert bounded_exp(torch.tensor(1e6, dtype=dtype)).isfinite()
    x = torch.linspace(-80, 80, 33, dtype=dtype)
    assert torch.equal(bounded_exp(x), x.exp())


@pytest.mark.parametrize(("link", "target"), PAIRS)
def test_relink_is_the_composition(link, target):
    eta = grid("sqrt" if target == Log() and link == Identity() else link.name)
    value, first, second = relink(eta, link, target)
    torch.testing.assert_close(value, target.forward(link.inverse(eta)), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(
        first, derivative(lambda e: relink(e, link, target).value, eta), **AUTODIFF
    )
    torch.testing.assert_close(
        second, derivative(lambda e: relink(e, link, target).first, eta), rtol=1e-7, atol=1e-8
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("link", "target"), [(Probit(), Logit()), (CLogLog(), Logit()), (Softplus(), Log())], ids=str
)
def test_relink_far_out(link, target, dtype):
    edge = 80.0 if dtype == torch.float32 else 700.0
    eta = torch.linspace(-edge, edge, 201, dtype=dtype)
    value, first, second = relink(eta, link, target)
    assert value.isfinite().all() and first.isfinite().all() and second.isfinite().all()
    assert (value.diff() > 0).all() and (first >= 0).all()


def test_probit_as_logit_in_the_tail():
    value = relink(torch.tensor([-30.0], dtype=torch.float64), Probit(), Logit()).value
    assert value.item() == pytest.approx(special.log_ndtr(-30.0), rel=1e-13)


def test_outside_the_domain_is_nan():
    value = relink(torch.tensor([-1.0], dtype=torch.float64), Identity(), Log()).value
    assert value.isnan().all()


def test_links_are_values(name):
    link = LINKS[name]
    assert link == type(link)() and hash(link) == hash(type(link)())
    assert pickle.loads(pickle.dumps(link)) == link
    assert repr(link) == f"{type(link).__name__}()"
    assert sum(link == other for other in LINKS.values()) == 1


def test_a_users_link_is_accepted():
    class Cauchit(Identity):
        name = "cauchit"

    link = Cauchit()
    assert resolve_link(link, allowed=["log"]) is link


@pytest.mark.parametrize(
    ("asked", "allowed", "message"),
    [
        ("lgo", None, "did you mean 'log'"),
        ("probit", ["log", "identity"], "Known: identity, log"),
        (Probit(), ["log", "identity"], "Known: identity, log"),
        (3, None, "got 3 of type int"),
    ],
)
def test_refused_links(asked: str | Link, allowed, message):
    with pytest.raises(SpecificationError, match=message):
        resolve_link(asked, allowed)
