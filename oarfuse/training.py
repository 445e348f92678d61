"""The training loop: Adam, a cyclic rate, Dice + cross-entropy, on any device through Fabric."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from tqdm.auto import tqdm

from oarfuse.checkpoints import has_checkpoint
from oarfuse.config import TrainConfig
from oarfuse.data.feeding import feed
from oarfuse.data.manifest import Case, Manifest, load_case, load_whole_manifest
from oarfuse.data.patches import PatchDataset, StepSampler
from oarfuse.devices import (
    choose_precision,
    keep_freed_memory,
    missing_operators_said,
    sharing_cores,
)
from oarfuse.errors import OarfuseError
from oarfuse.inference import predict_labels
from oarfuse.interruption import Stopped, StopRequest, stop_at_step_end
from oarfuse.losses import deep_supervision_loss
from oarfuse.metrics import dice
from oarfuse.models import build_model
from oarfuse.models.cost import check_patch
from oarfuse.models.kernels import backend
from oarfuse.provenance import environment, usable_cores
from oarfuse.runs import LOG_EVERY, RunFolder, RunState
from oarfuse.steps import TrainStep, choose_mode
from oarfuse.weights import ModelInfo, find_weights, load_state, read_safetensors

# The share of a run in which the cosine schedule's rate rises.
WARM_UP = 0.05


def train(
    config: TrainConfig, *, progress: bool = True, watch: Callable[[Path], None] | None = None
) -> Path:
    """Train a network and return the run folder; go on where an interrupted run stopped.

    The folder holds ``config.json``, ``environment.json``, ``log.csv`` (training, every 10 steps),
    ``validation.csv``, TensorBoard events, ``weights.safetensors`` (the moving average with the
    best mean DSC on the validation split, or the last one if that split is empty) and
    ``checkpoint.safetensors`` to resume from, with the one before it for when that is damaged.

    Parameters
    ----------
    config
        The recipe. Run again with the same one to resume.
    progress
        Show a progress bar.
    watch
        Called with the run folder after every row of the logs, between two steps and outside of
        the time that is counted; `oarfuse.viewing.LiveCurves` draws the curves in a notebook.

    Raises
    ------
    OarfuseError
        If the data, the options or the folder do not fit, the folder holds a run on other
        patients, or another process uses it.
    Stopped
        A `KeyboardInterrupt`: after Ctrl-C or SIGTERM, when the running step has ended and its
        checkpoint is written. A second Ctrl-C stops at once.
    """
    keep_freed_memory()
    manifest = load_whole_manifest(config.data)
    fabric = make_fabric(config)
    # The network and the folder come before the launch of further processes: what is wrong with
    # them is then said once, and nobody waits for a process that has given up.
    network = _new_network(config, manifest)
    rank = _rank(fabric, config)
    with RunFolder(config, manifest, rank=rank, watch=watch) as run, missing_operators_said():
        fabric.launch()
        with (
            stop_at_step_end(wait=fabric.world_size == 1) as stop,
            sharing_cores(fabric.device) as look,
        ):
            return _train(fabric, config, manifest, network, run, progress, stop, look)


def _new_network(config: TrainConfig, manifest: Manifest) -> nn.Module:
    torch.manual_seed(config.seed)
    network = build_model(config.model, 1, manifest.spec.num_classes, **config.model_options)
    check_patch(network, config.patch_size)
    if config.init and not has_checkpoint(config.output):  # else the checkpoint holds it all
        path = find_weights(config.init)
        load_state(network, read_safetensors(path)[0], path)
    return network


def _train(
    fabric: Fabric,
    config: TrainConfig,
    manifest: Manifest,
    network: nn.Module,
    run: RunFolder,
    progress: bool,
    stop: StopRequest,
    look: Callable[[], None],
) -> Path:
    precision = choose_precision(config.precision, fabric.device.type)
    mode = choose_mode(config.compile, fabric.device, precision, fabric.world_size)
    step = TrainStep(
        fabric,
        network.to(fabric.device),
        deep_supervision_loss(),
        ema_decay=config.ema_decay,
        mode=mode,
    )
    state = run.resume(network, step.average, step.optimizer)
    if state.step >= config.steps or _out_of_time(fabric, config, state):
        run.check_weights()
        return Path(config.output)  # a finished run stays as it is
    step.setup(run.scaling())
    run.record_environment(
        environment(fabric.device)
        | {"precision": precision, "step": step.mode, "kernels": backend(fabric.device, 16)}
        | {"warnings": run.warnings}
    )
    patches = PatchDataset(
        manifest.split("train"),
        manifest.spec,
        config.patch_size,
        length=config.steps * config.batch_size * fabric.world_size,
        seed=config.seed,
        augment=config.augment,
        augment_strength=config.augment_strength,
        blank_leaking=config.blank_leaking,
    )
    sampler = StepSampler(
        state.step, config.steps, config.batch_size, fabric.global_rank, fabric.world_size
    )
    batches = feed(patches, sampler, fabric.device, workers=config.workers)
    info = model_info(config, manifest)
    clock = Clock(fabric.device)

    bar = tqdm(total=config.steps, initial=state.step, disable=not progress or bool(run.rank))
    clock.start()
    stop.begun = True  # before the workers start, which shall take no notice of a Ctrl-C
    for batch in batches:
        clock.fed()
        torch.manual_seed(_step_seed(config.seed, state.step, run.rank))  # dropout, jigsaws
        rate = learning_rate(state, config)
        clock.stepped(step(batch["image"], batch["label"], rate), rate)
        state.step += 1
        look()
        bar.update()
        last = state.step == config.steps
        validates = state.step % config.validate_every == 0
        saves = state.step % config.checkpoint_every == 0
        if not (last or validates or saves or stop.asked or clock.is_full(state.step)):
            continue

        figures = clock.read()
        state.seconds += sum(row["seconds"] for row in figures)
        run.log(state, step.tell_skipped(figures))
        last = last or _out_of_time(fabric, config, state)
        if last or validates:
            scores: dict[str, float] = {}
            if run.rank == 0:
                scores = validate(step.average.module, manifest.split("validation"), info, config)
            scores = fabric.broadcast(scores)  # the other processes wait here
            if run.keep_if_best(state, scores):
                run.save_weights(step.average.module, info, state)
                saves = True  # weights without a checkpoint could not be gone on from
            bar.set_postfix(loss=f"{figures[-1]['loss']:.3f}", dsc=f"{state.best:.4f}")
        stopped = stop.asked and not last
        if last or saves or stopped:
            run.checkpoint(network, step.average, step.optimizer, state, step.scaling())
        if stopped:
            bar.close()
            raise Stopped(f"stopped after step {state.step}; the same command goes on from there")
        if last:
            break
        clock.start()
    bar.close()
    return Path(config.output)


class Clock:
    """Times of the steps since it was started, read without making a GPU wait at every step.

    A GPU works on while the host prepares what comes next. Only when a row of the log is due does
    the host wait for it and share the time that has passed among the steps.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._every = LOG_EVERY if device.type == "cuda" else 1

    def start(self) -> None:
        """Start anew; whatever came before is not counted."""
        self._losses: list[Tensor] = []
        self._rates: list[float] = []
        self._marks = [self._mark()]
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def fed(self) -> None:
        """Note that the next batch is there."""
        self._marks.append(self._mark())

    def stepped(self, loss: Tensor, rate: float) -> None:
        """Note that a step was made, or on a GPU begun."""
        self._losses.append(loss)
        self._rates.append(rate)
        self._marks.append(self._mark())

    def is_full(self, step: int) -> bool:
        """Whether it is time to read the clock."""
        return step % self._every == 0

    def read(self) -> list[dict[str, float]]:
        """Wait for the device; return ``loss, lr, wait, seconds, cpu`` of each step.

        ``wait`` is how long the device that trains had to wait for its patches or spent on them.

        Raises
        ------
        OarfuseError
            If a loss is not finite.
        """
        losses = torch.stack(self._losses).tolist()
        count = len(losses)
        seconds = (time.perf_counter() - self._start) / count
        cpu = (time.process_time() - self._cpu) / count
        if not all(map(math.isfinite, losses)):
            raise OarfuseError(
                "The loss is not a finite number any more: train with a lower --max-lr or with "
                "--precision 32-true; the same command goes on from the last checkpoint."
            )
        waits = [self._between(*self._marks[2 * index : 2 * index + 2]) for index in range(count)]
        columns = zip(losses, self._rates, waits, strict=True)
        return [
            {"loss": loss, "lr": rate, "wait": wait, "seconds": seconds, "cpu": cpu}
            for loss, rate, wait in columns
        ]

    def _mark(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, first: Any, second: Any) -> float:
        if self.device.type != "cuda":
            return cast(float, second - first)
        return cast(float, first.elapsed_time(second) / 1000)


