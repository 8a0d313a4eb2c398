"""What cannot be used is refused in words, or repaired with a warning; no half fit stays."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.exceptions import NotFittedError
from torch import nn

import semistruct as ss
from semistruct import SemiStructuredRegressor

N = 80
DEEP = {"n_folds": 2, "n_repeats": 1, "max_epochs": 2, "progress": False, "random_state": 0}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "z": rng.uniform(1, 2, N),
            "sex": rng.choice(["f", "m"], N),
            "scan": ss.ImageArray(rng.integers(0, 255, (N, 1, 8, 8)).astype(np.uint8)),
        }
    )
    frame["y"] = 1 + frame["x"] + rng.normal(size=N)
    assert frame["y"].std() > 0
    return frame


def refuses(frame, message, formula="y ~ x", error=ss.DataError, y=None, **options):
    """Fitting fails in these words, also after an earlier fit, and leaves nothing fitted."""
    model = SemiStructuredRegressor(formula, **{**DEEP, **options})
    fitted = SemiStructuredRegressor("x0").fit([[0.0], [1.0], [2.0], [4.0]], [0.0, 1.0, 3.0, 3.0])
    for estimator in (model, fitted.set_params(**model.get_params())):
        with pytest.raises(error, match=message):
            estimator.fit(frame, y)
        left = [name for name in vars(estimator) if name.endswith("_")]
        assert left == [], left
        with pytest.raises(NotFittedError):
            estimator.predict(frame)


# ---------------------------------------------------------------------- the formula


def test_unknown_columns(frame):
    refuses(frame, "'xx'.*did you mean 'x'", "y ~ xx")
    refuses(frame, "'area'", "y ~ s(area)")
    refuses(frame, "'city'", "y ~ re(city)")
    refuses(frame, "'scann'", "y ~ cnn(scann)")
    refuses(frame, "'bmi'", "y ~ mlp(bmi)")
    refuses(frame, "'bmi'", "y ~ deep(scan, bmi)")
    refuses(frame, "'w'", "y ~ x + offset(w)")
    refuses(frame, "'id'", "y ~ x + cluster(id)")
    refuses(frame, "'price'", "price ~ x")
    refuses(frame, "'nothing_", "y ~ cols('nothing_*')")


def test_unknown_functions_and_code(frame):
    wrong = ss.SpecificationError
    refuses(frame, r"'sx'(.|\n)*\^\^", "y ~ sx(x)", wrong)
    refuses(frame, "'eval'", "y ~ eval(x)", wrong)
    for formula in ("y ~ x.values", "y ~ __import__('os')", "y ~ x[0]", "y ~ (lambda: x)()"):
        refuses(frame, r"\^", formula, wrong)
    refuses(frame, "fuson", "y ~ deep(scan, x, fuson='gated')", wrong)
    refuses(frame, "'gatd'", "y ~ deep(scan, x, fusion='gatd')", wrong)


def test_smooths_and_networks_of_the_wrong_columns(frame):
    refuses(frame, "'sex'", "y ~ s(sex)")
    refuses(frame, r"cnn\(scan\)", "y ~ scan", ss.SpecificationError)
    refuses(frame, "'scan'", "y ~ s(scan)", (ss.DataError, ss.SpecificationError))
    refuses(frame, "'x'", "y ~ cnn(x)")
    refuses(frame, "deep", "y ~ cnn(scan, x)", ss.SpecificationError)
    refuses(frame, "deep", "y ~ mlp(scan, x)", ss.SpecificationError)


# ---------------------------------------------------------------------- the table


def test_a_text_column_with_very_many_levels():
    n = 10_000
    frame = pd.DataFrame({"id": [f"patient {i}" for i in range(n)], "y": np.arange(n) % 7.0})
    refuses(frame, r"'id' has 10000 levels.*re\(id\)", "y ~ id")
    refuses(frame[["id"]], "10000 levels", None, y=frame["y"])


def test_missing_values(frame):
    frame.loc[[2, 5], "x"] = np.nan
    for formula in ("y ~ x + z", "y ~ s(x)", "y ~ z + offset(x)"):
        refuses(frame, "'x'.*2", formula)
    frame.loc[3, "sex"] = None
    refuses(frame, "'sex'", "y ~ sex")
    refuses(frame, "'sex'", "y ~ re(sex)")
    model = SemiStructuredRegressor("y ~ z").fit(frame)  # the others do not matter
    frame.loc[1, "z"] = np.nan
    with pytest.raises(ss.DataError, match="'z'"):
        model.predict(frame)


def test_infinite_values(frame):
    frame.loc[4, "x"] = np.inf
    for formula in ("y ~ x", "y ~ s(x)", "y ~ z + offset(x)"):
        refuses(frame, "'?x'?.*(infinite|finite)", formula)
    refuses(frame[["x", "z"]].to_numpy(), "infinity", None, ValueError, y=frame["y"])
    model = SemiStructuredRegressor("y ~ s(z) + x").fit(frame.drop(index=4))
    for name in ("x", "z"):
        with pytest.raises(ss.DataError, match=f"'{name}'"):
            model.predict(frame.drop(index=4).assign(**{name: -np.inf}))


def test_no_rows_and_no_columns(frame):
    refuses(frame.iloc[:0], "no rows")
    refuses(frame.iloc[:0], "no rows", None, y=[])
    refuses(frame[[]], "no columns", None, y=frame["y"])
    refuses(np.empty((0, 2)), "0 sample", None, ValueError, y=[])


def test_one_row(frame):
    """A single row gives a constant, with warnings; networks refuse."""
    with pytest.warns(ss.DataWarning):
        model = SemiStructuredRegressor("y ~ x").fit(frame.iloc[:1])
    np.testing.assert_allclose(model.predict(frame), frame["y"].iloc[0], rtol=1e-6)
    refuses(frame.iloc[:2], "at least 3 independent groups", "y ~ 1 + cnn(scan)")


def test_predicting_no_rows(frame):
    model = SemiStructuredRegressor("y ~ x + s(z) + re(sex)").fit(frame)
    deep = SemiStructuredRegressor("y ~ x + cnn(scan)", **DEEP, gate=False).fit(frame)
    for fitted in (model, deep):
        assert fitted.predict(frame.iloc[:0]).shape == (0,)
        assert fitted.predict_params(frame.iloc[:0]).shape == (0, 2)
        assert fitted.predict_interval(frame.iloc[:0]).shape == (0, 2)
        assert len(fitted.term_contributions(frame.iloc[:0])) == 0


def test_a_constant_column_is_dropped_with_a_warning(frame):
    frame["one"] = 3.0
    with pytest.warns(ss.DataWarning, match="'one'"):
        model = SemiStructuredRegressor("y ~ x + one").fit(frame)
    plain = SemiStructuredRegressor("y ~ x").fit(frame)
    np.testing.assert_allclose(model.predict(frame), plain.predict(frame), rtol=1e-10)
    assert "one" in str(model.summary())
    refuses(frame, "'one'", "y ~ s(one)")


def test_collinear_columns_are_dropped_with_a_warning(frame):
    frame["twice"] = 2 * frame["x"] - 1
    with pytest.warns(ss.DataWarning, match="'twice'"):
        model = SemiStructuredRegressor("y ~ x + twice + z").fit(frame)
    plain = SemiStructuredRegressor("y ~ x + z").fit(frame)
    np.testing.assert_allclose(model.params, plain.params, rtol=1e-8)
    np.testing.assert_allclose(model.predict(frame), plain.predict(frame), rtol=1e-8)
    assert np.isfinite(model.bse).all()


def test_more_columns_than_rows(frame):
    wide = pd.DataFrame(np.random.default_rng(1).normal(size=(10, 15))).add_prefix("g")
    with pytest.warns() as caught:
        model = SemiStructuredRegressor().fit(wide, frame["y"].iloc[:10])
    assert any(issubclass(w.category, ss.DataWarning) for w in caught)
    assert np.isfinite(model.predict(wide)).all()


def test_two_columns_of_one_name(frame):
    refuses(pd.concat([frame, frame[["x"]]], axis=1), "two columns called 'x'")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([datetime.datetime(2020, 1, 1 + i % 28) for i in range(N)], "datetime64"),
        ([1 + 2j] * N, "complex"),
        ([[1, 2]] * N, "list"),
        ([1, "a"] * (N // 2), "mixed|int, str"),
    ],
)
def test_columns_that_are_neither_numbers_nor_groups(column, message, frame):
    refuses(frame.assign(when=column), f"'when'.*({message})", "y ~ when")


def test_what_is_no_table(frame):
    for X in ("text", 3, None, [1, 2, 3], np.zeros((3, 2, 2))):
        with pytest.raises((ValueError, TypeError)):
            SemiStructuredRegressor().fit(X, [1.0, 2.0, 3.0])
    with pytest.raises((ValueError, TypeError)):
        SemiStructuredRegressor("y ~ x").fit(frame.to_dict("list"))


def test_a_level_never_seen(frame):
    model = SemiStructuredRegressor("y ~ x + sex").fit(frame)
    with pytest.raises(ss.DataError, match=r"'unknown'.*'sex'"):
        model.predict(frame.assign(sex="unknown"))
    groups = SemiStructuredRegressor("y ~ x + re(sex)").fit(frame)
    new = groups.term_contributions(frame.assign(sex="unknown"))
    assert (new["loc", "re(sex)"] == 0).all()  # the mean of the population of groups


def test_a_column_missing_at_prediction(frame):
    model = SemiStructuredRegressor("y ~ x + s(z)").fit(frame)
    for name in ("x", "z"):
        with pytest.raises(ss.DataError, match=f"'{name}'"):
            model.predict(frame.drop(columns=name))
    everything = SemiStructuredRegressor().fit(frame[["x", "z"]], frame["y"])
    with pytest.raises(ValueError, match="feature names"):
        everything.predict(frame[["x"]])
    deep = SemiStructuredRegressor("y ~ x + cnn(scan)", **DEEP, gate=False, learning_rate=0.01)
    deep.set_params(max_epochs=40).fit(frame.assign(y=frame["y"] + 3 * bright(frame)))
    with pytest.raises(ss.DataError, match="'scan'"):
        deep.predict(frame.drop(columns="scan"))
    with pytest.raises(ss.DataError, match="'scan'"):
        deep.predict(frame.assign(scan=1.5))


def bright(frame):
    return frame["scan"].array.batch().mean(axis=(1, 2, 3)) / 2


# ---------------------------------------------------------------------- the response


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(3), "y has 3 rows but the table has 80"),
        (np.zeros((N, 2)), "one column"),
        (np.where(np.arange(N) == 7, np.nan, 1.0), "row 7|missing"),
        (np.where(np.arange(N) == 7, np.inf, 1.0), "row 7|finite"),
        (["a"] * N, "numbers|number"),
        (np.full(N, "1.0 kg"), "numbers|number"),
        (np.ones(N) + 1j, "complex|real"),
    ],
    ids=["length", "columns", "nan", "inf", "text", "array of text", "complex"],
)
def test_responses_that_cannot_be(y, message, frame):
    refuses(frame, message, "x", y=y)


@pytest.mark.parametrize(
    ("family", "value", "message"),
    [
        ("lognormal", 0.0, "positive"),
        ("gamma", -1.0, "positive"),
        ("poisson", 1.5, "whole|integer|counts|0, 1"),
        ("poisson", -1.0, "0, 1|whole|counts|not negative"),
        ("bernoulli", 2.0, "0 and 1|0 or 1"),
    ],
)
def test_a_response_outside_the_support(family, value, message, frame):
    y = np.ones(N)
    y[::2] = 1.0 if family != "bernoulli" else 0.0
    y[11] = value
    refuses(frame, f"(?s)11.*({message})|({message}).*11", "x", y=y, family=family)


def test_a_constant_response(frame):
    """Fitted exactly, with the scale at its documented floor."""
    model = SemiStructuredRegressor("x").fit(frame, np.full(N, 2.0))
    assert 0 < model.predict_params(frame)["scale"].iloc[0] < 1e-6
    np.testing.assert_allclose(model.predict(frame), 2.0, rtol=1e-8)


# ---------------------------------------------------------------------- pictures


def test_image_columns_of_the_wrong_type(frame):
    refuses(frame.assign(scan=1.0), "'scan'", "y ~ cnn(scan)")
    refuses(frame.assign(scan=[{}] * N), "'scan'", "y ~ cnn(scan)")
    refuses(frame.assign(scan="nowhere.png"), "nowhere.png", "y ~ cnn(scan)")
    flat = frame.assign(scan=ss.TensorArray(np.zeros((N, 5))))
    refuses(flat, "scan|shape", "y ~ cnn(scan)", (ss.DataError, ss.SpecificationError))
    empty = frame.assign(scan=ss.ImageArray([None] * N))
    refuses(empty, "every row of column 'scan' is missing", "y ~ cnn(scan)")


def test_pictures_of_several_sizes(frame):
    rows = [np.zeros((8 + i % 2, 8), np.uint8) for i in range(N)]
    mixed = frame.assign(scan=pd.Series(rows, dtype=object))
    refuses(mixed, "one shape", "y ~ cnn(scan)")
    ragged = frame.assign(scan=ss.TensorArray([row[None] for row in rows]))
    refuses(ragged, "scan|shape", "y ~ cnn(scan)", (ss.DataError, ss.SpecificationError))


def test_a_text_file_named_jpg(frame, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(N)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(path)
    paths[6].write_text("this is no picture")
    column = frame.assign(scan=[str(path) for path in paths])
    refuses(column, r"6\.jpg", "y ~ cnn(scan)")
    lazy = frame.assign(scan=ss.ImageArray.from_files(paths, size=8))
    refuses(lazy, r"row 6.*6\.jpg|6\.jpg.*row 6", "y ~ cnn(scan)")


class Picky(nn.Module):
    def forward(self, x):
        raise RuntimeError("I like no pictures")


class Shifty(nn.Module):
    """Works in the trial run, fails in training."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, x):
        if self.training:
            raise RuntimeError("not today")
        return self.layer(x.flatten(1))


