"""Publish a run's weights: half precision, scores of these very weights, pictures, model card.

python -m reports.publish_weights build/openkbp/run --data build/openkbp/prepared

Writes weights/NAME.safetensors, .json and .md, results/DATASET/MODEL/ and the pages that show it.
Work files go to build/publish/; an interrupted evaluation goes on there.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oarfuse.config import recipe
from oarfuse.course.picks import rank_cases
from oarfuse.data import Manifest, load_case, load_manifest, read_nifti
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import Evaluation, evaluate
from oarfuse.evaluation.cases import jsonable
from oarfuse.evaluation.folder import MORE, PAGE, SUMMARY, TABLES
from oarfuse.files import atomic_path, sha256, write_json
from oarfuse.runs import CONFIG, VALIDATION, WEIGHTS
from oarfuse.viewing import ViewCase, show_cases
from oarfuse.viewing.plots.training_parts import plot_parts
from oarfuse.weights import ModelInfo, load_weights, read_info, save_weights, training_stages
from reports import pages
from reports.keep_run import copy_records
from reports.results import ROOT, read_json

LIMIT_MB = 15
SCORES = (*TABLES.values(), MORE, SUMMARY, PAGE)


def history(run: Path, info: ModelInfo, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the records of every stage, with what runs before this record left out added."""
    config = stored_recipe(run)
    *earlier, last = training_stages({"config": config, **info.training})
    if config["init"] and not earlier:
        if not folders:
            raise OarfuseError(
                f"{run} went on from {config['init']} and does not know what that went through: "
                "name the folders of the earlier runs with --stages, oldest first."
            )
        earlier = [_last_record(folder) for folder in folders]
    return [*earlier, last]


def stored_recipe(folder: Path) -> dict[str, Any]:
    """Return a run's options as they were stored, without those that were added since."""
    return recipe(read_json(folder / CONFIG))


def _last_record(folder: Path) -> dict[str, Any]:
    for name in (WEIGHTS, "latest.safetensors"):
        if (folder / name).exists():
            return {
                "config": stored_recipe(folder),
                **training_stages(read_info(folder / name).training)[-1],
            }
    return {"config": stored_recipe(folder), **read_json(folder / "record.json")}


def keep_stages(run: Path, stages: list[dict[str, Any]], folders: Sequence[Path], to: Path) -> None:
    """Copy each stage's curves and configuration to `to`/1, 2, ... and its record beside them.

    Without `folders` an earlier stage keeps what was published of it; if that is of another
    training, the stage goes without curves.
    """
    if folders and len(folders) != len(stages) - 1:
        raise OarfuseError(
            f"{run} continues {len(stages) - 1} runs and --stages names {len(folders)}: name all."
        )
    for number, record in enumerate(stages, start=1):
        kept = to / str(number)
        if number == len(stages):
            shutil.rmtree(kept, ignore_errors=True)
            copy_records(run, kept)
        elif folders:
            if folders[number - 1].resolve() != kept.resolve():
                copy_records(folders[number - 1], kept)
        elif not (kept / CONFIG).exists() or stored_recipe(kept) != record["config"]:
            shutil.rmtree(kept, ignore_errors=True)
            continue
        write_json(kept / "record.json", record)
    for folder in to.iterdir():
        if int(folder.name) > len(stages):  # of weights that were published before
            shutil.rmtree(folder)


def draw_curve(stages: list[dict[str, Any]], folder: Path, target: Path) -> None:
    curves = []
    for number, record in enumerate(stages, start=1):
        path = folder / str(number) / VALIDATION
        if path.exists():
            title = f"stage {number}: rate {record['config']['min_lr']:g} to "
            title += f"{record['config']['max_lr']:g}"
            curves.append((title, pd.read_csv(path), record["minutes"]))
    with atomic_path(target) as temporary:
        plot_parts(curves).savefig(temporary, dpi=110)


