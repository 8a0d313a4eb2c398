"""Benchmarks resume, compare fairly and write what they measured."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import __main__ as runner
from benchmarks._harness import (
    ResultLog,
    environment,
    markdown_table,
    replace_block,
    time_ratio,
    write_table,
)


class Counter:
    def __init__(self, fail_at: int | None = None) -> None:
        self.calls: list[int] = []
        self.fail_at = fail_at

    def __call__(self, n: int) -> dict[str, object]:
        if n == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(n)
        return {"square": np.float64(n**2), "parts": np.arange(2)}


CASES = [{"n": n} for n in range(4)]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "results" / "squares.jsonl"
    with pytest.raises(KeyboardInterrupt):
        ResultLog(path).run(CASES, Counter(fail_at=2), progress=False)
    second = Counter()
    rows = ResultLog(path).run(CASES, second, progress=False)
    assert second.calls == [2, 3]
    assert rows["square"].tolist() == [0, 1, 4, 9]
    assert rows["parts"].iloc[3] == [0, 1]
    assert len(path.read_text().splitlines()) == len(CASES)
    pd.testing.assert_frame_equal(rows, ResultLog(path).frame())


def test_a_half_written_line_is_computed_again_and_harms_no_other(tmp_path):
    path = tmp_path / "squares.jsonl"
    ResultLog(path).run(CASES[:2], Counter(), progress=False)
    path.write_bytes(path.read_bytes()[:-20])
    again = Counter()
    assert ResultLog(path).run(CASES, again, progress=False)["n"].tolist() == [0, 1, 2, 3]
    assert again.calls == [1, 2, 3]
    assert len(ResultLog(path).records()) == len(CASES)


def test_another_version_counts_as_not_done(tmp_path):
    path = tmp_path / "squares.jsonl"
    ResultLog(path, version=1).run(CASES, Counter(), progress=False)
    again = Counter()
    ResultLog(path, version=2).run(CASES[:1], again, progress=False)
    assert again.calls == [0]
    assert len(ResultLog(path, version=1).records()) == len(CASES)


def test_only_the_cases_asked_for_come_back_in_their_order(tmp_path):
    log = ResultLog(tmp_path / "squares.jsonl")
    log.run(CASES, Counter(), progress=False)
    assert log.run(CASES[:1:-1], Counter(), progress=False)["n"].tolist() == [3, 2]
    assert "environment" in json.loads(log.path.read_text().splitlines()[0])


def test_time_ratio_interleaves_and_recovers_a_known_ratio():
    ticks = itertools.count()
    now = [0.0]
    order: list[str] = []

    def take(name: str, seconds: float) -> None:
        order.append(name)
        # The machine slows down all the time; a ratio must not notice.
        now[0] += seconds * (1 + 0.001 * next(ticks))

    result = time_ratio(
        lambda: take("candidate", 3.0),
        lambda: take("reference", 1.5),
        rounds=6,
        warmup=0,
        clock=lambda: now[0],
    )
    assert order[:4] == ["candidate", "reference", "reference", "candidate"]
    assert result.ratio == pytest.approx(2.0, rel=0.005)
    assert result.lower <= result.ratio <= result.upper
    assert result.as_dict()["rounds"] == 6


def test_time_ratio_refuses_no_rounds():
    with pytest.raises(ValueError, match="at least 1"):
        time_ratio(lambda: None, lambda: None, rounds=0)


def test_markdown_table():
    table = pd.DataFrame(
        {"model": ["a|b", "c"], "r2": [0.51234, np.nan], "n": [10, 20], "ok": [True, False]}
    )
    lines = markdown_table(table, formats={"r2": ".2f"}).splitlines()
    assert lines[0] == "| model | r2 | n | ok |"
    assert lines[2] == "| a\\|b | 0.51 | 10 | yes |"
    assert lines[3] == "| c | – | 20 | no |"
    with pytest.raises(ValueError, match="r3"):
        markdown_table(table, formats={"r3": ".2f"})


def test_write_table_says_on_what_machine(tmp_path):
    path = write_table("t", pd.DataFrame({"x": [1.0]}), title="T", notes="N", folder=tmp_path)
    text = path.read_text()
    assert text.startswith("# T\n\nN\n\n| x |")
    assert f"torch {environment()['torch']}" in text


def test_replace_block_replaces_only_the_block(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- results -->\nold\n<!-- end results -->\nb\n")
    for _ in range(2):
        replace_block(path, "results", "new\n")
        assert path.read_text() == "a\n<!-- results -->\nnew\n<!-- end results -->\nb\n"
    with pytest.raises(ValueError, match="demo output"):
        replace_block(path, "demo output", "x")


def test_runner_names_what_there_is(capsys):
    with pytest.raises(SystemExit):
        runner.main(["no_such_benchmark"])
    assert "no benchmark no_such_benchmark; there are: " in capsys.readouterr().err
