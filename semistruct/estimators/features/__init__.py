"""Columns of pictures as columns of numbers."""