def draw_cases(scores: Path, manifest: Manifest, method: str, output: Path) -> None:
    """Draw best, median and worst patient, and the three worst on their worst slice."""
    frame = Evaluation.load(scores, "raw").metrics
    dsc = rank_cases(frame)
    ranks = {"best": dsc.index[-1], "median": dsc.index[len(dsc) // 2], "worst": dsc.index[0]}
    cases = [_view(scores, manifest, method, name, rank) for rank, name in ranks.items()]
    worst = []
    for name in dsc.index[:3]:
        rows = frame[frame["case"] == name].set_index("organ")["dsc"]
        worst.append(_view(scores, manifest, method, name, rows.idxmin(), organ=rows.idxmin()))
    for file, chosen in (("cases.png", cases), ("failures.png", worst)):
        figure = show_cases(chosen, spec=manifest.spec, title=f"{manifest.spec.title}, validation")
        with atomic_path(output / file) as temporary:
            figure.savefig(temporary, dpi=110)


def _view(
    scores: Path, manifest: Manifest, method: str, name: str, said: str, organ: str | None = None
) -> ViewCase:
    volume = load_case(manifest.case(name))
    predicted = read_nifti(scores / "predictions" / f"{name}.nii.gz").array
    index = None
    if organ:
        (label,) = (entry.label for entry in manifest.spec.organs if entry.name == organ)
        truth = volume.label == label
        wrong = truth != (predicted == label)
        middle = [int(np.median(axis)) for axis in np.nonzero(truth | wrong)]
        index = (int(wrong.sum(axis=(1, 2)).argmax()), middle[1], middle[2])
    title = f"{name}, {said.replace('_', ' ')}"
    return ViewCase(
        title, volume.image, volume.label, {method: predicted}, volume.spacing_mm, index
    )


def keep_earlier(name: str, results: Path) -> Path | None:
    """Copy published weights and their results to NAME-v1, NAME-v2, ...; return the new file.

    Who named the weights in a script before can still have the same ones.
    """
    weights = ROOT / "weights"
    if not (weights / f"{name}.safetensors").exists():
        return None
    number = len(list(weights.glob(f"{name}-v*.safetensors"))) + 1
    kept, folder = f"{name}-v{number}", results.parent / "earlier" / f"{results.name}-v{number}"
    shutil.copytree(results, folder)
    shutil.rmtree(results / "other_evaluations", ignore_errors=True)  # of the earlier weights
    about = read_json(weights / f"{name}.json")
    about |= {"name": kept, "results": folder.relative_to(ROOT).as_posix()}
    shutil.copyfile(weights / f"{name}.safetensors", weights / f"{kept}.safetensors")
    write_json(weights / f"{kept}.json", about)
    return weights / f"{kept}.safetensors"


def publish(
    run: Path, data: Path, *, mirror: bool, folders: Sequence[Path], keep: bool = False
) -> Path:
    """Do all of it and return the weights file."""
    model, info = load_weights(run / WEIGHTS)
    if info.phantom:
        raise OarfuseError(f"{run} was trained on a phantom: publish what patients trained.")
    results = ROOT / "results" / info.dataset / info.model
    stages = history(run, info, folders)
    *earlier, last = stages
    info = replace(info, training={**last, **({"earlier": earlier} if earlier else {})})
    name = f"{info.model}-{info.dataset}"
    work = ROOT / "build" / "publish" / name
    half = work / f"{name}.safetensors"
    save_weights(half, model.state_dict(), info, half=True)
    if half.stat().st_size > LIMIT_MB * 1e6:
        raise OarfuseError(f"{half} is larger than {LIMIT_MB} MB: such a file is not for git.")
    digest = sha256(half)
    scores = work / f"{digest[:10]}{'-mirror' if mirror else ''}"
    evaluation = evaluate(half, data, "validation", scores, mirror=mirror, save_predictions=True)

    if keep:
        keep_earlier(name, results)
    for file in SCORES:
        with atomic_path(results / file) as temporary:
            temporary.write_bytes((scores / file).read_bytes())
    keep_stages(run, stages, folders, results / "stages")
    draw_curve(stages, results / "stages", results / "curve.png")
    manifest = load_manifest(data)
    draw_cases(scores, manifest, info.model, results)
    published = ROOT / "weights" / half.name
    with atomic_path(published) as temporary:
        temporary.write_bytes(half.read_bytes())
    about = asdict(info)
    del about["training"], about["patients"]
    about |= {
        "name": name,
        "sha256": digest,
        "num_classes": info.num_classes,
        "labels": {str(organ.label): organ.name for organ in info.spec.organs},
        "results": results.relative_to(ROOT).as_posix(),
        "train_cases": len(manifest.split("train")),
        "mirror": mirror,
        "validation_dsc": evaluation.summary["means"]["raw"]["mean"]["dsc"],
        "stages": stages,
    }
    write_json(published.with_suffix(".json"), jsonable(about))
    pages.write()
    return published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of `oarfuse train`")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--mirror", action="store_true", help="score with mirrored averaging")
    help_ = "keep the weights that are replaced under a versioned name"
    parser.add_argument("--keep-earlier", action="store_true", help=help_)
    help_ = "folders of the runs that this one continues, oldest first (default: as published)"
    parser.add_argument("--stages", type=Path, nargs="+", default=[], help=help_)
    options = parser.parse_args()
    try:
        print(publish(options.run, options.data, mirror=options.mirror, folders=options.stages,
                      keep=options.keep_earlier))  # fmt: skip
    except OarfuseError as error:
        raise SystemExit(f"publish_weights: {error}") from None


if __name__ == "__main__":
    main()
