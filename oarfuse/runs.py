"""A run folder: its lock, logs, weights and the checkpoint to resume from."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from oarfuse.checkpoints import (
    CHECKPOINT,
    FORMAT,
    PREVIOUS,
    WEIGHTS,
    has_checkpoint,
    keep_weights,
    mend_checkpoint,
)
from oarfuse.config import TrainConfig, load_config, recipe
from oarfuse.data.manifest import Manifest
from oarfuse.data.seen import seen
from oarfuse.errors import OarfuseError
from oarfuse.files import (
    atomic_path,
    check_output_file,
    check_output_folder,
    sole_writer,
    write_json,
)
from oarfuse.patients import PATIENTS, check_patients
from oarfuse.provenance import git_commit
from oarfuse.records import read_list, read_rows
from oarfuse.weights import (
    ModelInfo,
    find_weights,
    load_state,
    load_weights,
    read_info,
    read_safetensors,
    save_weights,
    training_stages,
    write_safetensors,
)

CONFIG, ENVIRONMENT = "config.json", "environment.json"
HISTORY = "history.json"  # records of the runs that this one continues
LOG, VALIDATION = "log.csv", "validation.csv"
# What stands in a run folder beside config.json, which comes first.
_WRITTEN = (
    *(ENVIRONMENT, HISTORY, LOG, VALIDATION, WEIGHTS, CHECKPOINT, PREVIOUS, PATIENTS),
    "tensorboard",
)
LOG_EVERY = 10  # steps
# What may differ between a run and its resumption: how long and with how many helpers.
_FREE = ("output", "data", "steps", "minutes", "workers", "checkpoint_every")


@dataclass
class RunState:
    """Where a run stands: the only mutable state of training beside the tensors."""

    step: int = 0
    seconds: float = 0.0  # spent training, validation left out
    best: float = -1.0  # mean DSC on validation of the weights that were kept


def read_curves(folder: str | Path) -> pd.DataFrame:
    """Read a run's ``log.csv`` and ``validation.csv`` as one table for `oarfuse.viewing`.

    Returns
    -------
    pandas.DataFrame
        One row a step that was logged or validated, with NaN where a file has no such step:
        ``step, minutes, loss, lr, wait, seconds, cpu`` (of a step, averaged since the row before;
        `cpu` is the training process's CPU time in seconds), ``load`` (the machine's load
        average), and once there was a validation ``val_dsc`` and ``val_dsc_<organ>``.

    Raises
    ------
    OarfuseError
        If the folder holds no log yet.
    """
    log, validation = Path(folder) / LOG, Path(folder) / VALIDATION
    if not log.exists():
        raise OarfuseError(f"There is no {log}: give a run folder of `oarfuse train`.")
    curves = read_rows(log)
    if validation.exists():
        scores = read_rows(validation).drop(columns="minutes")
        organs = {name: f"val_{name}" for name in scores if name.startswith("dsc_")}
        curves = curves.merge(scores.rename(columns=organs), on="step", how="outer")
    return curves


def export_weights(run: str | Path, output: str | Path, *, latest: bool = False) -> Path:
    """Write a run's weights in half precision, for publishing or for going on elsewhere.

    `oarfuse train --init` goes on from the file; Adam's moments start anew there.

    Parameters
    ----------
    run
        Run folder; a training may be going on in it.
    output
        The .safetensors file to write; an earlier export that is there is replaced.
    latest
        The moving average of the newest checkpoint instead of the best one on validation.

    Raises
    ------
    OarfuseError
        If the run has not been validated yet, a file is damaged, or the output is no file that
        this function wrote.
    """
    folder = Path(run)
    check_output_file(output, reads=[folder / name for name in (WEIGHTS, CHECKPOINT, PREVIOUS)])
    _check_is_export(Path(output))
    model, info = load_weights(folder / WEIGHTS)
    tensors = model.state_dict()
    if latest:
        path = folder / (CHECKPOINT if (folder / CHECKPOINT).exists() else PREVIOUS)
        content, metadata = read_safetensors(path)
        state = RunState(**json.loads(metadata["state"]))
        tensors = _part(content, "average.module.")
        now = {"step": state.step, "minutes": round(state.seconds / 60, 2), "validation_dsc": None}
        info = replace(info, training={**info.training, **now})
    save_weights(output, tensors, info, half=True)
    return Path(output)


def _check_is_export(path: Path) -> None:
    """Raise `OarfuseError` if `path` is no weights file, or holds something but an export."""
    if path.suffix != ".safetensors":
        raise OarfuseError(f"{path} is no name for weights: end it with .safetensors.")
    if not path.exists():
        return
    try:
        read_info(path)
        tensors, _ = read_safetensors(path)
        ours = all(t.dtype == torch.float16 for t in tensors.values() if t.is_floating_point())
    except OarfuseError:
        ours = False
    if not ours or path.with_suffix(".json").exists():  # published weights have a model card
        raise OarfuseError(
            f"{path} is there already and not an export of a run: choose another output file."
        )


class RunFolder:
    """The folder of one training run, locked while it is open. Only rank 0 writes.

    A run belongs to its patients: a folder that remembers others is refused. Without a `manifest`
    that is not looked at. `watch` is called with the folder after every row that a log gets.
    """

    def __init__(
        self,
        config: TrainConfig,
        manifest: Manifest | None = None,
        *,
        rank: int = 0,
        watch: Callable[[Path], None] | None = None,
    ) -> None:
        self.config, self.manifest, self.rank, self.watch = config, manifest, rank, watch
        self.warnings: list[str] = []
        self.seen: dict[str, list[str]] = {}
        self.folder = Path(config.output)
        self.rows: dict[str, list[dict[str, Any]]] = {LOG: [], VALIDATION: []}
        self._pending: list[Mapping[str, float]] = []
        self._open = ExitStack()

    def __enter__(self) -> RunFolder:
        if self.rank == 0:
            check_output_folder(self.folder, _WRITTEN, marker=CONFIG, reads=(self.config.data,))
            with ExitStack() as opening:  # closes again if one of these refuses
                opening.enter_context(sole_writer(self.folder, "training into"))
                self._check_config()
                self._check_patients()
                self._record_history()
                mend_checkpoint(self.folder)
                self.warnings += keep_weights(self.folder)
                self._writer = _tensorboard_writer(self.folder / "tensorboard")
                opening.callback(self._close_writer)
                self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def _close_writer(self) -> None:
        with suppress(OSError):  # of a full disk; `_add_row` has said so
            if self._writer is not None:
                self._writer.close()

    def _check_config(self) -> None:
        path = self.folder / CONFIG
        if path.exists():
            earlier = load_config(path)
            for name, value in self.config.to_json().items():
                before = getattr(earlier, name)
                if name not in _FREE and json.dumps(before) != json.dumps(value):
                    raise OarfuseError(
                        f"{self.folder} holds a run with {name} {before!r}, not {value!r}: "
                        f"resume it with the same options or choose another folder."
                    )

    def _check_patients(self) -> None:
        record = None
        if self.manifest is not None:
            init = None if has_checkpoint(self.folder) else self.config.init
            record, self.warnings = check_patients(
                self.folder,
                self.manifest,
                weights=self.folder / WEIGHTS,
                init=find_weights(init) if init else None,
            )
            self.seen = seen(record)
        write_json(self.folder / CONFIG, self.config.to_json())  # the marker comes first
        if record is not None:
            write_json(self.folder / PATIENTS, record)

    def _record_history(self) -> None:
        """Copy what the first weights know of themselves: their file may be replaced later."""
        if self.config.init and not has_checkpoint(self.folder):
            info = read_info(find_weights(self.config.init))
            write_json(self.folder / HISTORY, training_stages(info.training))

    def record_environment(self, record: Mapping[str, Any]) -> None:
        """Add this session's machine and versions to ``environment.json`` (a list of sessions)."""
        if self.rank:
            return
        path = self.folder / ENVIRONMENT
        sessions = read_list(path) if path.exists() else []
        write_json(path, [*sessions, dict(record)])

    def resume(
        self, network: nn.Module, average: AveragedModel, optimizer: torch.optim.Adam
    ) -> RunState:
        """Load the checkpoint, if there is one, into the arguments and return where it stood."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return RunState()
        tensors, metadata = read_safetensors(path)
        state = RunState(**json.loads(metadata["state"]))
        load_state(network, _part(tensors, "network."), path)
        load_state(average, _part(tensors, "average."), path)
        moments = optimizer.state_dict()
        moments["state"] = {
            index: {
                "step": torch.tensor(float(metadata["optimizer_step"])),
                "exp_avg": tensors[f"exp_avg.{index}"],
                "exp_avg_sq": tensors[f"exp_avg_sq.{index}"],
            }
            for index in range(len(moments["param_groups"][0]["params"]))
            if f"exp_avg.{index}" in tensors
        }
        optimizer.load_state_dict(moments)
        for name in self.rows:
            if (self.folder / name).exists():
                frame = read_rows(self.folder / name)
                self.rows[name] = frame[frame["step"] <= state.step].to_dict("records")
        return state

    def scaling(self) -> dict[str, Any]:
        """Return float16's loss scaling from the checkpoint; empty where there is none."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return {}
        _, metadata = read_safetensors(path, with_tensors=False)
        return dict(json.loads(metadata.get("scaling", "{}")))

    def checkpoint(
        self,
        network: nn.Module,
        average: AveragedModel,
        optimizer: torch.optim.Optimizer,
        state: RunState,
        scaling: Mapping[str, Any],
    ) -> None:
        """Write everything that `resume` needs, atomically, and keep the checkpoint before it.

        A kill between the two renames leaves the previous one, from which the next run goes on.
        """
        if self.rank:
            return
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
        moments = optimizer.state_dict()["state"]
        for index, moment in moments.items():
            tensors[f"exp_avg.{index}"] = moment["exp_avg"]
            tensors[f"exp_avg_sq.{index}"] = moment["exp_avg_sq"]
        step = max((int(moment["step"]) for moment in moments.values()), default=0)
        metadata = {
            "format": FORMAT,
            "state": json.dumps(vars(state)),
            "optimizer_step": str(step),
            "scaling": json.dumps(dict(scaling)),
        }
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with atomic_path(self.folder / CHECKPOINT) as temporary:
            write_safetensors(temporary, tensors, metadata)
            if (self.folder / CHECKPOINT).exists():
                os.replace(self.folder / CHECKPOINT, self.folder / PREVIOUS)

    def log(self, state: RunState, figures: Sequence[Mapping[str, float]]) -> None:
        """Take the figures of the steps that end at `state`.

        Every 10 steps the means of all since the last row become a row of ``log.csv``.
        """
        if self.rank:
            return
        self._pending.extend(figures)
        if state.step % LOG_EVERY == 0:
            row = pd.DataFrame(self._pending).mean().to_dict()
            self._pending.clear()
            if hasattr(os, "getloadavg"):
                row["load"] = os.getloadavg()[0]
            self._add_row(LOG, {"step": state.step, "minutes": state.seconds / 60, **row})

    def keep_if_best(self, state: RunState, scores: Mapping[str, float]) -> bool:
        """Record validation scores; return whether these weights are the ones to keep."""
        if not scores:
            return True
        mean = sum(scores.values()) / len(scores)
        if self.rank == 0:
            row = {"step": state.step, "minutes": state.seconds / 60, "val_dsc": mean}
            self._add_row(VALIDATION, row | {f"dsc_{name}": dsc for name, dsc in scores.items()})
        better = mean > state.best
        state.best = max(mean, state.best)
        return better or not (self.folder / WEIGHTS).exists()

    def check_weights(self) -> None:
        """Warn if this run, which is finished, has no weights: none yet, or none any more."""
        if self.rank == 0 and not (self.folder / WEIGHTS).exists():
            warnings.warn(
                f"{self.folder} holds a finished run without {WEIGHTS}: give more --steps, and "
                "the next validation writes it.",
                stacklevel=2,
            )

    def save_weights(self, network: nn.Module, info: ModelInfo, state: RunState) -> None:
        """Write the weights with what the run knows of itself."""
        if self.rank:
            return
        record: dict[str, Any] = {
            "step": state.step,
            "minutes": round(state.seconds / 60, 2),
            "validation_dsc": state.best if state.best >= 0 else None,
            "seed": self.config.seed,
            "commit": git_commit(),
            "config": recipe(self.config.to_json()),
        }
        if (self.folder / HISTORY).exists():
            record["earlier"] = read_list(self.folder / HISTORY)
        info = replace(info, training=record, patients=self.seen)
        save_weights(self.folder / WEIGHTS, network.state_dict(), info)

    def _add_row(self, name: str, row: dict[str, Any]) -> None:
        self.rows[name].append(row)
        with atomic_path(self.folder / name) as temporary:
            pd.DataFrame(self.rows[name]).to_csv(temporary, index=False, float_format="%.6g")
            for key, value in row.items():  # in here, because this too fails when the disk is full
                if self._writer is not None and key not in ("step", "minutes"):
                    self._writer.add_scalar(key, value, row["step"])
        if self.watch:
            self.watch(self.folder)


def _tensorboard_writer(folder: Path) -> Any:
    """Return a writer of the curves, or None without TensorBoard: `LOG` holds the same figures."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
