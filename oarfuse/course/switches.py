"""Switches of the focal-fuse block, and short trainings that differ in nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from oarfuse.config import TrainConfig
from oarfuse.course.timing import compare_times
from oarfuse.errors import OarfuseError
from oarfuse.losses import dice_cross_entropy
from oarfuse.models import build_model
from oarfuse.models.cost import count_parameters, gflops
from oarfuse.runs import LOG

# Name -> options of `oarfuse.build_model("oarfocalfusenet", ...)`; the default first.
SWITCHES: dict[str, dict[str, Any]] = {
    "default": {},
    "1 level": {"focal_levels": 1},
    "3 levels": {"focal_levels": 3},
    "4 levels": {"focal_levels": 4},
    "no exchange": {"exchange": False},
    "no gates": {"gates": False},
    "no global level": {"global_context": False},
    "max pooling": {"pooling": "max"},
    "down kernel 5": {"down_kernel": 5},
}


def switch_sizes(
    switches: Mapping[str, Mapping[str, Any]] = SWITCHES, size: Sequence[int] = (96, 96, 96)
) -> pd.DataFrame:
    """Return ``parameters`` and ``gflop`` of OARFocalFuseNet under each switch.

    Counted as the equations read (the readable block), for one volume of `size`; the work of a
    forward pass, two operations a multiply-add.
    """
    rows = {}
    for name, options in switches.items():
        with torch.device("meta"):
            model = build_model("oarfocalfusenet", block="readable", **options)
        rows[name] = {"parameters": count_parameters(model), "gflop": gflops(model, size)}
    return pd.DataFrame(rows).T.astype({"parameters": int})


def switch_times(
    switches: Mapping[str, Mapping[str, Any]] = SWITCHES,
    size: Sequence[int] = (32, 48, 48),
    *,
    repeats: int = 3,
    **common: Any,
) -> pd.DataFrame:
    """Time a training step (forward, loss, backward) of OARFocalFuseNet under each switch.

    Float32, batch of one noise volume of `size`, fast block; the switches take turns. `common` are
    options that all share. Returns the table of `oarfuse.course.timing.compare_times`.
    """
    volume = torch.randn(1, 1, *size)
    label = torch.randint(0, 6, (1, 1, *size))
    loss = dice_cross_entropy()

    def step(model: torch.nn.Module) -> Tensor:
        model.zero_grad()
        value = loss(model(volume), label)
        value.backward()
        return value

    models = {name: build_model("oarfocalfusenet", **common, **o) for name, o in switches.items()}
    return compare_times(
        {name: partial(step, model) for name, model in models.items()}, repeats=repeats
    )


def short_runs(
    data: str | Path,
    output: str | Path,
    switches: Mapping[str, Mapping[str, Any]] = SWITCHES,
    *,
    seeds: Sequence[int] = (0, 1),
    width: int = 16,
    **recipe: Any,
) -> pd.DataFrame:
    """Train OARFocalFuseNet under each switch and seed, and return the loss at the end.

    A seed decides initial weights and patches, so two switches with one seed see the same patches
    in the same order. Runs go to ``output/<switch>-<seed>``; a finished one is not run again.

    Parameters
    ----------
    seeds
        At least two, or nothing tells an effect from chance.
    width
        Channels of the first block.
    **recipe
        Further fields of `oarfuse.config.TrainConfig`, for instance ``steps=30``.

    Returns
    -------
    pandas.DataFrame
        One row a run: ``switch, seed, loss``, the mean training loss of the last ten steps.

    Raises
    ------
    OarfuseError
        If there are fewer than two seeds, or the recipe has fewer than ten steps.
    """
    from oarfuse.training import train

    if len(set(seeds)) < 2:
        raise OarfuseError(f"seeds is {list(seeds)}: give at least two different ones.")
    rows = []
    for seed in seeds:
        for name, options in switches.items():
            config = TrainConfig(
                data=str(data),
                output=str(Path(output) / f"{name.replace(' ', '-')}-{seed}"),
                model_options={"width": width, **options},
                seed=seed,
                **recipe,
            )
            if config.steps < 10:
                raise OarfuseError(f"steps is {config.steps}: a run logs every 10 steps.")
            run = train(config, progress=False)
            last = pd.read_csv(run / LOG).iloc[-1]
            rows.append({"switch": name, "seed": seed, "loss": float(last["loss"])})
    return pd.DataFrame(rows)


def seed_effects(runs: pd.DataFrame, reference: str = "default") -> pd.DataFrame:
    """Compare switches with the reference seed by seed, against the spread between seeds.

    Parameters
    ----------
    runs
        Columns ``switch, seed, loss``, as `short_runs` returns them.

    Returns
    -------
    pandas.DataFrame
        One row a switch but the reference: ``difference``, the mean over seeds of its loss minus
        the reference's; ``least`` and ``most``, the same for single seeds; ``spread``, the range
        of the loss over seeds, of the switch or the reference, whichever is larger;
        ``beyond_spread``, whether all seeds agree in sign and the mean difference exceeds the
        spread. That is a rule of thumb and no test: `false_alarms` tells how often it is wrong.
    """
    losses = runs.pivot(index="switch", columns="seed", values="loss")
    if reference not in losses.index:
        raise OarfuseError(f"There are no runs named {reference!r}: name one of the switches.")
    base = losses.loc[reference]
    differences = losses.drop(reference).sub(base, axis=1)
    names = [name for name in dict.fromkeys(runs["switch"]) if name != reference]
    differences = differences.loc[names]
    spreads = (losses.max(axis=1) - losses.min(axis=1)).loc[[*names, reference]]
    spread = spreads.loc[names].clip(lower=spreads[reference])
    mean = differences.mean(axis=1)
    agree = (differences > 0).all(axis=1) | (differences < 0).all(axis=1)
    return pd.DataFrame(
        {
            "difference": mean,
            "least": differences.min(axis=1),
            "most": differences.max(axis=1),
            "spread": spread,
            "beyond_spread": agree & (mean.abs() > spread),
        }
    )


def false_alarms(seeds: int, *, trials: int = 200_000, random_state: int = 0) -> float:
    """Return how often the rule of `seed_effects` flags a switch that does nothing.

    Reference and switch are drawn from one normal distribution, `seeds` runs each, `trials` times.
    """
    rng = np.random.default_rng(random_state)
    reference, switch = rng.normal(size=(2, trials, seeds))
    differences = switch - reference
    agree = (differences > 0).all(axis=1) | (differences < 0).all(axis=1)
    spread = np.maximum(np.ptp(reference, axis=1), np.ptp(switch, axis=1))
    return float((agree & (np.abs(differences.mean(axis=1)) > spread)).mean())
