"""Finished scores in a file of JSON lines, so that an interrupted comparison goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Checkpoint", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """Scores of one model on one fold, or why there are none.

    Attributes
    ----------
    key : str
        Fingerprint of model, rows and metrics.
    model : str
    repeat, fold, n_train, n_test : int
    scores : dict of str to float
        NaN where the model has no such score.
    fit_seconds, score_seconds : float
    error : str
        Kind and message of the failure; empty where there was none.
    notes : dict of str to str
        Why a score is missing, by metric.
    chosen : dict of str to str
        What a search chose, where the model is one.
    """

    key: str
    model: str
    repeat: int
    fold: int
    n_train: int
    n_test: int
    scores: dict[str, float] = field(default_factory=dict)
    fit_seconds: float = np.nan
    score_seconds: float = np.nan
    error: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)


class Checkpoint:
    """A file of finished outcomes; of one key the last line counts.

    Parameters
    ----------
    path : path or None
        Made with its folders when the first outcome is written. None keeps nothing.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)

    def finished(self) -> dict[str, Outcome]:
        """Outcomes without error by key; the failed ones are tried again."""
        found: dict[str, Outcome] = {}
        if self.path is None or not self.path.is_file():
            return found
        for line in self.path.read_text(encoding="utf-8").splitlines():
            record = _read(line)
            if record is not None and not record["error"]:
                found[record["key"]] = Outcome(**record)
        return found

    def append(self, outcome: Outcome) -> None:
        """Write one line, to the disk and not only to the system's memory."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            # The half line of an interrupted run must not become part of this one.
            if file.tell() and not _ends_with_newline(self.path):
                file.write(b"\n")
            file.write(json.dumps(asdict(outcome)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _read(line: str) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None  # the line that was being written at the interruption
    return record if isinstance(record, dict) and "key" in record else None


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
