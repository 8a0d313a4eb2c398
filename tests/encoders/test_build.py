"""From names and options to encoders."""

from __future__ import annotations

from semistruct.encoders import build_encoder


def test_asking_for_flips_does_not_switch_off_shifts():
    encoder = build_encoder("cnn", (1, 8, 8), {"hflip": True}, 0)
    assert encoder.augmentation.hflip
    assert encoder.augmentation.shift > 0
    without = build_encoder("cnn", (1, 8, 8), {"hflip": True, "shift": 0.0}, 0)
    assert without.augmentation.shift == 0
