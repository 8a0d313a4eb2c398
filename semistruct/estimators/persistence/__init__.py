"""Fitted models as files: tensors and plain values, never code."""
