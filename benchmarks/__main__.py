"""Run the benchmarks that are asked for by name, or all of them.

``python -m benchmarks`` runs every ``bench_*.py``; ``python -m benchmarks houses`` runs
``bench_houses.py``. Cases with a saved result are not computed again.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["available", "main"]


def available() -> list[str]:
    """Names of the benchmarks, from their files."""
    files = sorted(Path(__file__).parent.glob("bench_*.py"))
    return [file.stem.removeprefix("bench_") for file in files]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run benchmarks by name."""
    names = available()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"one or several of: {', '.join(names) or 'none'}")
    chosen = parser.parse_args(arguments).name or names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(names) or 'none'}")
    for name in chosen:
        print(f"== {name}")
        importlib.import_module(f"benchmarks.bench_{name}").main()


if __name__ == "__main__":
    main()