def make_fabric(config: TrainConfig) -> Fabric:
    """Return Fabric for the devices and the precision that the configuration asks for."""
    most = max(16, 4 * usable_cores())
    for name in ("workers", "devices"):  # more would bring the machine to a standstill
        if getattr(config, name) > most:
            raise OarfuseError(
                f"{name} is {getattr(config, name)}, but this machine lends {usable_cores()} "
                f"cores: give at most {most}."
            )
    gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    if config.precision == "16-mixed" and not gpu:
        raise OarfuseError(
            "Training in 16-mixed needs a CUDA GPU: choose the precision bf16-mixed or 32-true."
        )
    precision = choose_precision(config.precision, "cuda" if gpu else "cpu")
    # Its notice of the precision would stand in red in every notebook that trains. What it tells
    # of several processes comes from another logger and is wanted.
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if config.devices * config.nodes > 1 else "auto",
            precision=precision,
        )
    except (RuntimeError, ValueError, ImportError, MisconfigurationException) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise OarfuseError(
            f"Cannot train on {config.devices} devices of kind {config.accelerator!r} ({reason}): "
            f"choose others, or in a notebook one device."
        ) from error


def _rank(fabric: Fabric, config: TrainConfig) -> int:
    """Return the process's number among all, which Fabric itself knows only after the launch."""
    place = getattr(fabric.strategy, "cluster_environment", None)
    return 0 if place is None else place.node_rank() * config.devices + place.local_rank()


