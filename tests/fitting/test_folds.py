"""Folds that cut neither a subject nor a picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semistruct.fitting.folds import make_folds, row_groups, split_groups, stratified_folds


def test_rows_are_tied_through_chains_of_keys():
    subject = ["a", "a", "b", "c", None, None]
    picture = [1, 2, 2, 3, 4, None]
    assert row_groups(6, [subject, picture]).tolist() == [0, 0, 0, 1, 2, 3]
    assert row_groups(3, []).tolist() == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(2, 4))
def test_no_group_is_cut_and_loads_are_balanced(keys, n_folds):
    groups = row_groups(len(keys), [keys])
    n_folds = min(n_folds, len(set(keys)))
    fold = make_folds(groups, n_folds, np.random.default_rng(0))
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    load = np.bincount(fold, minlength=n_folds)
    assert load.max() - load.min() <= np.bincount(groups).max()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(2, 4))
def test_folds_have_equal_shares_of_every_stratum(strata, n_folds):
    groups = np.arange(len(strata))
    fold = stratified_folds(groups, np.array(strata), n_folds, np.random.default_rng(0))
    assert np.ptp(np.bincount(fold, minlength=n_folds)) <= 1
    for stratum in set(strata):
        load = np.bincount(fold[np.array(strata) == stratum], minlength=n_folds)
        assert np.ptp(load) <= 1
    pairs = stratified_folds(groups // 2, np.array(strata), n_folds, np.random.default_rng(0))
    assert (pairs[: len(pairs) // 2 * 2 : 2] == pairs[1::2]).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.floats(0.05, 0.5))
def test_a_split_keeps_groups_whole_and_both_parts_filled(keys, fraction):
    groups = row_groups(len(keys), [keys])
    rows = np.arange(len(keys))[::2]
    rest, part = split_groups(rows, groups, fraction, np.random.default_rng(1))
    assert sorted([*rest, *part]) == rows.tolist()
    assert not set(groups[rest]) & set(groups[part])
    if len(set(groups[rows])) > 1:
        assert len(part) and len(rest)
