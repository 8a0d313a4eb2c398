"""How good predictions are; the public names are in :mod:`semistruct.metrics`."""