def _out_of_time(fabric: Fabric, config: TrainConfig, state: RunState) -> bool:
    """Whether `config.minutes` have passed, by the first process's clock."""
    if config.minutes is None:
        return False
    return fabric.broadcast(state.seconds >= 60 * config.minutes)


def learning_rate(state: RunState, config: TrainConfig) -> float:
    """Return the rate of the step that follows `state`.

    A function of how far the run is, so that a resumed run has nothing to restore.
    """
    if config.schedule == "cyclic":
        return cyclic_rate(state.step, config)
    share = state.step / config.steps
    if config.minutes is not None:
        share = max(share, state.seconds / (60 * config.minutes))
    return cosine_rate(min(share, 1.0), config)


def cyclic_rate(step: int, config: TrainConfig) -> float:
    """Return the triangular learning rate: `min_lr` at the ends of a cycle, `max_lr` in between.

    The same numbers as `torch.optim.lr_scheduler.CyclicLR`.
    """
    half = config.cycle_steps / 2
    distance = abs(step % config.cycle_steps - half) / half  # 1 at the ends, 0 in the middle
    return config.max_lr - (config.max_lr - config.min_lr) * distance


def cosine_rate(share: float, config: TrainConfig) -> float:
    """Return the rate after `share` (0..1) of a run: a linear rise, then a falling half cosine."""
    if share < WARM_UP:
        return config.min_lr + (config.max_lr - config.min_lr) * share / WARM_UP
    fallen = (share - WARM_UP) / (1 - WARM_UP)
    return config.min_lr + (config.max_lr - config.min_lr) * (1 + math.cos(math.pi * fallen)) / 2


def validate(
    network: nn.Module, cases: Sequence[Case], info: ModelInfo, config: TrainConfig
) -> dict[str, float]:
    """Return the mean DSC over cases of each organ, keyed by organ name; empty without cases."""
    if not cases:
        return {}
    device = next(network.parameters()).device
    scores: dict[str, list[float]] = {organ.name: [] for organ in info.spec.organs}
    for case in cases:
        volume = load_case(case)
        predicted = predict_labels(
            network, volume.image, info, overlap=0.25, device=device, precision=config.precision
        )
        for organ in info.spec.organs:
            dsc = dice(predicted == organ.label, volume.label == organ.label)
            if not math.isnan(dsc):  # nan: neither has the organ
                scores[organ.name].append(dsc)
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


def model_info(config: TrainConfig, manifest: Manifest) -> ModelInfo:
    """Describe the network and its training data for the weights file."""
    spacings = np.array([case.spacing_mm for case in manifest.split("train")])
    least, median, most = np.percentile(spacings, (0, 50, 100), axis=0).round(4).tolist()
    return ModelInfo(
        model=config.model,
        options=config.model_options,
        dataset=manifest.dataset,
        window_hu=manifest.spec.window_hu,
        patch_size=config.patch_size,
        spacing_mm=tuple(median),
        spacing_range_mm=(tuple(least), tuple(most)),
        phantom=manifest.phantom,
        blank_leaking=config.blank_leaking,
    )


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])
