"""Commands about data: prepare, fold, convert, phantom, download."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oarfuse.commands import DATA, command

if TYPE_CHECKING:
    from oarfuse.data import Manifest


def add(commands: Any) -> None:
    """Add these commands to the parser."""
    _add_prepare(commands)
    _add_fold(commands)
    _add_convert(commands)
    _add_phantom(commands)
    _add_download(commands)


def _add_prepare(commands: Any) -> None:
    from oarfuse.data.datasets import DATASETS

    parser = command(
        commands,
        "prepare",
        _prepare,
        "Turn a data set into NIfTI files and a manifest.",
        goes_on="always",
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument(
        "--source", type=Path, required=True, help="clone, folder, or ZIP of the data set"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--split-rule",
        choices=["folders", "lexicographic"],
        help="openkbp: how patients are split (default: folders)",
    )
    parser.add_argument(
        "--validation",
        type=int,
        metavar="N",
        help="synapse: training patients to hold out (default: 0, as TransUNet does)",
    )
    parser.add_argument("--workers", type=int, help="threads (default: one a core)")


def _prepare(options: argparse.Namespace) -> None:
    from oarfuse.data.datasets import prepare

    manifest = prepare(
        options.dataset,
        options.source,
        options.output,
        split_rule=options.split_rule,
        validation=options.validation,
        workers=options.workers,
    )
    _print_counts(options.output, manifest)


def _print_counts(folder: Path, manifest: Manifest) -> None:
    counts = {name: len(manifest.split(name)) for name in ("train", "validation", "test")}
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{folder}: {said}; {len(manifest.skipped)} skipped.")


def _add_fold(commands: Any) -> None:
    parser = command(
        commands, "fold", _fold, "Split a prepared folder's train and validation patients anew."
    )
    parser.add_argument("--data", type=Path, required=True, help=DATA)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--fold", type=int, required=True, help="which one validates, from 1 on")
    parser.add_argument("--folds", type=int, default=5, help="how many there are")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffling, one for all folds")


def _fold(options: argparse.Namespace) -> None:
    from oarfuse.data import make_fold

    manifest = make_fold(
        options.data, options.output, fold=options.fold, folds=options.folds, seed=options.seed
    )
    _print_counts(options.output, manifest)


def _add_convert(commands: Any) -> None:
    parser = command(
        commands,
        "convert",
        _convert,
        "Write a prepared folder in the form of another program.",
        goes_on="always",
    )
    parser.add_argument("form", choices=["nnunet"], help="nnunet: a data set of nnU-Net v2")
    parser.add_argument("--data", type=Path, required=True, help=DATA)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--id", type=int, default=501, help="number of the data set in nnU-Net")


def _convert(options: argparse.Namespace) -> None:
    from oarfuse.data.nnunet import to_nnunet

    print(to_nnunet(options.data, options.output, dataset_id=options.id))


def _add_phantom(commands: Any) -> None:
    from oarfuse.phantom import SIZES

    parser = command(
        commands, "phantom", _phantom, "Write a procedural phantom in the data set's own layout."
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--dataset", choices=["openkbp", "synapse"], default="openkbp")
    for split, count in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=count, help="patients")
    parser.add_argument(
        "--incomplete", type=int, default=0, help="openkbp: more train patients, lacking an organ"
    )
    parser.add_argument("--seed", type=int, default=0)


def _phantom(options: argparse.Namespace) -> None:
    from oarfuse.phantom import make_phantom

    source = make_phantom(
        options.output,
        dataset=options.dataset,
        train=options.train,
        validation=options.validation,
        test=options.test,
        incomplete=options.incomplete,
        seed=options.seed,
    )
    print(source)


def _add_download(commands: Any) -> None:
    parser = command(commands, "download", _download, "Fetch the public OpenKBP archive.")
    parser.add_argument("dataset", choices=["openkbp"])
    parser.add_argument("--output", type=Path, required=True, help="ZIP file to write")
    parser.add_argument("--known-hash", help="SHA-256 that the whole file must have")


def _download(options: argparse.Namespace) -> None:
    from oarfuse.data import download_openkbp

    print(download_openkbp(options.output, known_hash=options.known_hash))
