"""Experiments with a saved table; run with ``make bench``."""
