"""Commands about networks: train, export, predict."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from oarfuse.commands import DATA, WEIGHTS, command, speaks
from oarfuse.errors import OarfuseError


def add(commands: Any) -> None:
    """Add these commands to the parser."""
    _add_train(commands)
    _add_export(commands)
    _add_predict(commands)


def _add_train(commands: Any) -> None:
    from oarfuse.config import TrainConfig  # light: the defaults are shown in the help

    parser = command(
        commands,
        "train",
        _train,
        "Train a network; the same command resumes after a stop.",
        goes_on="checkpoint",
    )
    parser.add_argument("--data", required=True, help=DATA)
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
    if speaks():
        print(folder)


def _json_object(text: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a name stands there twice")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no JSON object, each name once, such as '{{\"width\": 8}}'"
        )
    return value


def _add_export(commands: Any) -> None:
    parser = command(
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
    parser = command(commands, "predict", _predict, "Segment a CT; labels come on its own grid.")
    parser.add_argument("--weights", required=True, help=WEIGHTS)
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="CT in HU: .nii, .nii.gz, a folder with a DICOM series, or a folder of such cases",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="labels .nii.gz or .nii, .seg.nrrd for 3D Slicer, contours .dcm (RTSTRUCT), .seg.dcm "
        "(DICOM SEG), or a folder for a folder of cases",
    )
    parser.add_argument("--series", metavar="UID", help="which of several series in the folder")
    parser.add_argument(
        "--organ-files", type=Path, metavar="FOLDER", help="also write a file of 0 and 1 an organ"
    )
    parser.add_argument(
        "--volumes", action="store_true", help="also print each organ's volume in ml, as CSV"
    )
    parser.add_argument(
        "--all-components", action="store_true", help="keep more than each organ's largest piece"
    )
    add_inference_options(parser)


def _predict(options: argparse.Namespace) -> None:
    from oarfuse.prediction import is_folder_of_cases, predict_file, predict_folder

    def print_volumes(source: Path, volumes: dict[str, float]) -> None:
        for organ, ml in volumes.items():
            print(f"{source.name},{organ},{ml:.2f}")

    if options.volumes:
        print("case,organ,ml")
    chosen: dict[str, Any] = dict(
        largest_component=not options.all_components,
        mirror=options.mirror,
        adapt_steps=options.adapt,
        device=options.device,
        precision=options.precision,
        organ_files=options.organ_files,
        tell_volumes=print_volumes if options.volumes else None,
    )
    if is_folder_of_cases(options.input):
        if options.series:
            raise OarfuseError(f"{options.input} is a folder of cases: leave --series out.")
        written = predict_folder(options.weights, options.input, options.output, **chosen)
    else:
        one = predict_file(
            options.weights, options.input, options.output, series_uid=options.series, **chosen
        )
        written = [one]
    print(*written, sep="\n")


def add_inference_options(parser: argparse.ArgumentParser) -> None:
    """Add what `predict` and `evaluate` both ask of a network."""
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
