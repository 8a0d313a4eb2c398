"""What every smooth promises, over the whole registry: rows, penalties, constraints, values."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest

from semistruct.exceptions import DataError
from semistruct.terms import SMOOTHS, parse_formula, re, s, te, ti
from semistruct.terms.smooth_base import SmoothTerm, SplineTerm

OPERATIONS = {"rtol": 1e-9, "atol": 1e-9}  # sums of a few hundred products
CENTRED = 1e-10  # of column sums, relative to column sizes
RANK = 1e-9  # eigenvalues below this share of the largest are zero
# Products of dense matrices may round by the number of rows; sparse rows do not.
DENSE_ROWS = {"rtol": 1e-11, "atol": 1e-12}
DENSE = (SMOOTHS["tp"], SMOOTHS["ts"], SMOOTHS["gp"])
N = 120


MAP = {"b": ["a", "c"], "a": ["b"], "c": ["b", "without rows"], "without rows": ["c"]}
RING = {i: [(i - 1) % 6, (i + 1) % 6] for i in range(6)}


def examples() -> list:
    terms = [s("x", bs=bs, k=8) for bs, kind in SMOOTHS.items() if issubclass(kind, SplineTerm)]
    terms += [
        s("x", bs=bs, k=8, by=by) for bs in ("ps", "cr", "tp") for by in ("group", "dose", "order")
    ]
    terms += [s("x", "z", bs=bs, k=15) for bs in ("tp", "ts", "gp")]
    terms += [s("x", bs="bs", k=8, m=(3, 2, 1)), s("shared", k=6), s("shared", k=6, by="group")]
    terms += [s("x", k=8, extrapolate="constant"), s("x", bs="tp", k=8, extrapolate="constant")]
    terms += [s("x", lam=2.0, scaled=False), te("x", "z", bs="ps", lam=(1, 2), scaled=False)]
    terms += [s("x", bs="mpi"), s("x", by="group", bs="cv", k=7)]
    terms += [
        s("x", select=True),
        s("x", by="group", select=True),
        s("x", df=4),
        s("shared", k=6, df=2.5),
    ]
    terms += [
        te("x", "z", select=True),
        te("x", "z"),
        te("x", "z", bs="ps"),
        te("x", "z", bs=("cc", "tp"), k=(6, 5)),
    ]
    terms += [te("x", "z", by="dose"), te("x", "z", "shared", k=4), te("x", "z", by="group", k=4)]
    terms += [ti("x", "z"), ti("x", "z", bs="ps"), ti("x")]
    terms += [
        s("x", "group", bs="fs", k=6),
        s("x", "group", bs="fs", k=6, base="ps", lam=(1, 2, 3)),
    ]
    terms += [s("group", bs="mrf", neighbours=MAP), s("number", bs="mrf", neighbours=RING, k=4)]
    terms += [re("group"), re("number"), re("group", "dose"), s("group", bs="re")]
    return terms


def make_frame(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(1.0, 2.0, size=n),
            "shared": rng.integers(0, 9, n) * 0.3,
            "dose": rng.normal(1.0, 1.0, size=n),
            "group": rng.choice(["a", "b", "c"], n),
            "number": rng.integers(0, 5, n),
            "order": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), ["lo", "mid", "hi"], True),
        },
        index=rng.permutation(n) + 1000,
    )


FRAME = make_frame(N, 0)
NEW = make_frame(40, 1)


# Neither random effects nor varying multiples of a curve, nor products of centred margins.
CONSTRAINED = [
    term
    for term in examples()
    if isinstance(term, SmoothTerm) and term.by != "dose" and term.prefix != "ti"
]


@pytest.fixture(params=examples(), ids=lambda term: f"{type(term).__name__}-{term.text()}")
def term(request):
    return request.param


@pytest.fixture
def basis(term):
    return term.build(FRAME)


def is_dense(term) -> bool:
    return isinstance(term, DENSE) or "tp" in (*getattr(term, "bs", ()), getattr(term, "base", ""))


def test_inputs_vary():
    assert FRAME.nunique().min() >= 3
    assert NEW["x"].min() < FRAME["x"].quantile(0.05)


def test_every_smooth_has_an_example():
    assert {type(term) for term in examples()} >= set(SMOOTHS.values())


def test_shapes_and_names(term, basis):
    p = len(basis.names)
    assert basis.design(FRAME).shape == (N, p)
    assert len(set(basis.names)) == p
    assert all(name.startswith(basis.label) for name in basis.names)
    assert len(basis.penalties) == len(basis.penalty_scales) == len(basis.lam) == len(basis.ranks)
    assert all(S.shape == (p, p) for S in basis.penalties)
    assert basis.label == term.label
    assert set(basis.variables) == set(term.reads)


def test_penalties_and_null_space(basis):
    total = 0.0
    for S, rank in zip(basis.penalties, basis.ranks, strict=True):
        np.testing.assert_array_equal(S, S.T)
        values = np.linalg.eigvalsh(S)
        assert values[0] > -1e-12 * values[-1]
        assert (values > RANK * values[-1]).sum() == rank
        total = total + S / values[-1]
    values = np.linalg.eigvalsh(total)
    assert (values < RANK * values[-1]).sum() == basis.null_dim


def test_rows_alone_and_in_a_batch(term, basis):
    for frame in (FRAME, NEW):
        X = basis.design(frame).dense()
        alone = np.vstack([basis.design(frame.iloc[[i]]).dense() for i in range(len(frame))])
        if is_dense(term):
            np.testing.assert_allclose(alone, X, **DENSE_ROWS)
        else:
            np.testing.assert_array_equal(alone, X)


def test_order_of_rows(term, basis):
    order = np.random.default_rng(3).permutation(N)
    X = basis.design(FRAME).dense()
    moved = basis.design(FRAME.iloc[order]).dense()
    repeated = basis.design(pd.concat([FRAME] * 3)).dense()
    tolerance = DENSE_ROWS if is_dense(term) else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(moved, X[order], **tolerance)
    np.testing.assert_allclose(repeated, np.vstack([X] * 3), **tolerance)


def test_learning_does_not_depend_on_the_order_of_rows(term, basis):
    other = term.build(FRAME.iloc[::-1])
    # The same curves: penalised fits agree whatever the signs of eigenvectors.
    y = np.sin(2 * FRAME["x"].to_numpy()) + FRAME["z"].to_numpy()

    def fit(basis):
        X = basis.design(FRAME).dense()
        S = sum(basis.penalties) + 1e-8 * np.eye(X.shape[1])
        return X @ np.linalg.solve(X.T @ X + S, X.T @ y)

    np.testing.assert_allclose(fit(other), fit(basis), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("constrained", CONSTRAINED, ids=lambda term: term.text())
def test_curves_sum_to_zero(constrained):
    basis = constrained.build(FRAME)
    frame, curves = FRAME, basis.curves
    for i, (_, columns) in enumerate(curves):
        if basis.by.levels is not None:
            # Every curve is centred over all rows, also those of other groups.
            frame = FRAME.assign(**{basis.by.by: basis.by.levels[i]})
        X = basis.design(frame).dense()[:, columns]
        assert np.abs(X.sum(axis=0)).max() < CENTRED * np.abs(X).sum(axis=0).max()


def test_operations(basis):
    rng = np.random.default_rng(4)
    for frame in (FRAME, NEW, FRAME.iloc[:0]):
        block = basis.design(frame)
        X = block.dense()
        n, p = X.shape
        beta, r, w = rng.normal(size=(p, 2)), rng.normal(size=(n, 2)), rng.normal(size=n)
        np.testing.assert_allclose(block.matvec(beta), X @ beta, **OPERATIONS)
        np.testing.assert_allclose(block.matvec(beta[:, 0]), X @ beta[:, 0], **OPERATIONS)
        np.testing.assert_allclose(block.rmatvec(r), X.T @ r, **OPERATIONS)
        np.testing.assert_allclose(block.gram(w), X.T @ (w[:, None] * X), **OPERATIONS)


def test_values(term, basis):
    assert term == dataclasses.replace(term)
    assert hash(term) == hash(dataclasses.replace(term))
    assert pickle.loads(pickle.dumps(term)) == term
    with pytest.raises(dataclasses.FrozenInstanceError):
        term.label = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        basis.names = ()
    with pytest.raises(ValueError, match="read-only"):
        basis.penalties[0][0, 0] = 1.0
    again = pickle.loads(pickle.dumps(basis))
    np.testing.assert_array_equal(again.design(NEW).dense(), basis.design(NEW).dense())


def test_building_changes_nothing(term):
    before = FRAME.copy(deep=True)
    term.build(FRAME).design(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)


def test_text_is_a_formula(term):
    (parsed,) = parse_formula(f"y ~ 0 + {term.text()}").terms.structured
    assert parsed.text() == term.text()
    np.testing.assert_array_equal(
        parsed.build(FRAME).design(NEW).dense(), term.build(FRAME).design(NEW).dense()
    )


def test_bad_columns(term, basis):
    for name in basis.variables:
        numeric = name in ("x", "z", "shared", "dose")
        with pytest.raises(DataError, match=f"'{name}'"):
            basis.design(NEW.drop(columns=name))
        with pytest.raises(DataError, match=f"'{name}'"):
            term.build(FRAME.drop(columns=name))
        missing = NEW.copy()
        missing[name] = missing[name].astype(float if numeric else object)
        missing.iloc[7, missing.columns.get_loc(name)] = np.nan
        with pytest.raises(DataError, match=f"'{name}'.*row 7"):
            basis.design(missing)
        if numeric:
            with pytest.raises(DataError, match=f"'{name}'.*dtype"):
                basis.design(NEW.assign(**{name: NEW[name].astype(str)}))
    with pytest.raises(DataError, match=r"without rows|no rows"):
        term.build(FRAME.iloc[:0])


@pytest.mark.parametrize("bs", [bs for bs, kind in SMOOTHS.items() if issubclass(kind, SplineTerm)])
def test_training_checks(bs):
    with pytest.raises(DataError, match=r"'x'.*constant"):
        s("x", bs=bs).build(FRAME.assign(x=1.5))
    with pytest.raises(DataError, match=r"k=10.*'shared'.*9; use k=9"):
        s("shared", bs=bs, k=10).build(FRAME)
    assert len(s("shared", bs=bs, k=9).build(FRAME).names) in (7, 8)