def test_encoders_that_fail(frame):
    refuses(
        frame,
        "I like no pictures",
        "y ~ own(scan)",
        ss.SpecificationError,
        encoders={"own": Picky()},
    )
    refuses(frame, "not today", "y ~ own(scan)", RuntimeError, encoders={"own": Shifty()})


class Interrupted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, x):
        if self.training:
            raise KeyboardInterrupt
        return self.layer(x.flatten(1))


def test_an_interrupted_fit_is_no_fit(frame):
    model = SemiStructuredRegressor("y ~ x", **DEEP).fit(frame)
    model.set_params(formula="y ~ x + own(scan)", encoders={"own": Interrupted()})
    with pytest.raises(KeyboardInterrupt):
        model.fit(frame)
    with pytest.raises(NotFittedError):
        model.predict(frame)
    assert not hasattr(model, "n_features_in_")
    again = model.set_params(formula="y ~ x", encoders=None).fit(frame)
    assert np.isfinite(again.predict(frame)).all()


def test_a_diverging_network_warns_and_falls_back(frame):
    """Weights that become infinite are not kept."""
    model = SemiStructuredRegressor(
        "y ~ x + own(scan)",
        encoders={"own": nn.Sequential(nn.Flatten(), nn.Linear(64, 2), Explodes())},
        **DEEP,
    )
    with pytest.warns(ss.ConvergenceWarning, match="diverged"):
        model.fit(frame)
    table = SemiStructuredRegressor("y ~ x").fit(frame)
    np.testing.assert_allclose(model.predict(frame), table.predict(frame), rtol=1e-12)


class Explodes(nn.Module):
    def forward(self, x):
        return x / 0.0 if self.training else torch.zeros_like(x)
