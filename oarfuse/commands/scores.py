"""Commands about scores: evaluate, score, tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from oarfuse.commands import DATA, WEIGHTS, command
from oarfuse.commands.networks import add_inference_options
from oarfuse.data.datasets import DATASETS


def add(commands: Any) -> None:
    """Add these commands to the parser."""
    _add_evaluate(commands)
    _add_score(commands)
    _add_tables(commands)


def _add_evaluate(commands: Any) -> None:
    parser = command(
        commands,
        "evaluate",
        _evaluate,
        "Score weights on a split: metrics.csv and a summary.",
        goes_on="always",
    )
    parser.add_argument("--weights", required=True, help=WEIGHTS)
    parser.add_argument("--data", type=Path, required=True, help=DATA)
    parser.add_argument("--split", default="validation", choices=["train", "validation", "test"])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--save-predictions", action="store_true", help="also write label maps")
    parser.add_argument(
        "--slices",
        type=int,
        metavar="SIDE",
        help="2D methods: zoom each slice to SIDE pixels and back, as TransUNet (224) does",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="mark the scores as a smoke run in the summary"
    )
    add_inference_options(parser)


def _evaluate(options: argparse.Namespace) -> None:
    from oarfuse.evaluation import evaluate

    evaluate(
        options.weights,
        options.data,
        options.split,
        options.output,
        mirror=options.mirror,
        adapt_steps=options.adapt,
        device=options.device,
        precision=options.precision,
        smoke=options.smoke,
        save_predictions=options.save_predictions,
        slice_side=options.slices,
    )
    print((options.output / "summary.md").read_text(encoding="utf-8"))


def _add_score(commands: Any) -> None:
    parser = command(
        commands, "score", _score, "Score label files of whatever program against the truth."
    )
    parser.add_argument(
        "--truth", type=Path, required=True, help="label file, .nii or .nii.gz, or a folder of them"
    )
    parser.add_argument(
        "--prediction", type=Path, required=True, help="the same; in folders equal names belong"
    )
    parser.add_argument("--dataset", choices=DATASETS, required=True, help="whose labels they are")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")


def _score(options: argparse.Namespace) -> None:
    from oarfuse.evaluation import score_files

    score_files(options.truth, options.prediction, options.dataset, options.output)
    print((options.output / "summary.md").read_text(encoding="utf-8"))


def _add_tables(commands: Any) -> None:
    parser = command(
        commands, "tables", _tables, "Build the paper's Tables I and II with our figures beside."
    )
    parser.add_argument(
        "--results", type=Path, nargs="+", required=True, help="folders of `oarfuse evaluate`"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--split", choices=["train", "validation", "test"], help="only this one")
    parser.add_argument("--unit", choices=["voxels", "mm"], default="voxels", help="of our HD, ASD")
    parser.add_argument(
        "--largest-component", action="store_true", help="our figures after that clean-up"
    )


def _tables(options: argparse.Namespace) -> None:
    from oarfuse.evaluation.paper_tables import write_tables

    left_out = write_tables(
        options.results,
        options.output,
        variant="largest_component" if options.largest_component else "raw",
        split=options.split,
        unit=options.unit,
    )
    for number in ("I", "II"):
        print(options.output / f"table_{number}.md")
    for folder, reason in left_out.items():
        print(f"left out: {folder} ({reason})")
