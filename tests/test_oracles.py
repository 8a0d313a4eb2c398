"""A comparison with other software's values is never lost in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import _oracles
import pandas as pd
import pytest

TESTS = Path(__file__).parent

CONFTEST = """
from _oracles import OracleSkips
def pytest_configure(config):
    config.pluginmanager.register(OracleSkips(config), OracleSkips.name)
"""

# What is skipped, how, and whether that is a comparison.
SKIPPING = {
    "absent_case": ("tests/test_a.py", "def test_a():\n    _oracles.load_oracle('Z99')\n", True),
    "marked": (
        "tests/test_a.py",
        "@pytest.mark.oracle\n@pytest.mark.skip\ndef test_a():\n    pass\n",
        True,
    ),
    "in_folder": ("tests/oracles/test_a.py", "@pytest.mark.skip\ndef test_a():\n    pass\n", True),
    "whole_module": (
        "tests/oracles/test_a.py",
        "pytest.importorskip('no_such_package_at_all')\n",
        True,
    ),
    "another_skip": ("tests/test_a.py", "@pytest.mark.skip\ndef test_a():\n    pass\n", False),
}


def run_pytest(
    root: Path, path: str, body: str, *arguments: str, oracles: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a project of two test modules that uses the plugin; its repository is ``root/repo``."""
    tests = root / "repo" / "tests"
    file = root / "repo" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"import pytest, _oracles\n{body}")
    (tests / "test_passes.py").write_text("def test_passes():\n    assert True\n")
    (tests / "_oracles.py").write_text((TESTS / "_oracles.py").read_text())
    (tests / "conftest.py").write_text(CONFTEST)
    (root / "repo" / "pytest.ini").write_text(
        "[pytest]\npythonpath = tests\naddopts = --import-mode=importlib\nmarkers = oracle\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != _oracles.ORACLE_VARIABLE}
    if oracles is not None:
        environment[_oracles.ORACLE_VARIABLE] = str(oracles)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=root / "repo",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin_watches_this_run(request):
    assert request.config.pluginmanager.has_plugin(_oracles.OracleSkips.name)


@pytest.mark.parametrize("kind", SKIPPING)
def test_skip_fails_the_run_where_the_folder_lies_beside_the_repository(tmp_path, kind):
    path, body, is_comparison = SKIPPING[kind]
    (tmp_path / "shared" / "oracles").mkdir(parents=True)
    result = run_pytest(tmp_path, path, body)
    assert f"oracle skips: {int(is_comparison)}" in result.stdout, result.stdout + result.stderr
    assert result.returncode == (pytest.ExitCode.TESTS_FAILED if is_comparison else 0)


def test_skip_is_counted_and_allowed_without_a_folder(tmp_path):
    path, body, _ = SKIPPING["absent_case"]
    result = run_pytest(tmp_path, path, body)
    assert "oracle skips: 1" in result.stdout, result.stdout + result.stderr
    assert result.returncode == pytest.ExitCode.OK


def test_skip_fails_the_run_when_the_variable_names_a_folder_also_in_parallel(tmp_path):
    path, body, _ = SKIPPING["absent_case"]
    result = run_pytest(tmp_path, path, body, "-n", "2", oracles=tmp_path)
    assert "oracle skips: 1" in result.stdout, result.stdout + result.stderr
    assert "Z99" in result.stdout.split("oracle skips")[1]
    assert result.returncode == pytest.ExitCode.TESTS_FAILED


def test_a_variable_that_names_nothing_is_a_usage_error(tmp_path):
    path, body, _ = SKIPPING["absent_case"]
    result = run_pytest(tmp_path, path, body, oracles=tmp_path / "nowhere")
    assert "nowhere" in result.stdout + result.stderr
    assert result.returncode == pytest.ExitCode.USAGE_ERROR


def test_a_case_is_read_with_its_factors(tmp_path, monkeypatch):
    case = tmp_path / "Z01_small"
    case.mkdir()
    (case / "data.csv").write_text('y,g,h\n1.5,2,"None"\nNA,10,NA\n')
    (case / "expected.json").write_text(json.dumps({"fit": {"coef": [1, 2]}}))
    (case / "meta.json").write_text(json.dumps({"factors": {"g": ["10", "2"], "h": ["a", "None"]}}))
    monkeypatch.setenv(_oracles.ORACLE_VARIABLE, str(tmp_path))
    oracle = _oracles.load_oracle("Z01_small")
    assert oracle.expected["fit"]["coef"] == [1, 2]
    assert list(oracle.files) == ["data.csv"]
    assert list(oracle.data["g"].cat.categories) == ["10", "2"]
    assert list(oracle.data["g"]) == ["2", "10"]
    assert oracle.data["h"].iloc[0] == "None"
    assert oracle.data["h"].isna().tolist() == [False, True]
    assert oracle.data["y"].isna().tolist() == [False, True]
    assert pd.api.types.is_float_dtype(oracle.data["y"])


def test_no_factors_at_all_is_an_empty_list_in_the_files(tmp_path, monkeypatch):
    case = tmp_path / "Z02"
    case.mkdir()
    (case / "data.csv").write_text("y\n1\n")
    (case / "expected.json").write_text("{}")
    (case / "meta.json").write_text('{"factors": []}')
    monkeypatch.setenv(_oracles.ORACLE_VARIABLE, str(tmp_path))
    assert _oracles.load_oracle("Z02").data["y"].tolist() == [1]
