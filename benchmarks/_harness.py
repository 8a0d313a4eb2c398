"""What every benchmark shares: results that survive an interruption, fair timings, tables.

A benchmark is a list of cases (flat dicts of JSON values) and a function from a case to a dict of
numbers. Each finished case is one line of ``results/<name>.jsonl``, so that an interrupted run goes
on where it stopped and a table can be made again without computing anything.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "RESULTS",
    "ResultLog",
    "TimingRatio",
    "environment",
    "markdown_table",
    "replace_block",
    "time_ratio",
    "write_table",
]

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
REPORTED_PACKAGES = ("semistruct", "torch", "numpy", "scipy", "scikit-learn")


def environment() -> dict[str, Any]:
    """Processor, thread count and versions: what a timing has to be read with."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or None,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in REPORTED_PACKAGES},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class ResultLog:
    """Results of one benchmark in a file of JSON lines.

    A line holds the case, the version of the benchmark, its result and the seconds it took. Cases
    of another version are kept in the file and count as not done.

    Parameters
    ----------
    path : path
        The file; made when the first result is written.
    version : int
        Raise it whenever the meaning of a result changes.
    """

    def __init__(self, path: str | os.PathLike[str], version: int = 1) -> None:
        self.path = Path(path)
        self.version = version

    def records(self) -> list[dict[str, Any]]:
        """Finished records of this version, in the order written; of one case the last."""
        found: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the line that was being written when the run was interrupted
                if record["version"] == self.version:
                    found[_key(record["case"])] = record
        return list(found.values())

    def run(
        self,
        cases: Iterable[Mapping[str, Any]],
        function: Callable[..., Mapping[str, Any]],
        *,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Call ``function(**case)`` for every case that has no record; return the asked-for cases.

        Returns
        -------
        DataFrame
            One row per case, in the order of ``cases``: its columns, the result's, ``seconds``.
        """
        cases = [dict(case) for case in cases]
        done = {_key(record["case"]): record for record in self.records()}
        for number, case in enumerate(cases, start=1):
            if _key(case) in done:
                continue
            start = time.perf_counter()
            result = dict(function(**case))
            record = {
                "case": case,
                "version": self.version,
                "result": _plain(result),
                "seconds": round(time.perf_counter() - start, 3),
                "environment": environment(),
            }
            self._append(record)
            done[_key(case)] = json.loads(json.dumps(record))
            if progress:
                print(f"{self.path.stem} {number}/{len(cases)} {case} {record['seconds']} s")
        return _frame([done[_key(case)] for case in cases])

    def frame(self) -> pd.DataFrame:
        """All finished cases, without computing anything."""
        return _frame(self.records())

    def _append(self, record: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            # A record never continues the half line of an interrupted run.
            if file.tell() and not _ends_with_newline(self.path):
                file.write(b"\n")
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _key(case: Mapping[str, Any]) -> str:
    return json.dumps(_plain(case), sort_keys=True)


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as JSON values."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        [{**record["case"], **record["result"], "seconds": record["seconds"]} for record in records]
    )


@dataclass(frozen=True)
class TimingRatio:
    """How long one thing takes relative to another, measured side by side.

    Attributes
    ----------
    ratio : float
        Median over rounds of time of the candidate / time of the reference.
    lower, upper : float
        Quartiles of the ratio over rounds.
    candidate, reference : float
        Median seconds of each.
    rounds : int
    """

    ratio: float
    lower: float
    upper: float
    candidate: float
    reference: float
    rounds: int

    def as_dict(self) -> dict[str, float]:
        """Its fields, to be stored as a result."""
        return asdict(self)


def time_ratio(
    candidate: Callable[[], Any],
    reference: Callable[[], Any],
    *,
    rounds: int = 15,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> TimingRatio:
    """Time two functions in turns.

    A busy machine slows both members of a round alike, so ratios are steady where times are not.
    The order within a round alternates, so that neither always runs on the other's warm cache.

    Parameters
    ----------
    candidate, reference : callables without arguments
    rounds : int
        Measured pairs.
    warmup : int
        Pairs run before the first measured one.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}.")

    def seconds(function: Callable[[], Any]) -> float:
        start = clock()
        function()
        return clock() - start

    for _ in range(warmup):
        candidate()
        reference()
    times = np.empty((rounds, 2))
    pair = (candidate, reference)
    for i in range(rounds):
        for j in (0, 1) if i % 2 == 0 else (1, 0):
            times[i, j] = seconds(pair[j])
    ratios = times[:, 0] / times[:, 1]
    lower, ratio, upper = np.quantile(ratios, [0.25, 0.5, 0.75])
    medians = np.median(times, axis=0)
    return TimingRatio(
        float(ratio), float(lower), float(upper), float(medians[0]), float(medians[1]), rounds
    )


def markdown_table(
    table: pd.DataFrame, *, formats: Mapping[str, str] | None = None, missing: str = "–"
) -> str:
    """A frame as a markdown table: numbers to the right, the index left out.

    Parameters
    ----------
    table : DataFrame
    formats : mapping of column to format specification, optional
        For example ``{"r2": ".3f"}``; numbers without one are printed with ``.4g``.
    missing : str
        What stands where there is no value.
    """
    formats = dict(formats or {})
    unknown = set(formats) - set(table.columns)
    if unknown:
        raise ValueError(f"formats for columns that do not exist: {sorted(unknown)}.")

    def cell(column: str, value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return missing
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        if column in formats:
            return format(value, formats[column])
        if isinstance(value, float | np.floating):
            return format(value, ".4g")
        return str(value).replace("|", "\\|")

    right = [pd.api.types.is_numeric_dtype(table[column]) for column in table.columns]
    lines = [
        [str(column) for column in table.columns],
        ["---:" if numeric else "---" for numeric in right],
        *(
            [cell(column, value) for column, value in zip(table.columns, row, strict=True)]
            for row in table.itertuples(index=False, name=None)
        ),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_table(
    name: str,
    table: pd.DataFrame,
    *,
    title: str,
    notes: str = "",
    formats: Mapping[str, str] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Write ``<folder>/<name>.md``: title, notes, table, and the machine it was made on."""
    machine = ", ".join(f"{key} {value}" for key, value in environment().items())
    parts = [f"# {title}", notes.strip(), markdown_table(table, formats=formats).rstrip(), machine]
    path = folder / f"{name}.md"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


def replace_block(path: str | os.PathLike[str], marker: str, text: str) -> None:
    """Put ``text`` between ``<!-- marker -->`` and ``<!-- end marker -->`` of a file.

    Raises
    ------
    ValueError
        If the file does not have each of the two lines exactly once, in this order.
    """
    path = Path(path)
    content = path.read_text(encoding="utf-8")
    start, end = f"<!-- {marker} -->\n", f"<!-- end {marker} -->"
    if content.count(start) != 1 or content.count(end) != 1:
        raise ValueError(f"{path} must have one {start.strip()!r} and one {end!r}.")
    before, rest = content.split(start)
    if end not in rest:
        raise ValueError(f"{path}: {end!r} stands before {start.strip()!r}.")
    after = rest.split(end)[1]
    path.write_text(f"{before}{start}{text.rstrip()}\n{end}{after}", encoding="utf-8")
