"""The plain likelihood of few rows is the general one, and gives way where it has to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import semistruct.losses.cox as cox
from semistruct.exceptions import DataError
from semistruct.losses import CoxRiskSets, cox_partial_likelihood
from semistruct.losses._small import evaluate, falling_order, sort_follow_up

# Both ways add the same numbers in another order.
ROUNDING = 1e-12


def follow_up(pattern: str, n: int = 60):
    rng = np.random.default_rng(7)
    time, event = rng.exponential(size=n), rng.random(n) < 0.6
    if pattern == "tied":
        time = np.ceil(4 * time)
    elif pattern == "tied censored":
        time[~event] = np.ceil(2 * time[~event])
    elif pattern == "all at once":
        time[:] = 2.0
    elif pattern == "last is an event":
        event[np.argmin(time)] = event[np.argmax(time)] = True
    elif pattern == "one row":
        time, event = time[:1], np.array([True])
    return time, event


PATTERNS = ["plain", "tied", "tied censored", "all at once", "last is an event", "one row"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("reused", [False, True])
def test_value_and_gradient_are_the_general_ones(pattern, ties, reused, monkeypatch):
    time, event = follow_up(pattern)
    eta = torch.from_numpy(np.random.default_rng(8).normal(size=len(time))).requires_grad_()
    sets = CoxRiskSets.from_data(time, event)
    data = {"risk_sets": sets} if reused else {"time": time, "event": event}
    assert sets.small is not None and evaluate(eta.detach().numpy(), sets.small, True) is not None

    def results(reduction):
        loss = cox_partial_likelihood(eta, **data, ties=ties, reduction=reduction)
        (gradient,) = torch.autograd.grad(3.0 * loss, eta)
        return type(loss.grad_fn).__name__, loss.item(), gradient.numpy()

    found = {reduction: results(reduction) for reduction in ("sum", "mean")}
    monkeypatch.setattr(cox, "_small_loss", lambda *_: None)
    for reduction, (name, loss, gradient) in found.items():
        general, expected, slopes = results(reduction)
        assert name != general or reduction == "mean"
        assert_allclose(loss, expected, rtol=ROUNDING, atol=ROUNDING)
        assert_allclose(gradient, slopes, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("reused", [False, True])
def test_second_derivatives(ties, reused):
    time, event = follow_up("tied", 12)
    eta = torch.from_numpy(np.random.default_rng(9).normal(size=12)).requires_grad_()
    data = {"time": time, "event": event}
    if reused:
        data = {"risk_sets": CoxRiskSets.from_data(**data)}
    assert torch.autograd.gradgradcheck(
        lambda values: cox_partial_likelihood(values, **data, ties=ties, reduction="mean"), eta
    )


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_members_are_the_loop_over_them(pattern, ties, reused, dtype):
    time, event = follow_up(pattern)
    rng = np.random.default_rng(9)
    eta = torch.from_numpy(rng.normal(size=(3, 7, len(time)))).to(dtype).requires_grad_()
    sets = CoxRiskSets.from_data(time, event)
    data = {"risk_sets": sets} if reused else {"time": time, "event": event}
    cotangent = torch.from_numpy(rng.normal(size=(3, 7))).to(dtype)
    resolution = ROUNDING if dtype == torch.float64 else 1e-6
    for reduction in ("sum", "mean"):
        loss = cox_partial_likelihood(eta, **data, ties=ties, reduction=reduction)
        assert "Small" in type(loss.grad_fn).__name__
        assert loss.shape == (3, 7) and loss.dtype == dtype
        (gradient,) = torch.autograd.grad((loss * cotangent).sum(), eta)
        for i, j in np.ndindex(3, 7):
            own = eta.detach()[i, j].requires_grad_()
            one = cox_partial_likelihood(own, **data, ties=ties, reduction=reduction)
            (slope,) = torch.autograd.grad(one * cotangent[i, j], own)
            assert_allclose(loss[i, j].item(), one.item(), rtol=resolution, atol=resolution)
            assert_allclose(gradient[i, j], slope, rtol=resolution, atol=resolution)
    loss = cox_partial_likelihood(eta, **data, ties=ties)
    first, second = (
        torch.autograd.grad((loss * cotangent).sum(), eta, retain_graph=True)[0] for _ in range(2)
    )
    assert torch.equal(first, second)
    with torch.no_grad():
        assert_allclose(cox_partial_likelihood(eta, **data, ties=ties), loss.detach())


def test_members_out_of_range_and_second_derivatives():
    time, event = follow_up("tied", 12)
    sets = CoxRiskSets.from_data(time, event)
    eta = torch.from_numpy(np.random.default_rng(1).normal(size=(18, 12)))
    eta[17, 3] = 900.0
    loss = cox_partial_likelihood(eta.requires_grad_(), risk_sets=sets)
    assert "Small" not in type(loss.grad_fn).__name__
    alone = [cox_partial_likelihood(member, risk_sets=sets).item() for member in eta.detach()]
    assert_allclose(loss.detach(), alone, rtol=ROUNDING)
    few = eta.detach()[:2].requires_grad_()
    assert torch.autograd.gradgradcheck(lambda e: cox_partial_likelihood(e, risk_sets=sets), few)
    nothing = torch.zeros((0, 12), dtype=torch.float64, requires_grad=True)
    assert cox_partial_likelihood(nothing, risk_sets=sets).shape == (0,)


@pytest.mark.parametrize("eta", [800.0, -800.0, 40.0, np.nan])
def test_predictors_out_of_range_go_the_general_way(eta):
    time, event = follow_up("tied")
    values = np.random.default_rng(1).normal(size=60)
    moved = values + eta
    sets = sort_follow_up(time, event)
    assert evaluate(values, sets, True) is not None and evaluate(moved, sets, True) is None
    loss = cox_partial_likelihood(torch.from_numpy(moved), time, event)
    expected = cox_partial_likelihood(torch.from_numpy(values), time, event)
    assert torch.isnan(loss) if np.isnan(eta) else abs(loss - expected) < 1e-10


def test_single_precision_and_no_graph():
    time, event = follow_up("plain")
    eta = torch.randn(60, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = cox_partial_likelihood(eta, time, event)
    loss.backward()
    assert loss.dtype == eta.grad.dtype == torch.float32
    with torch.no_grad():
        assert cox_partial_likelihood(eta, time, event).item() == loss.item()


def test_what_is_not_for_few_plain_rows():
    time, event = follow_up("plain")
    assert CoxRiskSets.from_data(time, event, strata=event.astype(int)).small is None
    assert CoxRiskSets.from_data(time, event, entry=time / 2).small is None
    assert CoxRiskSets.from_data(time, np.zeros(60)).small is None
    assert sort_follow_up(time, np.zeros(60, dtype=bool)) is None
    many = np.arange(1.0, 10_002.0)
    assert CoxRiskSets.from_data(many, many > 0).small is None
    with pytest.raises(DataError, match="eta has shape"):
        cox_partial_likelihood(torch.zeros(59), time, event)


def test_the_order_of_rows():
    rng = np.random.default_rng(2)
    for lowest in (-3.0, 0.0):
        time = np.concatenate([rng.integers(lowest, 4, 50) / 3.0, [0.0, -0.0, 1e-310, 1e308]])
        event = rng.random(54) < 0.5
        order = falling_order(time, event)
        assert_allclose(time[order], np.sort(time)[::-1])
        same = np.diff(time[order]) == 0
        assert (np.diff(event[order].astype(int))[same] >= 0).all() and same.any()
