from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses._cox_reference import draw_follow_up, reference
from torch.autograd import gradcheck, gradgradcheck

from semistruct.exceptions import DataError, SpecificationError
from semistruct.losses import CoxRiskSets, cox_partial_likelihood
from semistruct.losses import _risk_moments as moments_module

# Sums of a few tens of float64 terms: rounding of the terms themselves.
EXACT = 1e-12
# eta of size s is only known to s * 2**-53 in float64, and the likelihood inherits that.
ROUNDING_OF_ETA = 4e-16

CASES = list(itertools.product([False, True], [False, True], [False, True], ["efron", "breslow"]))


def loss_and_gradient(eta, **arguments):
    eta = torch.as_tensor(eta).detach().requires_grad_()
    loss = cox_partial_likelihood(eta, **arguments)
    (gradient,) = torch.autograd.grad(loss.sum(), eta)
    return loss.detach().numpy(), gradient.numpy()


def check(eta, follow_up, weights=None, ties="efron", tolerance=EXACT):
    expected_loss, expected_gradient = reference(eta, weights=weights, ties=ties, **follow_up)
    w = None if weights is None else torch.tensor(weights)
    loss, gradient = loss_and_gradient(eta, **follow_up, weights=w, ties=ties)
    np.testing.assert_allclose(loss, expected_loss, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("truncated", "stratified", "tied", "ties"), CASES)
def test_agrees_with_the_written_out_sums(rng, truncated, stratified, tied, ties):
    for n in (1, 2, 5, 17, 33):
        follow_up = draw_follow_up(rng, n, truncated=truncated, stratified=stratified, tied=tied)
        eta = rng.normal(size=n)
        assert n == 1 or np.ptp(eta) > 0
        check(eta, follow_up, ties=ties)
        check(eta, follow_up, rng.uniform(0.2, 3.0, n), ties)
        check(eta, follow_up, rng.choice([0.0, 0.5, 2.0], n), ties)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("sd", [30.0, 100.0, 3000.0])
@pytest.mark.parametrize("shift", [0.0, 120.0, 1e6])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_any_spread_and_shift_of_eta(rng, truncated, sd, shift, ties):
    for tied in (False, True):
        follow_up = draw_follow_up(rng, 40, truncated=truncated, stratified=False, tied=tied)
        eta = rng.normal(size=40) * sd + shift
        tolerance = EXACT + 20 * ROUNDING_OF_ETA * np.abs(eta).max()
        check(eta, follow_up, ties=ties, tolerance=tolerance)
        check(eta, follow_up, rng.choice([0.0, 1.0, 2.0], 40), ties, tolerance)


@pytest.mark.parametrize("pattern", ["all tied", "one event", "no event", "one subject", "absent"])
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("sd", [30.0, 100.0])
def test_extremes_of_size_at_any_spread(rng, pattern, truncated, sd):
    n = 1 if pattern == "one subject" else 25
    time, event = rng.integers(2, 9, n).astype(float), np.ones(n, bool)
    weights = None
    if pattern == "all tied":
        time[:] = 4.0
    elif pattern == "one event":
        event = np.arange(n) == 7
    elif pattern == "no event":
        event = np.zeros(n, bool)
    elif pattern == "absent":
        weights = rng.choice([0.0, 0.0, 1.0, 3.0], n)
    entry = time - rng.integers(1, 4, n) if truncated else None
    eta = rng.normal(size=n) * sd + 120.0
    tolerance = EXACT + 20 * ROUNDING_OF_ETA * np.abs(eta).max()
    for ties in ("efron", "breslow"):
        follow_up = {"time": time, "event": event, "entry": entry}
        check(eta, follow_up, weights, ties, tolerance)


def test_tens_of_thousands_in_both_directions():
    eta = np.array([1e4, -1e4, 0.0, 1e4, -1e4, -9.5e3])
    time = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 5.0])
    for entry in (None, time - 2.5):
        check(eta, {"time": time, "event": np.ones(6, bool), "entry": entry}, tolerance=1e-11)


