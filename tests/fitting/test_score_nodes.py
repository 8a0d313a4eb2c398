"""Means over the nodes of rows, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from semistruct.fitting.score_nodes import Nodes


@pytest.fixture
def nodes(rng) -> Nodes:
    row = np.repeat([0, 1, 2, 3], [1, 5, 1, 3])
    return Nodes(4, row, rng.normal(size=(10, 2)))


def test_means(nodes):
    mean, log = nodes.mean(nodes.values), nodes.logmean(nodes.values)
    for i in range(nodes.n):
        own = nodes.values[nodes.row == i]
        np.testing.assert_allclose(mean[i], own.mean(axis=0))
        np.testing.assert_allclose(log[i], logsumexp(own, axis=0) - np.log(len(own)))
    np.testing.assert_array_equal(log[[0, 2]], nodes.values[[0, 6]])
    np.testing.assert_array_equal(nodes.mixed, [1, 3])
    np.testing.assert_allclose(np.bincount(nodes.row, nodes.weight), 1)


def test_far_values_and_impossible_ones():
    values = np.array([[-1e4], [-1e4 - 1], [-np.inf], [-np.inf], [1e4], [-np.inf]])
    found = Nodes(3, np.array([0, 0, 1, 1, 2, 2]), values).logmean(values)[:, 0]
    expected = [-1e4 + np.log((1 + np.exp(-1)) / 2), -np.inf, 1e4 - np.log(2)]
    np.testing.assert_allclose(found, expected)


def test_rows_are_taken_with_all_their_nodes(nodes):
    order = np.array([3, 0, 3, 1])
    taken = nodes.take(order)
    for place, i in enumerate(order):
        np.testing.assert_array_equal(
            taken.values[taken.row == place], nodes.values[nodes.row == i]
        )


def test_single_nodes_are_left_as_they_are(rng):
    values = rng.normal(size=(4, 2))
    nodes = Nodes.single(values)
    assert nodes.mean(values) is values and nodes.logmean(values) is values
    assert Nodes.single(values[:0]).mean(values[:0]).shape == (0, 2)
