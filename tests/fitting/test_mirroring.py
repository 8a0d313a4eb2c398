"""Mirroring is decided by what mirror images say to networks that saw none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import semistruct as ss

N = 240


def fitted(which: str, **options):
    """Fit to a bright blob whose height (mirror images agree) or side (they do not) matters."""
    rng = np.random.default_rng(3)
    high, left = rng.random(N) < 0.5, rng.random(N) < 0.5
    pixels = rng.normal(0, 0.8, (N, 1, 8, 8))
    rows = np.where(high, 0, 4)
    columns = np.where(left, 0, 4)
    for i in range(N):
        pixels[i, 0, rows[i] : rows[i] + 4, columns[i] : columns[i] + 4] += 1.0
    signal = {"height": high, "side": left}[which]
    frame = pd.DataFrame(
        {"x": rng.normal(size=N), "scan": ss.ImageArray(pixels.astype(np.float32))}
    )
    y = frame["x"] + 2.0 * signal + rng.normal(0, 0.5, N)
    model = ss.SemiStructuredRegressor(
        "x + cnn(scan)", n_folds=2, random_state=0, max_epochs=15, progress=False, **options
    )
    return model.fit(frame, y).fit_.deep.crossfit


def hflips(crossfit):
    return {member.net.terms[0].encoders[0].augmentation.hflip for member in crossfit.members}


def test_where_sides_do_not_matter_all_networks_see_mirror_images():
    found = fitted("height", n_repeats=2)
    assert found.mirrored == ("scan",)
    assert len(found.members) == 4 and hflips(found) == {True}


def test_where_sides_matter_no_network_does():
    found = fitted("side", n_repeats=2)
    assert found.mirrored == ()
    assert len(found.members) == 4 and hflips(found) == {"auto"}


def test_workers_change_nothing():
    one, two = fitted("side", n_repeats=2), fitted("side", n_repeats=2, n_jobs=2)
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("hflip", [True, False])
def test_what_is_asked_for_is_not_questioned(hflip):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"scan": ss.ImageArray(rng.normal(size=(60, 1, 8, 8)).astype(np.float32))})
    model = ss.SemiStructuredRegressor(
        f"cnn(scan, hflip={hflip})",
        n_folds=2,
        n_repeats=1,
        max_epochs=2,
        progress=False,
        random_state=0,
    ).fit(frame, rng.normal(size=60))
    assert hflips(model.fit_.deep.crossfit) == {hflip}
