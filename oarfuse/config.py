"""The training recipe as one frozen dataclass."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from oarfuse.errors import OarfuseError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
PRECISIONS = ("auto", *get_args(Precision))
StepMode = Literal["eager", "graph", "compiled"]
STEP_MODES = ("auto", *get_args(StepMode))
SCHEDULES = ("cyclic", "cosine")
# What random generators and counters of 32 bits take.
MOST = 2**32 - 1
MOST_WORKERS = 1024
MOST_SIDE = 512  # voxels; no slice of a CT has more


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    The paper fixes Adam, the cyclic rate's ends and the loss; the rest it leaves open (see the
    ledger). Written to the run folder as ``config.json``.

    Attributes
    ----------
    data, output
        Prepared folder, and the run folder to write.
    model, model_options
        For `oarfuse.build_model`.
    patch_size
        (D, H, W) voxels.
    batch_size
        Patches a step on each device.
    steps
        Optimizer steps.
    minutes
        Stop after so much training time, even before `steps` (for comparisons at equal budget).
    schedule
        ``cyclic``, the paper's, or ``cosine``: up to `max_lr` in the first 5 % of the run, then
        down to `min_lr` along a cosine. How far a run is, its steps or its minutes say, whichever
        will end it sooner.
    min_lr, max_lr, cycle_steps
        The rate's ends. The cyclic one is a triangle, up and down again once in `cycle_steps`.
    ema_decay
        Decay of the moving average of the weights that is validated and saved; 0 turns it off.
    augment
        Whether patches are rotated, scaled, mirrored (labels of paired organs swapped) and changed
        in intensity.
    augment_strength
        Multiplies how far rotation, scaling and changes of intensity may go: 1 turns by up to 15
        degrees; above 0, at most 4.
    validate_every
        Steps between validations; the best mean DSC on the validation split decides what is saved.
    checkpoint_every
        Steps between resumable checkpoints.
    blank_leaking
        Empty the slices whose CT was cut away but inside structures, in training and whenever the
        weights predict; see `oarfuse.data.ct.cut_slices`.
    init
        Weights to start from instead of random ones: a file, or a name of
        `oarfuse.pretrained_names`. Their history becomes part of the new weights' record.
    workers
        Processes that cut and augment patches; 0 does it between steps.
    seed, precision, accelerator, devices
        As Lightning Fabric takes them; precision ``auto`` means bfloat16 where hardware has it.
    compile
        How a step runs on a GPU: ``eager``, ``graph`` or ``compiled``, see
        `oarfuse.steps.TrainStep`; ``auto`` means ``graph`` where that works.
    nodes
        Machines with `devices` each. Start one process a device yourself, as SLURM's ``srun`` does.
    """

    data: str
    output: str
    model: str = "oarfocalfusenet"
    model_options: dict[str, Any] = field(default_factory=dict)
    patch_size: tuple[int, int, int] = (96, 64, 64)
    batch_size: int = 2
    steps: int = 4000
    minutes: float | None = None
    schedule: str = "cyclic"
    min_lr: float = 0.0005
    max_lr: float = 0.003
    cycle_steps: int = 500
    ema_decay: float = 0.995
    augment: bool = True
    augment_strength: float = 1.0
    blank_leaking: bool = False
    validate_every: int = 250
    checkpoint_every: int = 100
    init: str | None = None
    workers: int = 1
    seed: int = 0
    precision: str = "auto"
    compile: str = "auto"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.patch_size, list):  # as JSON has it
            object.__setattr__(self, "patch_size", tuple(self.patch_size))
        _check(self)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, as ``config.json`` holds them."""
        return dataclasses.asdict(self)


def recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a ``config.json`` without the places of files: nobody else has them."""
    kept = {key: value for key, value in config.items() if key not in ("data", "output")}
    return {**kept, "init": config["init"] and Path(config["init"]).name}


def load_config(path: str | Path) -> TrainConfig:
    """Read a run's ``config.json``."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return TrainConfig(**content)
    except FileNotFoundError:
        raise OarfuseError(f"There is no {path}: give a run folder of `oarfuse train`.") from None
    except (TypeError, ValueError, OarfuseError) as error:
        raise OarfuseError(f"{path} is not a run's configuration ({error}).") from error


def _check(config: TrainConfig) -> None:
    whole = ("batch_size", "steps", "cycle_steps", "validate_every", "checkpoint_every")
    for name in (*whole, "devices", "nodes"):
        _check_whole(name, getattr(config, name), least=1)
    _check_whole("workers", config.workers, least=0, most=MOST_WORKERS)
    _check_whole("seed", config.seed, least=0)
    for name in ("data", "output", "model", "init"):
        value = getattr(config, name)
        if not (isinstance(value, str) and value) and not (name == "init" and value is None):
            raise OarfuseError(f"{name} is {value!r}: give a text.")
    for name in ("min_lr", "max_lr", "ema_decay", "augment_strength", "minutes"):
        value = getattr(config, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (name == "minutes" and value is None):
            raise OarfuseError(f"{name} is {value!r}: give a number.")
    for name in ("augment", "blank_leaking"):
        if not isinstance(getattr(config, name), bool):
            raise OarfuseError(f"{name} is {getattr(config, name)!r}: give True or False.")
    if not isinstance(config.model_options, dict):
        raise OarfuseError(f"model_options is {config.model_options!r}: give names with values.")
    if not isinstance(config.patch_size, tuple) or len(config.patch_size) != 3:
        raise OarfuseError(f"patch_size is {config.patch_size}: give three sides, D H W.")
    for side in config.patch_size:
        _check_whole("patch_size", side, least=1, most=MOST_SIDE)
    if not 0 < config.min_lr <= config.max_lr < math.inf:
        raise OarfuseError(
            f"The learning rates are {config.min_lr} and {config.max_lr}: "
            f"they must be above 0, finite and in this order."
        )
    if not 0 <= config.ema_decay < 1:
        raise OarfuseError(f"ema_decay is {config.ema_decay}: choose from 0 to below 1.")
    if not 0 < config.augment_strength <= 4:
        raise OarfuseError(
            f"augment_strength is {config.augment_strength}: choose from above 0 to 4."
        )
    if config.minutes is not None and not 0 < config.minutes < math.inf:
        raise OarfuseError(f"minutes is {config.minutes}: give a time above 0, or none.")
    choices = {"precision": PRECISIONS, "compile": STEP_MODES, "schedule": SCHEDULES}
    for name, known in choices.items():
        if getattr(config, name) not in known:
            value = getattr(config, name)
            raise OarfuseError(f"{name} is {value!r}: choose one of {', '.join(known)}.")


def _check_whole(name: str, value: Any, *, least: int, most: int = MOST) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OarfuseError(f"{name} is {value!r}: give a whole number of at least {least}.")
    if value > most:
        raise OarfuseError(f"{name} is {value}: give a whole number of at most {most}.")
