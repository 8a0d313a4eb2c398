"""Comparison of models on the same folds; the public name is :func:`semistruct.compare`."""
