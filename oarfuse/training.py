"""The training loop: Adam, a cyclic rate, Dice + cross-entropy, on any device through Fabric."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from oarfuse.config import TrainConfig
from oarfuse.data.manifest import Case, Manifest, load_case, load_manifest
from oarfuse.data.patches import PatchDataset, StepSampler
from oarfuse.errors import OarfuseError
from oarfuse.inference import predict_labels
from oarfuse.losses import deep_supervision_loss
from oarfuse.metrics import dice
from oarfuse.models import build_model
from oarfuse.pretrained import find_weights
from oarfuse.runs import RunFolder, RunState, has_checkpoint
from oarfuse.runtime import choose_precision, environment, keep_freed_memory
from oarfuse.weights import ModelInfo, load_state, read_safetensors


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
        If the data, the options or the folder do not fit, or another run uses the folder.
    """
    keep_freed_memory()
    manifest = load_manifest(config.data)
    fabric = make_fabric(config)
    # The network and the folder come before the launch of further processes: what is wrong with
    # them is then said once, and nobody waits for a process that has given up.
    network = _new_network(config, manifest)
    with RunFolder(config, rank=_rank(fabric, config), watch=watch) as run:
        fabric.launch()
        return _train(fabric, config, manifest, network, run, progress)


def _new_network(config: TrainConfig, manifest: Manifest) -> nn.Module:
    torch.manual_seed(config.seed)
    network = build_model(config.model, 1, manifest.spec.num_classes, **config.model_options)
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
) -> Path:
    spec, cases = manifest.spec, manifest.split("train")
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.min_lr)
    state = run.resume(network, average, optimizer)
    if state.step >= config.steps or _out_of_time(fabric, config, state):
        return Path(config.output)  # a finished run stays as it is
    run.record_environment(environment(fabric.device))
    model, optimizer = fabric.setup(network, optimizer)
    has_auxiliary = hasattr(network, "auxiliary_loss")  # DARR: losses that need no labels
    if has_auxiliary:  # precision and several GPUs must apply to it as they do to the forward pass
        model.mark_forward_method("auxiliary_loss")
    average.to(fabric.device)
    loss_function = deep_supervision_loss()
    patches = PatchDataset(
        cases,
        spec,
        config.patch_size,
        length=config.steps * config.batch_size * fabric.world_size,
        seed=config.seed,
        augment=config.augment,
        augment_strength=config.augment_strength,
        blank_leaking=config.blank_leaking,
    )
    batches = _loader(patches, config, fabric, first_step=state.step)
    info = model_info(config, manifest)

    model.train()
    bar = tqdm(total=config.steps, initial=state.step, disable=not progress or bool(run.rank))
    before, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        waited = time.perf_counter() - before
        image, label = batch["image"].to(fabric.device), batch["label"].to(fabric.device)
        torch.manual_seed(_step_seed(config.seed, state.step, run.rank))  # dropout, jigsaws
        rate = cyclic_rate(state.step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        # (B, classes, D, H, W), or a list at three scales; (B, 1, D, H, W)
        loss = loss_function(model(image), label.float())
        if has_auxiliary:
            loss = loss + model.auxiliary_loss(image)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        average.update_parameters(network)
        state.step += 1

        value = loss.item()  # waits for the GPU, so that the clock is honest
        now = time.perf_counter()
        state.seconds += now - before
        used = time.process_time() - cpu
        run.log(state, loss=value, lr=rate, wait=waited, seconds=now - before, cpu=used)
        bar.update()
        last = state.step == config.steps or _out_of_time(fabric, config, state)
        if last or state.step % config.validate_every == 0:
            scores: dict[str, float] = {}
            if run.rank == 0:
                scores = validate(average.module, manifest.split("validation"), info, config)
            scores = fabric.broadcast(scores)  # the other processes wait here
            if run.keep_if_best(state, scores):
                run.save_weights(average.module, info, state)
            bar.set_postfix(loss=f"{value:.3f}", dsc=f"{state.best:.4f}")
        if last or state.step % config.checkpoint_every == 0:
            run.checkpoint(network, average, optimizer, state)
        if last:
            break
        before, cpu = time.perf_counter(), time.process_time()
    bar.close()
    return Path(config.output)


def make_fabric(config: TrainConfig) -> Fabric:
    """Return Fabric for the devices and the precision that the configuration asks for."""
    gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
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
    except (RuntimeError, ValueError, MisconfigurationException) as error:
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


def cyclic_rate(step: int, config: TrainConfig) -> float:
    """Return the triangular learning rate: `min_lr` at the ends of a cycle, `max_lr` in between.

    The same numbers as `torch.optim.lr_scheduler.CyclicLR`, but a function of the step alone, so
    that a resumed run has nothing to restore.
    """
    half = config.cycle_steps / 2
    distance = abs(step % config.cycle_steps - half) / half  # 1 at the ends, 0 in the middle
    return config.max_lr - (config.max_lr - config.min_lr) * distance


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


def _loader(
    patches: PatchDataset, config: TrainConfig, fabric: Fabric, first_step: int
) -> DataLoader[dict[str, Tensor]]:
    sampler = StepSampler(
        first_step, config.steps, config.batch_size, fabric.global_rank, fabric.world_size
    )
    return DataLoader(
        patches,
        batch_sampler=sampler,
        num_workers=config.workers,
        # Forked workers share the cached volumes; where there is no fork each gets a copy.
        multiprocessing_context="fork" if config.workers and hasattr(os, "fork") else None,
        prefetch_factor=4 if config.workers else None,
        pin_memory=fabric.device.type == "cuda",
    )


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])