@pytest.mark.parametrize("truncated", [False, True])
def test_the_two_scales_agree(rng, monkeypatch, truncated):
    follow_up = draw_follow_up(rng, 60, truncated=truncated, stratified=True, tied=True)
    eta, v = rng.normal(size=60), torch.tensor(rng.normal(size=60))
    weights = torch.tensor(rng.choice([0.0, 1.0, 2.5], 60))

    def everything():
        risk_sets = CoxRiskSets.from_data(**follow_up)
        at = torch.tensor(eta, requires_grad=True)
        loss = cox_partial_likelihood(at, risk_sets=risk_sets, weights=weights, reduction="none")
        (gradient,) = torch.autograd.grad((loss * v).sum(), at, create_graph=True)
        (product,) = torch.autograd.grad((gradient * v).sum(), at)
        return loss.detach(), gradient.detach(), product

    natural = everything()
    monkeypatch.setitem(moments_module._LARGEST_EXPONENT, torch.float64, -1.0)
    for a, b in zip(natural, everything(), strict=True):
        torch.testing.assert_close(a, b, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize("weighting", ["none", "shared", "zeros", "batched"])
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_first_and_second_derivatives(rng, reduction, weighting, truncated, ties):
    n = 11
    weights = {
        "none": None,
        "shared": torch.tensor(rng.uniform(0.2, 2.0, n)),
        "zeros": torch.tensor(rng.choice([0.0, 1.0, 2.0], n)),
        "batched": torch.tensor(rng.choice([0.0, 1.0, 2.0], (2, n))),
    }[weighting]
    follow_up = draw_follow_up(rng, n, truncated=truncated, stratified=True, tied=True)
    risk_sets = CoxRiskSets.from_data(**follow_up)
    eta = torch.tensor(rng.normal(size=(2, n)), requires_grad=True)

    def loss(at):
        return cox_partial_likelihood(
            at, risk_sets=risk_sets, weights=weights, ties=ties, reduction=reduction
        )

    assert gradcheck(loss, eta)
    assert gradgradcheck(loss, eta)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_batch_equals_loop(rng, truncated, ties, reduction):
    follow_up = draw_follow_up(rng, 50, truncated=truncated, stratified=True, tied=True)
    risk_sets = CoxRiskSets.from_data(**follow_up)
    # one member too widely spread for the natural scale brings all to the logarithmic one
    eta = rng.normal(size=(2, 3, 50)) * np.array([1.0, 5.0, 2000.0])[:, None]
    weights = torch.tensor(rng.choice([0.0, 1.0, 2.0], (3, 50)))
    arguments = {"risk_sets": risk_sets, "ties": ties, "reduction": reduction}
    loss, gradient = loss_and_gradient(eta, weights=weights, **arguments)
    assert loss.shape == ((2, 3, 50) if reduction == "none" else (2, 3))
    for a, b in itertools.product(range(2), range(3)):
        one_loss, one_gradient = loss_and_gradient(eta[a, b], weights=weights[b], **arguments)
        np.testing.assert_allclose(loss[a, b], one_loss, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(gradient[a, b], one_gradient, rtol=1e-10, atol=1e-10)


def test_weights_alone_can_bring_the_batch(rng):
    follow_up = draw_follow_up(rng, 20, truncated=False, stratified=False, tied=True)
    eta = torch.tensor(rng.normal(size=20), requires_grad=True)
    weights = torch.tensor(rng.uniform(0.5, 2.0, (4, 20)))
    loss = cox_partial_likelihood(eta, **follow_up, weights=weights)
    assert loss.shape == (4,)
    (gradient,) = torch.autograd.grad(loss.sum(), eta)
    assert gradient.shape == (20,)
    alone = [cox_partial_likelihood(eta, **follow_up, weights=w).item() for w in weights]
    np.testing.assert_allclose(loss.detach().numpy(), alone, rtol=EXACT)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_weight_zero_is_absence(rng, truncated, ties):
    follow_up = draw_follow_up(rng, 40, truncated=truncated, stratified=True, tied=True)
    eta = rng.normal(size=40)
    weights = rng.choice([0.0, 0.7, 2.0], 40)
    kept = weights > 0
    assert 0 < kept.sum() < 40
    rest = {k: None if v is None else v[kept] for k, v in follow_up.items()}
    loss, gradient = loss_and_gradient(eta, **follow_up, weights=torch.tensor(weights), ties=ties)
    few_loss, few_gradient = loss_and_gradient(
        eta[kept], **rest, weights=torch.tensor(weights[kept]), ties=ties
    )
    np.testing.assert_allclose(loss, few_loss, rtol=EXACT)
    np.testing.assert_allclose(gradient[kept], few_gradient, rtol=EXACT, atol=EXACT)
    assert not gradient[~kept].any()
    eta[~kept] = np.nan  # whatever an absent row holds
    again, _ = loss_and_gradient(eta, **follow_up, weights=torch.tensor(weights), ties=ties)
    np.testing.assert_allclose(again, loss, rtol=EXACT)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    truncated=st.booleans(),
    stratified=st.booleans(),
    tied=st.booleans(),
    ties=st.sampled_from(["efron", "breslow"]),
)
def test_order_of_rows_does_not_matter(seed, n, truncated, stratified, tied, ties):
    rng = np.random.default_rng(seed)
    follow_up = draw_follow_up(rng, n, truncated=truncated, stratified=stratified, tied=tied)
    eta = rng.normal(size=n) * 5.0
    weights = rng.choice([0.0, 1.0, 1.5], n)
    order = rng.permutation(n)
    shuffled = {k: None if v is None else v[order] for k, v in follow_up.items()}
    loss, gradient = loss_and_gradient(eta, **follow_up, weights=torch.tensor(weights), ties=ties)
    other_loss, other_gradient = loss_and_gradient(
        eta[order], **shuffled, weights=torch.tensor(weights[order]), ties=ties
    )
    np.testing.assert_allclose(other_loss, loss, rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(other_gradient, gradient[order], rtol=EXACT, atol=EXACT)


def test_censored_at_an_event_time_is_still_at_risk():
    eta = torch.zeros(2, dtype=torch.float64)
    for time, event in (([1.0, 1.0], [1, 0]), ([1.0, 1.0], [0, 1])):
        assert cox_partial_likelihood(eta, time, event).item() == pytest.approx(np.log(2.0))


def test_entry_at_an_event_time_is_not_yet_at_risk():
    eta = torch.zeros(3, dtype=torch.float64)
    loss = cox_partial_likelihood(eta, [1.0, 2.0, 2.0], [1, 0, 0], entry=[0.0, 1.0, 0.5])
    assert loss.item() == pytest.approx(np.log(2.0))


def test_entries_before_everything_change_nothing(rng):
    follow_up = draw_follow_up(rng, 30, truncated=False, stratified=True, tied=True)
    eta = rng.normal(size=30)
    loss, gradient = loss_and_gradient(eta, **follow_up)
    for start in (np.zeros(30), np.full(30, -np.inf)):
        same_loss, same_gradient = loss_and_gradient(eta, **{**follow_up, "entry": start})
        np.testing.assert_allclose(same_loss, loss, rtol=EXACT)
        np.testing.assert_allclose(same_gradient, gradient, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_no_events_give_zero_and_no_gradient(rng, truncated, reduction):
    time = np.array([1.0, 2.0, 3.0])
    follow_up = {"time": time, "event": np.zeros(3), "entry": time - 1 if truncated else None}
    for eta in (rng.normal(size=(2, 3)), rng.normal(size=(2, 3)) * 1e4):
        loss, gradient = loss_and_gradient(eta, **follow_up, reduction=reduction)
        assert not loss.any()
        assert not gradient.any()
    loss, gradient = loss_and_gradient(
        rng.normal(size=3), **{**follow_up, "event": np.ones(3)}, weights=torch.zeros(3)
    )
    assert loss == 0.0
    assert not gradient.any()


def test_extremes_of_size(rng):
    everyone = {"time": np.ones(50), "event": np.ones(50, bool)}
    check(rng.normal(size=50), everyone)
    one = {"time": np.arange(50.0), "event": np.arange(50) == 20}
    check(rng.normal(size=50), one)
    check(np.array([3.0]), {"time": np.ones(1), "event": np.ones(1, bool)})
    check(np.array([3.0]), {"time": np.ones(1), "event": np.zeros(1, bool)})


def test_efron_and_breslow_differ_on_ties_only(rng):
    eta = torch.tensor(rng.normal(size=30))
    for tied in (False, True):
        follow_up = draw_follow_up(rng, 30, truncated=False, stratified=False, tied=tied)
        follow_up["event"][:] = True
        efron = cox_partial_likelihood(eta, **follow_up, ties="efron").item()
        breslow = cox_partial_likelihood(eta, **follow_up, ties="breslow").item()
        assert (abs(efron - breslow) > 0.1) == tied


def test_reductions(rng):
    follow_up = draw_follow_up(rng, 40, truncated=False, stratified=True, tied=True)
    eta = torch.tensor(rng.normal(size=40))
    weights = torch.tensor(rng.uniform(0.5, 2.0, 40))
    arguments = {**follow_up, "weights": weights}
    total = cox_partial_likelihood(eta, **arguments)
    rows = cox_partial_likelihood(eta, **arguments, reduction="none")
    event = torch.tensor(follow_up["event"])
    torch.testing.assert_close(rows.sum(), total, rtol=EXACT, atol=0.0)
    assert not rows[~event].any()
    mean = cox_partial_likelihood(eta, **arguments, reduction="mean")
    torch.testing.assert_close(mean, total / weights[event].sum(), rtol=EXACT, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_is_accumulated_in_double(rng, dtype):
    follow_up = draw_follow_up(rng, 200, truncated=False, stratified=False, tied=True)
    eta = torch.tensor(rng.normal(size=200) * 20).to(dtype).requires_grad_()
    loss = cox_partial_likelihood(eta, **follow_up)
    assert loss.dtype == torch.float32
    (gradient,) = torch.autograd.grad(loss, eta)
    assert gradient.dtype == dtype
    exact_loss, exact_gradient = loss_and_gradient(eta.detach().double(), **follow_up)
    resolution = torch.finfo(dtype).eps
    np.testing.assert_allclose(loss.item(), exact_loss, rtol=1e-6)
    np.testing.assert_allclose(
        gradient.double().numpy(), exact_gradient, rtol=resolution, atol=resolution
    )


def test_not_a_number_is_passed_on():
    eta = torch.tensor([0.0, float("nan")], requires_grad=True)
    assert cox_partial_likelihood(eta, [1.0, 2.0], [1, 1]).isnan()


def test_one_large_tie_needs_memory_in_proportion(rng):
    # a matrix of the tied events would have 1e10 entries
    n = 100_000
    time = rng.random(n)
    time[: n // 2] = 0.5
    loss, gradient = loss_and_gradient(rng.normal(size=n), time=time, event=np.ones(n, bool))
    assert np.isfinite(loss)
    assert abs(gradient.sum()) < 1e-6


FOLLOW_UP = {"time": [1.0, 2.0, 3.0], "event": [1, 0, 1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": [1.0, np.nan, 3.0]}, "time must be finite; row 1 has nan"),
        ({"time": [1.0, np.inf, 3.0]}, "time must be finite; row 1 has inf"),
        ({"event": [1, 2, 0]}, "event must be 0, 1 or bool; row 1 has"),
        ({"event": [1, 0]}, "event has 2 rows but time has 3"),
        ({"entry": [0.0, 2.0, 0.0]}, "row 1 has entry 2.0 and time 2.0"),
        ({"entry": [0.0, np.nan, 0.0]}, "row 1 has entry nan"),
        ({"strata": [1, 2]}, "strata has 2 rows but time has 3"),
        ({"time": [[1.0, 2.0, 3.0]]}, "time must be 1-dimensional"),
        ({"weights": torch.tensor([1.0, -1.0, 1.0])}, "row 1 has -1.0"),
        ({"weights": torch.tensor([1.0, 1.0, float("nan")])}, "row 2 has nan"),
        ({"weights": torch.ones(2)}, "weights have shape (2,) but eta has 3 rows"),
        ({"eta": torch.zeros(4)}, "eta has shape (4,) but the risk sets have 3 rows"),
        ({"time": [], "event": [], "eta": torch.zeros(0)}, "time is empty"),
    ],
)
def test_unusable_data(change, message):
    arguments = {"eta": torch.zeros(3), **FOLLOW_UP, **change}
    with pytest.raises(DataError, match=re.escape(message)):
        cox_partial_likelihood(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ties": "exact"}, "ties must be 'efron' or 'breslow', got 'exact'"),
        ({"reduction": "max"}, "reduction must be"),
        ({"event": None}, "give time and event, or risk_sets"),
        ({"risk_sets": CoxRiskSets.from_data([1.0], [1])}, "give either the follow-up"),
        ({"weights": torch.ones(3, requires_grad=True)}, "weights are constants"),
    ],
)
def test_senseless_requests(change, message):
    with pytest.raises(SpecificationError, match=re.escape(message)):
        cox_partial_likelihood(**{"eta": torch.zeros(3), **FOLLOW_UP, **change})


def test_risk_sets_move_whole(rng):
    follow_up = draw_follow_up(rng, 30, truncated=True, stratified=True, tied=True)
    for entry in (None, follow_up["entry"]):
        risk_sets = CoxRiskSets.from_data(**{**follow_up, "entry": entry})
        eta = torch.tensor(rng.normal(size=30))
        before = cox_partial_likelihood(eta, risk_sets=risk_sets)
        copied = risk_sets.map(torch.clone)
        after = cox_partial_likelihood(eta, risk_sets=copied)
        assert before == after
        assert copied.scan.tied_rows is not risk_sets.scan.tied_rows
        assert risk_sets.to("cpu") is risk_sets
        assert "3 strata" in repr(risk_sets)
        elsewhere = risk_sets.to("meta")
        assert elsewhere.scan.tied_rows.device.type == "meta"
        with pytest.raises(DataError, match=r"risk_sets\.to\(eta\.device\)"):
            cox_partial_likelihood(eta, risk_sets=elsewhere)
