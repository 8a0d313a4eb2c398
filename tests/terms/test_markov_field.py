"""Markov random fields over regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _fits import fit_formula

from semistruct.exceptions import DataError, SpecificationError
from semistruct.terms import parse_formula, s
from semistruct.terms.markov_field import MarkovField

SOLVED = 1e-8  # penalised normal equations of a dozen unknowns, solved in two ways
SIDE = 4


def grid() -> dict[str, list[str]]:
    """A square map of regions that touch along their sides."""
    found = {}
    for i in range(SIDE):
        for j in range(SIDE):
            steps = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            inside = [(a, b) for a, b in steps if 0 <= a < SIDE and 0 <= b < SIDE]
            found[f"r{i}{j}"] = [f"r{a}{b}" for a, b in inside]
    return found


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    regions = [region for region in grid() if region != "r12"]
    frame = pd.DataFrame({"region": rng.choice(regions, 300)})
    row, column = (frame["region"].str[j].astype(int) for j in (1, 2))
    frame["y"] = np.sin(row / 2.0) + 0.3 * column + 0.4 * rng.normal(size=300)
    assert frame["region"].nunique() == SIDE**2 - 1
    return frame


def fitted(frame: pd.DataFrame, options: str = ""):
    pairs = s("region", bs="mrf", neighbours=grid()).text()[:-1]
    return fit_formula(f"{pairs}{options})", frame, frame["y"].to_numpy())


def test_penalty_is_the_sum_of_squared_differences(rng, frame):
    basis = s("region", bs="mrf", neighbours=grid()).build(frame)
    beta = rng.normal(size=len(basis.names))
    field = dict(zip(basis.levels, basis.values @ beta, strict=True))
    pairs = [(a, b) for a, others in grid().items() for b in others if a < b]
    expected = sum((field[a] - field[b]) ** 2 for a, b in pairs)
    found = beta @ basis.penalties[0] @ beta * basis.penalty_scales[0]
    np.testing.assert_allclose(found, expected, rtol=SOLVED)


def test_fit_solves_the_penalised_equations(frame):
    problem, fit = fitted(frame, ", lam=3.0")
    basis = problem.designs[0].bases[-1]
    levels = list(basis.levels)
    counts = frame["region"].value_counts().reindex(levels, fill_value=0).to_numpy()
    totals = frame.groupby("region")["y"].sum().reindex(levels, fill_value=0.0).to_numpy()
    L = np.diag([float(len(others)) for others in grid().values()])
    for a, others in grid().items():
        for b in others:
            L[levels.index(a), levels.index(b)] = -1.0
    means = np.linalg.solve(np.diag(counts) + 3.0 / basis.penalty_scales[0] * L, totals)
    np.testing.assert_allclose(
        fit.eta[:, 0], means[[levels.index(r) for r in frame["region"]]], atol=SOLVED
    )
    # A region without rows is the mean of the regions it borders on.
    own = fit.beta[fit.slices[0]]
    new = problem.designs[0].block(pd.DataFrame({"region": ["r12", *grid()["r12"]]})).matvec(own)
    np.testing.assert_allclose(new[0], new[1:].mean(), atol=SOLVED)


def test_field_sums_to_zero_and_smoothing_is_estimated(frame):
    problem, fit = fitted(frame)
    basis = problem.designs[0].bases[-1]
    assert np.abs(basis.design(frame).dense().sum(axis=0)).max() < 1e-10
    assert fit.converged
    assert 3.0 < fit.edf_total < SIDE**2 - 2.0


def test_low_rank(frame):
    _, whole = fitted(frame, ", lam=2.0")
    problem, same = fitted(frame, f", lam=2.0, k={SIDE**2}")
    np.testing.assert_allclose(same.eta, whole.eta, atol=SOLVED)
    problem, low = fitted(frame, ", k=6")
    basis = problem.designs[0].bases[-1]
    assert (len(basis.names), basis.ranks, basis.null_dim) == (5, (5,), 0)
    # What is left out is what the penalty presses down most.
    _, free = fitted(frame)
    assert np.corrcoef(low.eta[:, 0], free.eta[:, 0])[0, 1] > 0.97
    assert low.edf_total < 7


def test_parts_that_do_not_touch_keep_their_own_level():
    neighbours = {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}
    frame = pd.DataFrame({"region": ["a", "b", "c", "d"] * 5})
    basis = s("region", bs="mrf", neighbours=neighbours).build(frame)
    assert (basis.ranks, basis.null_dim) == ((2,), 1)
    with pytest.raises(DataError, match=r"'c', 'd'.*take them off the map"):
        s("region", bs="mrf", neighbours=neighbours).build(frame[frame["region"] < "c"])
    with pytest.raises(SpecificationError, match="2 parts"):
        s("region", bs="mrf", neighbours=neighbours, k=2).build(frame)


def test_unknown_regions(frame):
    term = s("region", bs="mrf", neighbours=grid())
    basis = term.build(frame)
    with pytest.raises(DataError, match=r"region 'r99'.*row 1.*16 regions.*neighbours="):
        basis.design(pd.DataFrame({"region": ["r00", "r99"]}))
    with pytest.raises(DataError, match="'r99'"):
        term.build(frame.replace("r00", "r99"))


def test_a_formula_holds_the_map_as_pairs():
    text = "y ~ s(region, bs='mrf', neighbours=(('a', ('b',)), ('b', ('a',))))"
    (term,) = parse_formula(text).terms.structured
    assert term == s("region", bs="mrf", neighbours={"a": ["b"], "b": ["a"]})


@pytest.mark.parametrize(
    ("neighbours", "match"),
    [
        (None, "none was given"),
        ({"a": "b", "b": "a"}, "list of the regions"),
        ({"a": ["b"], "b": []}, r"'a' borders on 'b', but 'b' not on 'a'"),
        ({"a": ["b"]}, "two regions or more"),
        ({"a": ["b", "c"], "b": ["a"]}, "'c' is not on the map"),
        ({"a": ["a", "b"], "b": ["a"]}, "borders on itself"),
        (7, "mapping"),
    ],
)
def test_maps_that_are_none(neighbours, match):
    with pytest.raises(SpecificationError, match=match):
        MarkovField(("region",), neighbours=neighbours)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 1}, "from 2 to 2"),
        ({"k": 3}, "from 2 to 2"),
        ({"by": "x"}, "takes no by"),
        ({"lam": (1.0, 2.0)}, "one number"),
    ],
)
def test_options_that_are_none(options, match):
    with pytest.raises(SpecificationError, match=match):
        s("region", bs="mrf", neighbours={"a": ["b"], "b": ["a"]}, **options)
    with pytest.raises(SpecificationError, match=r"bs='ps'\) takes no neighbours"):
        s("x", neighbours={"a": ["b"], "b": ["a"]})
