"""The `oarfuse` command: from the data set to the tables; `oarfuse --help` lists its commands.

Heavy imports happen inside the commands, so that ``oarfuse --help`` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from oarfuse import __version__
from oarfuse.console import (
    MORE_MEMORY,
    about_path,
    escape_what_cannot_be_shown,
    lacks_memory,
    plain_warnings,
)
from oarfuse.errors import OarfuseError
from oarfuse.interruption import Stopped, signals_as_interrupt

if TYPE_CHECKING:
    from oarfuse.data import Manifest


_WEIGHTS = "a .safetensors file, or a name of oarfuse.pretrained_names()"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (2 for a mistake that the user can mend)."""
    escape_what_cannot_be_shown()
    options = _parser().parse_args(arguments)
    try:
        with signals_as_interrupt(), plain_warnings():
            options.run(options)
            sys.stdout.flush()
    except OarfuseError as error:
        if _speaks():
            print(f"oarfuse: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        said = stop if isinstance(stop, Stopped) else f"stopped; {_where_to_go_on(options)}"
        if _speaks():
            print(f"oarfuse: {said}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough; nothing may be flushed to it at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        print(f"oarfuse: error: {about_path(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        print(f"oarfuse: error: {MORE_MEMORY}", file=sys.stderr)
        return 2
    return 0


def _where_to_go_on(options: argparse.Namespace) -> str:
    """Say what the same command will do after it was stopped at no good moment."""
    if options.run is _train:
        if any(Path(options.output).glob("checkpoint*.safetensors")):
            return "the same command goes on from the run's last checkpoint"
        return "there is no checkpoint yet, so that the same command starts anew"
    if options.run in (_prepare, _evaluate):
        return "the same command goes on from here"
    return "the same command starts anew"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oarfuse", description="OARFocalFuseNet and 3D-MSF: prepare, train, predict, evaluate."
    )
    parser.add_argument("--version", action="version", version=f"oarfuse {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_fold(commands)
    _add_phantom(commands)
    _add_download(commands)
    _add_train(commands)
    _add_export(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_tables(commands)
    return parser


def _command(commands: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    return parser


def _add_prepare(commands: Any) -> None:
    from oarfuse.data.datasets import DATASETS

    parser = _command(
        commands, "prepare", _prepare, "Turn a data set into NIfTI files and a manifest."
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
    parser = _command(
        commands, "fold", _fold, "Split a prepared folder's train and validation patients anew."
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
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


def _add_phantom(commands: Any) -> None:
    from oarfuse.phantom import SIZES

    parser = _command(
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
    parser = _command(commands, "download", _download, "Fetch the public OpenKBP archive.")
    parser.add_argument("dataset", choices=["openkbp"])
    parser.add_argument("--output", type=Path, required=True, help="ZIP file to write")
    parser.add_argument("--known-hash", help="SHA-256 that the whole file must have")


def _download(options: argparse.Namespace) -> None:
    from oarfuse.data import download_openkbp

    print(download_openkbp(options.output, known_hash=options.known_hash))


def _add_train(commands: Any) -> None:
    from oarfuse.config import TrainConfig  # light: the defaults are shown in the help

    parser = _command(
        commands, "train", _train, "Train a network; the same command resumes after a stop."
    )
    parser.add_argument("--data", required=True, help="prepared folder")
    parser.add_argument("--model", required=True, help="a name of oarfuse.model_names()")
    parser.add_argument("--output", required=True, help="run folder")
    parser.add_argument(
        "--model-options", type=_json_object, default={}, help="JSON, e.g. '{\"focal_levels\": 3}'"
    )
    parser.add_argument("--patch-size", type=int, nargs=3, metavar=("D", "H", "W"))
    parser.add_argument("--no-augment", dest="augment", action="store_const", const=False)
    parser.add_argument(
        "--blank-leaking",
        action="store_const",
        const=True,
        help="empty slices whose CT was cut away but inside structures",
    )
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for name, hint in get_type_hints(TrainConfig).items():
        kind = next(
            (kind for kind in (get_args(hint) or (hint,)) if kind in (int, float, str)), None
        )
        if get_origin(hint) in (tuple, dict) or kind is None or name in ("data", "model", "output"):
            continue  # the options above
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help=f"default {defaults[name]}"
        )


def _train(options: argparse.Namespace) -> None:
    from oarfuse.config import TrainConfig
    from oarfuse.training import train

    names = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {key: value for key, value in vars(options).items() if key in names}
    config = TrainConfig(**{key: value for key, value in given.items() if value is not None})
    folder = train(config)
    if _speaks():
        print(folder)


def _speaks() -> bool:
    """Whether this is the only process, or the first of those that train on several devices."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object such as '{{\"width\": 8}}'")
    return value


def _add_export(commands: Any) -> None:
    parser = _command(
        commands, "export", _export, "Write a run's weights in half precision, to publish or go on."
    )
    parser.add_argument("--run", dest="folder", type=Path, required=True, help="run folder")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors file to write")
    parser.add_argument(
        "--latest",
        action="store_true",
        help="the newest checkpoint's average, not the best weights",
    )


def _export(options: argparse.Namespace) -> None:
    from oarfuse.runs import export_weights

    print(export_weights(options.folder, options.output, latest=options.latest))


def _add_predict(commands: Any) -> None:
    parser = _command(commands, "predict", _predict, "Segment a CT; labels come on its own grid.")
    parser.add_argument("--weights", required=True, help=_WEIGHTS)
    parser.add_argument("--input", type=Path, required=True, help="CT in HU, .nii or .nii.gz")
    parser.add_argument("--output", type=Path, required=True, help="label map, .nii or .nii.gz")
    parser.add_argument(
        "--all-components", action="store_true", help="keep more than each organ's largest piece"
    )
    _add_inference_options(parser)


def _predict(options: argparse.Namespace) -> None:
    from oarfuse.prediction import predict_file

    written = predict_file(
        options.weights,
        options.input,
        options.output,
        largest_component=not options.all_components,
        mirror=options.mirror,
        adapt_steps=options.adapt,
        device=options.device,
        precision=options.precision,
    )
    print(written)


def _add_inference_options(parser: argparse.ArgumentParser) -> None:
    from oarfuse.config import PRECISIONS

    parser.add_argument(
        "--mirror", action="store_true", help="average with the mirrored volume's prediction"
    )
    parser.add_argument(
        "--adapt",
        type=int,
        default=0,
        metavar="STEPS",
        help="darr: fit a copy of the network to each CT by its jigsaw (the method's own: 10)",
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: a GPU if there is one)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the network's arithmetic (default: bfloat16 where the hardware has it)",
    )


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands, "evaluate", _evaluate, "Score weights on a split: metrics.csv and a summary."
    )
    parser.add_argument("--weights", required=True, help=_WEIGHTS)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
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
    _add_inference_options(parser)


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


def _add_tables(commands: Any) -> None:
    parser = _command(
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


if __name__ == "__main__":
    sys.exit(main())
