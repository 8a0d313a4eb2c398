"""Trained networks kept in files, so that an interrupted fit goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from semistruct.exceptions import DataError
from semistruct.fitting.members import Course, DeepProblem, MemberSolver
from semistruct.network import SemiStructuredNet

__all__ = ["CheckpointedSolver"]

_STATE = "state"
_ARRAYS = ("scores", "beta", "levelled")
_TABLES = ("history", "pretraining")


@dataclass(frozen=True)
class CheckpointedSolver(MemberSolver):
    """A solver whose trained members are written down, and read instead of trained again.

    Every member has a file of its own, named by its rows and its seed, in a folder named by the
    problem: members of other data, formulas or options are never taken for it. A file appears
    when it is complete, so that nothing is read of a member that was being trained.

    Parameters
    ----------
    solver : MemberSolver
    folder : Path
        Of this problem; made when needed.

    Raises
    ------
    DataError
        If a file of the folder cannot be read.
    """

    solver: MemberSolver
    folder: Path

    def untrained(
        self, problem: DeepProblem, train: np.ndarray, random_state: np.random.SeedSequence
    ) -> SemiStructuredNet:
        return self.solver.untrained(problem, train, random_state)

    def fit(
        self,
        problem: DeepProblem,
        train: np.ndarray,
        held_out: np.ndarray,
        random_state: np.random.SeedSequence,
        report: Callable[[float], None],
    ) -> Course:
        mirrored = sorted(problem.blueprint.mirrored)
        seed = random_state.entropy, random_state.spawn_key
        name = joblib.hash((train, held_out, seed, mirrored))
        file = self.folder / f"{name}.safetensors"
        if file.exists():
            course = _read(file, self.solver.untrained(problem, train, random_state))
            report(1.0)
            return course
        course = self.solver.fit(problem, train, held_out, random_state, report)
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(file, course)
        return course


def _write(file: Path, course: Course) -> None:
    arrays = {name: getattr(course, name) for name in _ARRAYS}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    notes = {"rounds": str(len(course.states))}
    for name, table in zip(_TABLES, (course.history, course.pretraining), strict=True):
        tensors[name] = torch.from_numpy(table.to_numpy(dtype=float, copy=True))
        notes[name] = json.dumps(list(table.columns))
    for number, state in enumerate((course.net.state_dict(), *course.states)):
        tensors |= {f"{_STATE} {number} {name}": value for name, value in state.items()}
    whole = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    partial = file.with_suffix(f".{os.getpid()}")
    save_file(whole, partial, notes)
    partial.replace(file)


def _read(file: Path, net: SemiStructuredNet) -> Course:
    try:
        with safe_open(file, "pt") as stored:
            notes: Mapping[str, str] = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"the checkpoint {file} cannot be read ({error}). Delete it: its network is then "
            "trained again."
        ) from error
    states = []
    for number in range(int(notes["rounds"]) + 1):
        prefix = f"{_STATE} {number} "
        own = {name: value for name, value in tensors.items() if name.startswith(prefix)}
        states.append({name.removeprefix(prefix): value for name, value in own.items()})
    net.load_state_dict(states[0])
    values = {name: tensors[name].numpy() for name in (*_ARRAYS, *_TABLES)}
    history, pretraining = (_table(values[name], json.loads(notes[name])) for name in _TABLES)
    return Course(
        net,
        history,
        tuple(states[1:]),
        values["scores"],
        values["beta"],
        values["levelled"],
        pretraining,
    )


def _table(values: np.ndarray, columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(values, columns=columns)
    return table.astype({"epoch": int}) if columns else pd.DataFrame()
