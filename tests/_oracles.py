"""Values computed by other software: where they lie, how they are read, when a test may skip.

A case is a folder with ``data.csv``, ``expected.json``, ``meta.json`` and the script that made
them. It is looked for in

1. ``tests/oracles/<case>``, where cases lie whose data may be redistributed,
2. ``$SEMISTRUCT_ORACLES/<case>``,
3. ``../shared/oracles/<case>``, beside the repository.

A case found nowhere skips its test. The summary of a test run counts those skips, and the run
fails if it skipped one although the folder 2 or 3 exists: a comparison is never lost in silence.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

__all__ = ["ORACLE_VARIABLE", "Oracle", "OracleSkips", "external_oracles", "load_oracle"]

REPOSITORY = Path(__file__).resolve().parent.parent
ORACLE_VARIABLE = "SEMISTRUCT_ORACLES"
SKIP_PREFIX = "oracle case"


@dataclass(frozen=True)
class Oracle:
    """One case.

    Attributes
    ----------
    data : DataFrame
        ``data.csv``; columns that are factors in R are categorical, reference level first.
    expected : dict
        ``expected.json`` as it stands. Vectors of length one are scalars there.
    files : dict of str to DataFrame
        Every CSV file of the case by name, ``data.csv`` included.
    meta : dict
        ``meta.json``: the R formula, what was computed, suggested tolerances, notes.
    """

    data: pd.DataFrame
    expected: dict[str, Any]
    files: dict[str, pd.DataFrame]
    meta: dict[str, Any]

    def rows(self, values: Mapping[str, Any]) -> pd.DataFrame:
        """Rows written in ``expected``, with the factors of the data."""
        frame = pd.DataFrame({name: np.atleast_1d(column) for name, column in values.items()})
        for name in frame.columns.intersection(self.data.columns):
            if isinstance(self.data[name].dtype, pd.CategoricalDtype):
                levels = self.data[name].cat.categories
                frame[name] = pd.Categorical(frame[name].astype(str), categories=levels)
        return frame


def external_oracles() -> Path | None:
    """The folder of cases outside the repository, or None where there is none.

    Raises
    ------
    pytest.UsageError
        If ``SEMISTRUCT_ORACLES`` names something that is not a folder.
    """
    named = os.environ.get(ORACLE_VARIABLE)
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise pytest.UsageError(f"{ORACLE_VARIABLE}={named!r} is not a folder.")
        return folder
    beside = REPOSITORY.parent / "shared" / "oracles"
    return beside if beside.is_dir() else None


def load_oracle(case: str) -> Oracle:
    """Read a case, or skip the calling test where the case is absent.

    Parameters
    ----------
    case : str
        Name of the folder, for example ``"D01_gam_gaussian_mcycle_bases"``.
    """
    folders = [REPOSITORY / "tests" / "oracles", external_oracles()]
    for folder in folders:
        if folder is not None and (folder / case / "expected.json").is_file():
            return _read(folder / case)
    pytest.skip(f"{SKIP_PREFIX} {case!r} is not here; set {ORACLE_VARIABLE} to its parent folder.")


def _read(folder: Path) -> Oracle:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    meta_file = folder / "meta.json"
    meta = json.loads(meta_file.read_text(encoding="utf-8")) if meta_file.is_file() else {}
    levels = dict(meta.get("factors") or {})
    files = {path.name: _read_table(path, levels) for path in sorted(folder.glob("*.csv"))}
    return Oracle(files["data.csv"], expected, files, meta)


def _read_table(path: Path, levels: Mapping[str, list[str]]) -> pd.DataFrame:
    # Only R's own NA is missing: a level called "None" or "null" is a level.
    table = pd.read_csv(
        path,
        keep_default_na=False,
        na_values=["NA"],
        dtype=dict.fromkeys(levels, "string"),
        float_precision="round_trip",
    )
    for name in table.columns.intersection(list(levels)):
        # A factor whose levels look like numbers may have been written as numbers.
        table[name] = pd.Categorical(table[name].astype(object), categories=levels[name])
    return table


@functools.cache
def _looks_like_oracle(nodeid: str) -> bool:
    return "oracles" in Path(nodeid.split("::")[0]).parts


class OracleSkips:
    """Pytest plugin that counts skipped comparisons and fails the run that had no excuse for one.

    A test is a comparison when it lies in a folder ``oracles``, carries the marker ``oracle``, or
    was skipped by :func:`load_oracle`.
    """

    name = "oracle-skips"

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.available = external_oracles()
        self.skipped: dict[str, str] = {}

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        marked = "oracle" in getattr(report, "keywords", {})
        if marked or _looks_like_oracle(report.nodeid) or reason.startswith(SKIP_PREFIX):
            self.skipped[report.nodeid] = reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.available and self.skipped and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        failed = bool(self.available and self.skipped)
        terminalreporter.write_line(f"oracle skips: {len(self.skipped)}", red=failed, bold=failed)
        if failed:
            for nodeid, reason in sorted(self.skipped.items()):
                terminalreporter.write_line(f"  {nodeid}: {reason}")
            terminalreporter.write_line(
                f"The run fails: {self.available} holds reference values, so no comparison may "
                "be skipped.",
                red=True,
            )
