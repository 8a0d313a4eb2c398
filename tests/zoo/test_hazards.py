"""DeepPAMM's likelihood is Poisson, MultiSurv's that of survived intervals."""

from __future__ import annotations

import numpy as np
import torch

import semistruct as ss
from semistruct import zoo
from tests._zoo import CASES, QUICK, fitted

EXACT = 1e-10  # the same sum in float64
SINGLE = 1e-5


def test_multi_surv_has_the_likelihood_of_survived_intervals(rng):
    """Written out: log q for a survived interval, credited past its midpoint, log(1 - q) else."""
    model = fitted("multi_surv")
    _, y, _, _ = CASES["multi_surv"].halves()
    cuts = np.asarray(model.intervals_.cuts)
    starts, ends = cuts[:-1], cuts[1:]
    logit = rng.normal(size=(len(y), len(ends)))  # of an event, for every subject and interval
    terms, pairs = [], []
    for i, (time, event) in enumerate(zip(y.time, y.event, strict=True)):
        for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
            q = 1 / (1 + np.exp(logit[i, k]))  # survives it, having reached it
            if event and start < time <= end:
                terms.append(np.log(1 - q))
            elif time >= (start + end) / 2 if not event else time > end:
                terms.append(np.log(q))
            else:
                continue
            pairs.append((i, k))
    within = (starts < y.time[:, None]) & (y.time[:, None] < ends) & ~y.event[:, None]
    late = within & (y.time[:, None] >= (starts + ends) / 2)
    assert 0 < late.sum() < within.sum(), "some are credited, and some are not"

    expansion, problem = model.expansion_, model.fit_.problem
    assert sorted(zip(expansion.row, expansion.interval, strict=True)) == pairs
    eta = logit[expansion.row, expansion.interval][:, None]
    np.testing.assert_allclose(problem.bind().contributions(eta).sum(), np.sum(terms), rtol=EXACT)
    loss = model.family_.batch_loss(
        torch.from_numpy(eta), torch.from_numpy(problem.y), torch.ones(len(eta))
    )
    np.testing.assert_allclose(float(loss), -np.mean(terms), rtol=SINGLE)


def test_multi_surv_ignores_what_is_absent():
    _, _, test, _ = CASES["multi_surv"].halves()
    model, rows = fitted("multi_surv"), test[:4].copy()
    rows["rna"] = ss.TensorArray([None] * 4, dtype=test["rna"].dtype)
    alone = model.predict_survival_function(rows, [1.0])
    assert np.isfinite(alone).all(axis=None) and alone.to_numpy().std() > 0
    assert not np.allclose(alone, model.predict_survival_function(test[:4], [1.0]))


def test_multi_surv_drops_exactly_one_modality_unless_told_otherwise():
    assert zoo.multi_surv("ct", "rna").modality_dropout == "one"
    assert zoo.multi_surv("ct", "rna", modality_dropout=0.2).modality_dropout == 0.2


def test_scores_whose_weight_changes_with_time():
    train, y, _, _ = CASES["multi_surv"].halves()
    options = {**CASES["multi_surv"].options, **QUICK, "max_epochs": 2, "gate": False}
    network = {**options.pop("network"), "by": ss.s("tend", k=4)}
    model = zoo.multi_surv("ct", "rna", network=network, **options).fit(train, y)
    assert len(model.fit_.deep.slots) == 4


def test_deep_pamm_is_poisson_in_the_intervals():
    """The table model of DeepPAMM is the additive model without the picture."""
    train, y, test, y_test = CASES["deep_pamm"].halves()
    model = fitted("deep_pamm")
    table = ss.PAMM("age + s(tend, k=5)", cuts=6).fit(train, y)
    np.testing.assert_allclose(model.loglik_, table.loglik_, rtol=1e-8)
    np.testing.assert_allclose(model.params, table.params, rtol=1e-6)
    assert model.score(test, y_test) > table.score(test, y_test)
