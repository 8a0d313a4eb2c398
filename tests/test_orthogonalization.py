from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from _oracles import load_oracle
from torch import nn

from semistruct.exceptions import DataError, DataWarning, SpecificationError
from semistruct.orthogonalization import OrthogonalizationCell, Orthogonalizer
from semistruct.terms.blocks import DenseBlock, IndexedBlock, StackedBlock

# Householder triangularisation of up to a few hundred rows: rounding errors near 1e-14.
EXACT = 1e-10


def relative_inner_products(X, U, weights=None):
    """Largest ``|x_j' W u_k|`` relative to the lengths of both."""
    w = np.ones(len(X)) if weights is None else weights
    lengths = np.sqrt(np.outer(w @ X**2, w @ U**2))
    return (np.abs((X * w[:, None]).T @ U) / np.maximum(lengths, 1e-300)).max()


def draw(n=200, p=4, d=3, seed=0):
    """A design with an intercept, and features that depend on it and on themselves."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    U = X @ rng.normal(size=(p, d)) + rng.normal(size=(n, d)) ** 3 + 2.0
    assert np.ptp(U, axis=0).min() > 0
    return X, U


def spline_like(x, k=8):
    """Local bumps and the second-difference penalty of their coefficients, centred."""
    knots = np.linspace(x.min(), x.max(), k)
    B = np.maximum(0, 1 - np.abs(x[:, None] - knots) * (k - 1) / np.ptp(x))
    D = np.diff(np.eye(k), 2, axis=0)
    Z = np.linalg.qr(B.sum(0)[:, None], mode="complete")[0][:, 1:]
    return B @ Z, Z.T @ (D.T @ D) @ Z


def structured(n=150, seed=1):
    """Intercept, one linear column, a smooth of seven columns, twenty random intercepts."""
    rng = np.random.default_rng(seed)
    z, x = rng.normal(size=n), rng.uniform(size=n)
    B, S = spline_like(x)
    groups = IndexedBlock(DenseBlock(np.eye(20)), rng.integers(0, 20, n))
    block = StackedBlock([DenseBlock(np.column_stack([np.ones(n), z])), DenseBlock(B), groups])
    kinds = ["parametric"] * 2 + ["smooth"] * 7 + ["random"] * 20
    penalty = np.zeros((29, 29))
    penalty[2:9, 2:9] = 0.5 * S
    penalty[9:, 9:] = np.eye(20)
    U = np.column_stack([np.sin(9 * x) + z, x**2 - z + rng.normal(size=n), rng.normal(size=n)])
    return block, U, kinds, penalty


def eta_moved(projection, block, U, seed=3):
    """Relative change of eta when the features are replaced by their residual."""
    rng = np.random.default_rng(seed)
    beta, gamma = rng.normal(size=block.shape[1]), rng.normal(size=U.shape[1])
    before = block.matvec(beta) + U @ gamma
    after = block.matvec(projection.absorb(beta, gamma)) + projection.shift(gamma)
    after = after + projection.residual(block, U) @ gamma
    return np.abs(after - before).max() / np.abs(before).max()


@pytest.mark.oracle
def test_agrees_with_reference_values():
    expected = load_oracle("G01_splines_basics").expected["orthogonalisation"]
    values = {name: np.asarray(value, dtype=float) for name, value in expected.items()}
    block, kinds = DenseBlock(values["X"]), ["parametric"] * values["X"].shape[1]
    plain = Orthogonalizer().fit(block, values["U"], kinds)
    weighted = Orthogonalizer().fit(block, values["U"], kinds, sample_weight=values["w"])
    np.testing.assert_allclose(plain.G, values["coef_moved"], atol=EXACT)
    np.testing.assert_allclose(plain.residual(block, values["U"]), values["U_orth"], atol=EXACT)
    np.testing.assert_allclose(
        weighted.residual(block, values["U"]), values["U_orth_weighted"], atol=EXACT
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_parametric_columns_are_exactly_orthogonal(weighted):
    block, U, kinds, penalty = structured()
    weights = np.random.default_rng(5).uniform(0, 3, len(U)) if weighted else None
    for target in ("structured", "parametric"):
        projection = Orthogonalizer(target).fit(block, U, kinds, penalty, weights)
        residual = projection.residual(block, U)
        assert relative_inner_products(block.dense()[:, :2], residual, weights) < EXACT
        assert eta_moved(projection, block, U) < EXACT
        assert projection.center.tolist() == [0.0] * 3


def test_smooth_columns_go_through_their_penalised_smoother():
    block, U, kinds, penalty = structured()
    X, w = block.dense()[:, :9], np.random.default_rng(0).uniform(0.5, 2, len(U))
    G = np.linalg.solve((X * w[:, None]).T @ X + penalty[:9, :9], (X * w[:, None]).T @ U)
    projection = Orthogonalizer().fit(block, U, kinds, penalty, w)
    np.testing.assert_allclose(projection.G[:9], G, atol=1e-9)
    gram = (X * w[:, None]).T @ X
    edf = np.trace(np.linalg.solve(gram + penalty[:9, :9], gram))
    assert projection.edf == pytest.approx(edf)
    assert projection.rank == 9
    heavy = Orthogonalizer().fit(block, U, kinds, 1e14 * penalty)
    assert heavy.edf == pytest.approx(3, abs=1e-6)  # intercept, z, and the slope of the smooth
    assert relative_inner_products(X[:, :2], heavy.residual(block, U)) < EXACT
    free = Orthogonalizer().fit(block, U, kinds)
    assert relative_inner_products(X, free.residual(block, U)) < EXACT
    assert np.abs(free.G - projection.G).max() > 1e-3


def test_a_heavy_penalty_does_not_hide_a_light_one():
    rng = np.random.default_rng(0)
    x, v = rng.uniform(size=(2, 300))
    (A, S_a), (B, S_b) = spline_like(x), spline_like(v)
    U = np.column_stack([np.sin(8 * x) + np.cos(9 * v), rng.normal(size=300)])
    penalty = np.zeros((15, 15))
    penalty[1:8, 1:8], penalty[8:, 8:] = 1e8 * S_a, 0.1 * S_b
    X = np.column_stack([np.ones(300), A, B])
    projection = Orthogonalizer().fit(DenseBlock(X), U, ["parametric"] + ["smooth"] * 14, penalty)
    expected = X @ np.linalg.solve(X.T @ X + penalty, X.T @ U)
    # The normal equations behind the expected values lose half of the digits.
    np.testing.assert_allclose(X @ projection.G, expected, atol=1e-6)


def test_random_effects_are_never_in_the_target():
    block, U, kinds, penalty = structured()
    projection = Orthogonalizer().fit(block, U, kinds, penalty)
    assert not projection.G[9:].any()
    assert projection.G[:9].all()
    assert not Orthogonalizer("parametric").fit(block, U, kinds, penalty).G[2:].any()


def test_target_none_leaves_everything():
    X, U = draw()
    projection = Orthogonalizer("none").fit(DenseBlock(X), U, ["parametric"] * 4)
    assert not projection.G.any() and not projection.center.any()
    np.testing.assert_array_equal(projection.residual(DenseBlock(X), U), U)


def test_constant_is_in_the_target_without_an_intercept():
    X, U = draw()
    with_intercept = Orthogonalizer().fit(DenseBlock(X), U, ["parametric"] * 4)
    without = Orthogonalizer().fit(DenseBlock(X[:, 1:]), U, ["parametric"] * 3)
    np.testing.assert_allclose(without.G, with_intercept.G[1:], atol=EXACT)
    np.testing.assert_allclose(without.center, with_intercept.G[0], atol=EXACT)
    assert without.rank == with_intercept.rank == 4
    residual = without.residual(DenseBlock(X[:, 1:]), U)
    assert np.abs(residual.mean(0)).max() < EXACT
    assert eta_moved(without, DenseBlock(X[:, 1:]), U) < EXACT
    empty = Orthogonalizer().fit(DenseBlock(np.empty((200, 0))), U, [])
    np.testing.assert_allclose(empty.center, U.mean(0))
    assert empty.rank == 1


def test_columns_that_add_up_to_a_constant_replace_the_intercept():
    levels = np.arange(90) % 3
    X, U = np.eye(3)[levels], draw(90)[1]
    projection = Orthogonalizer().fit(DenseBlock(X), U, ["parametric"] * 3)
    assert not projection.center.any()
    means = np.array([U[levels == level].mean(0) for level in range(3)])
    np.testing.assert_allclose(projection.residual(DenseBlock(X), U), U - means[levels], atol=EXACT)
    assert eta_moved(projection, DenseBlock(X), U) < EXACT


@pytest.mark.parametrize("extra", ["duplicate", "constant", "sum", "zero"])
def test_dependent_columns(extra):
    X, U = draw()
    column = {
        "duplicate": 3.0 * X[:, 2],
        "constant": np.full(200, 7.1),
        "sum": X[:, 1] - 2 * X[:, 2] + 5,
        "zero": np.zeros(200),
    }[extra]
    block = DenseBlock(np.column_stack([X, column]))
    projection = Orthogonalizer().fit(block, U, ["parametric"] * 5)
    expected = Orthogonalizer().fit(DenseBlock(X), U, ["parametric"] * 4)
    assert projection.rank == 4
    assert np.abs(projection.G).max() < 100
    residual = projection.residual(block, U)
    np.testing.assert_allclose(residual, expected.residual(DenseBlock(X), U), atol=EXACT)
    assert eta_moved(projection, block, U) < EXACT


def test_a_linear_column_beside_a_smooth_that_contains_it():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=120)
    B, S = spline_like(x)
    U = np.column_stack([np.cos(7 * x), rng.normal(size=120)])
    penalty = np.zeros((9, 9))
    penalty[2:, 2:] = S
    block = DenseBlock(np.column_stack([np.ones(120), x, B]))
    kinds = ["parametric"] * 2 + ["smooth"] * 7
    projection = Orthogonalizer().fit(block, U, kinds, penalty)
    assert projection.rank == 8
    assert np.abs(projection.G).max() < 1e4
    residual = projection.residual(block, U)
    assert relative_inner_products(block.dense()[:, :2], residual) < EXACT
    alone = Orthogonalizer().fit(
        DenseBlock(np.column_stack([np.ones(120), B])),
        U,
        ["parametric", *kinds[2:]],
        penalty[1:, 1:],
    )
    np.testing.assert_allclose(
        residual, alone.residual(DenseBlock(block.dense()[:, [0, *range(2, 9)]]), U), atol=1e-8
    )


def test_a_smooth_column_equal_to_a_parametric_one_is_not_noise():
    X, U = draw()
    block = DenseBlock(np.column_stack([X, X[:, 1]]))
    projection = Orthogonalizer().fit(block, U, ["parametric"] * 4 + ["smooth"], np.zeros((5, 5)))
    assert projection.rank == 4
    assert np.abs(projection.G).max() < 100


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    X, U = rng.normal(size=(20, 40)), rng.normal(size=(20, 2))
    with pytest.warns(DataWarning, match=r"20\.0 degrees of freedom.*20 rows"):
        projection = Orthogonalizer().fit(DenseBlock(X), U, ["parametric"] * 40)
    assert projection.rank == 20
    assert np.abs(projection.residual(DenseBlock(X), U)).max() < EXACT


def test_one_row():
    with pytest.warns(DataWarning):
        projection = Orthogonalizer().fit(
            DenseBlock(np.ones((1, 1))), np.ones((1, 2)), ["parametric"]
        )
    np.testing.assert_allclose(projection.G, np.ones((1, 2)))


def test_warns_only_beyond_a_fifth_of_the_rows():
    X, U = draw(n=100, p=21)
    with pytest.warns(DataWarning, match="fifth"):
        Orthogonalizer().fit(DenseBlock(X), U, ["parametric"] * 21)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Orthogonalizer().fit(DenseBlock(X[:, :20]), U, ["parametric"] * 20)
        Orthogonalizer().fit(DenseBlock(X), U, ["smooth"] * 21, 1e6 * np.eye(21))


def test_no_features():
    X, _ = draw()
    projection = Orthogonalizer().fit(DenseBlock(X), np.empty((200, 0)), ["parametric"] * 4)
    assert projection.G.shape == (4, 0)
    assert projection.residual(DenseBlock(X), np.empty((200, 0))).shape == (200, 0)
    np.testing.assert_array_equal(projection.absorb(np.ones(4), np.empty(0)), np.ones(4))


def test_rows_of_weight_zero_are_absent():
    X, U = draw()
    weights = np.random.default_rng(1).integers(0, 3, 200).astype(float)
    kept = weights > 0
    spoiled = np.where(kept[:, None], U, np.nan)
    kinds = ["parametric"] * 4
    with_zeros = Orthogonalizer().fit(DenseBlock(X), spoiled, kinds, None, weights)
    without = Orthogonalizer().fit(DenseBlock(X[kept]), U[kept], kinds, None, weights[kept])
    repeated = np.repeat(np.arange(200), weights.astype(int))
    copies = Orthogonalizer().fit(DenseBlock(X[repeated]), U[repeated], kinds)
    unweighted = Orthogonalizer().fit(DenseBlock(X), U, kinds)
    np.testing.assert_allclose(with_zeros.G, without.G, atol=1e-12)
    np.testing.assert_allclose(with_zeros.G, copies.G, atol=EXACT)
    assert np.abs(with_zeros.G - unweighted.G).max() > 1e-3


def test_order_of_rows_and_units_of_columns_do_not_matter():
    block, U, kinds, penalty = structured()
    X = block.dense()
    projection = Orthogonalizer().fit(block, U, kinds, penalty)
    residual = projection.residual(block, U)
    order = np.random.default_rng(2).permutation(len(X))
    shuffled = Orthogonalizer().fit(DenseBlock(X[order]), U[order], kinds, penalty)
    np.testing.assert_allclose(shuffled.G, projection.G, atol=EXACT)
    units = np.resize([1.0, 1e8, 1e-8], 29)
    scaled, rescaled_penalty = DenseBlock(X * units), penalty * np.outer(units, units)
    other = Orthogonalizer().fit(scaled, U, kinds, rescaled_penalty)
    np.testing.assert_allclose(other.residual(scaled, U), residual, atol=1e-9)
    assert (other.rank, projection.rank) == (9, 9)


def test_columns_far_from_zero_keep_their_slope():
    rng = np.random.default_rng(0)
    seconds = 1.7e9 + rng.normal(size=300)
    U = (seconds - 1.7e9)[:, None] + 0.1 * rng.normal(size=(300, 1))
    block = DenseBlock(np.column_stack([np.ones(300), seconds]))
    projection = Orthogonalizer().fit(block, U, ["parametric"] * 2)
    assert projection.rank == 2
    assert projection.G[1, 0] == pytest.approx(1.0, abs=0.05)
    # X G cancels at 1.7e9 with 16 digits, against residuals of 0.1: no more can be had.
    assert relative_inner_products(block.dense(), projection.residual(block, U)) < 1e-5


def test_replayed_row_by_row():
    block, U, kinds, penalty = structured()
    projection = Orthogonalizer().fit(block, U, kinds, penalty)
    together = projection.residual(block, U)
    rows = np.array([17, 3, 17, 149])
    np.testing.assert_allclose(
        projection.residual(block.take(rows), U[rows]), together[rows], atol=1e-12
    )
    for i in (0, 60):
        alone = projection.residual(block.take(np.array([i])), U[[i]])
        np.testing.assert_allclose(alone[0], together[i], atol=1e-12)


def test_chunks_of_rows_agree_with_one_piece(monkeypatch):
    block, U, kinds, penalty = structured()
    whole = Orthogonalizer().fit(block, U, kinds, penalty)
    monkeypatch.setattr("semistruct.orthogonalization._least_squares._CHUNK_ELEMENTS", 1)
    pieces = Orthogonalizer().fit(block, U, kinds, penalty)
    np.testing.assert_allclose(pieces.G, whole.G, atol=EXACT)
    assert pieces.rank == whole.rank


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"U": np.ones(5)}, r"shape \(n, d\)"),
        ({"U": np.ones((4, 1))}, "4 rows but the table has 5"),
        ({"U": np.array([[1.0], [np.nan], [1], [1], [1]])}, "row 1"),
        ({"kinds": ["parametric"]}, "kinds has 1"),
        ({"sample_weight": np.zeros(5)}, "zero for every row"),
    ],
)
def test_bad_input(change, message):
    given = {"U": np.ones((5, 1)), "kinds": ["parametric"] * 2, "sample_weight": None} | change
    with pytest.raises(DataError, match=message):
        Orthogonalizer().fit(DenseBlock(np.ones((5, 2))), **given)


def test_unknown_target():
    with pytest.raises(SpecificationError, match="'all'"):
        Orthogonalizer("all")


class TestCell:
    def tensors(self, dtype=torch.float64, n=120, p=3, d=2):
        X, U = draw(n, p, d)
        return torch.as_tensor(X, dtype=dtype), torch.as_tensor(U, dtype=dtype)

    def refreshed(self, dtype=torch.float64):
        X, U = self.tensors(dtype)
        cell = OrthogonalizationCell(3, 2)
        cell.refresh(X, U)
        return cell, X, U

    def test_equals_the_orthogonalizer(self):
        cell, X, U = self.refreshed()
        projection = Orthogonalizer().fit(DenseBlock(X.numpy()), U.numpy(), ["parametric"] * 3)
        np.testing.assert_allclose(cell.G.numpy(), projection.G, atol=1e-14)
        assert float((X.T @ cell(X, U)).abs().max()) < 1e-10

    def test_penalty_and_weights(self):
        block, U, kinds, penalty = structured()
        weights = np.random.default_rng(0).uniform(0, 2, len(U))
        X = block.dense()[:, :9]
        cell = OrthogonalizationCell(9, 3)
        cell.refresh(*map(torch.as_tensor, (X, U, weights, penalty[:9, :9])))
        expected = Orthogonalizer().fit(DenseBlock(X), U, kinds[:9], penalty[:9, :9], weights)
        np.testing.assert_allclose(cell.G.numpy(), expected.G, atol=EXACT)

    def test_same_map_in_training_and_evaluation_and_alone(self):
        cell, X, U = self.refreshed()
        train, evaluated = cell.train()(X, U), cell.eval()(X, U)
        assert torch.equal(train, evaluated)
        torch.testing.assert_close(cell(X[5], U[5]), train[5], rtol=0, atol=1e-14)
        torch.testing.assert_close(
            cell(X.reshape(4, 30, 3), U.reshape(4, 30, 2)).reshape(-1, 2), train
        )

    def test_gradients_reach_the_features_and_not_the_map(self):
        cell, X, U = self.refreshed()
        U.requires_grad_()
        cell(X, U).sum().backward()
        torch.testing.assert_close(U.grad, torch.ones_like(U))
        assert not list(cell.parameters())

    def test_survives_state_dict_pickle_and_copy(self):
        cell, X, U = self.refreshed(torch.float32)
        fresh = OrthogonalizationCell(3, 2)
        fresh.load_state_dict(cell.state_dict())
        for other in (fresh, copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
            assert torch.equal(other(X, U), cell(X, U))

    def test_follows_the_dtype_of_the_features(self):
        cell, X, U = self.refreshed(torch.float32)
        assert cell(X, U).dtype == torch.float32
        assert cell(X.double(), U).dtype == torch.float32
        assert cell.double()(X.double(), U.double()).dtype == torch.float64

    def test_refuses_use_before_refresh_and_wrong_shapes(self):
        X, U = self.tensors()
        cell = OrthogonalizationCell(3, 2)
        with pytest.raises(SpecificationError, match="refresh"):
            cell(X, U)
        with pytest.raises(DataError, match=r"X \(n, 3\)"):
            cell.refresh(X[:, :2], U)

    def test_in_a_network_of_ones_own(self):
        rng = np.random.default_rng(0)
        x, v = rng.normal(size=(2, 400, 1))
        y = torch.as_tensor(2 * x + np.sin(2 * v), dtype=torch.float32)
        X = torch.as_tensor(np.hstack([np.ones_like(x), x]), dtype=torch.float32)
        inputs = torch.as_tensor(np.hstack([x + v, v]), dtype=torch.float32)
        torch.default_generator.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
        linear, last = nn.Linear(2, 1, bias=False), nn.Linear(16, 1, bias=False)
        cell = OrthogonalizationCell(2, 16)
        layers = nn.ModuleList([encoder, linear, last])
        optimizer = torch.optim.Adam(layers.parameters(), lr=0.02)
        for _ in range(25):
            with torch.no_grad():
                cell.refresh(X, encoder(inputs))
            for rows in torch.arange(400).split(50):
                eta = linear(X[rows]) + last(cell(X[rows], encoder(inputs[rows])))
                (eta - y[rows]).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        cell.refresh(X, encoder(inputs))
        deep = last(cell(X, encoder(inputs))).detach()
        assert float((linear(X) + deep - y).square().mean().detach()) < 0.1 * float(y.var())
        assert float((X.T @ deep / 400).abs().max()) < 1e-4
        ols = torch.linalg.lstsq(X, y).solution
        torch.testing.assert_close(linear.weight.detach().T, ols, atol=0.15, rtol=0)
