"""Whole inputs, and ways to damage them: each takes an empty folder and works on what it writes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from safetensors.torch import save_file

from oarfuse import build_model
from oarfuse.config import TrainConfig
from oarfuse.data import load_case, load_manifest, prepare_openkbp, read_ct
from oarfuse.evaluation import evaluate, score_predictions
from oarfuse.prediction import predict_file
from oarfuse.weights import ModelInfo, load_weights, save_weights
from tests.helpers.openkbp_files import patient_files, write_source, zip_source
from tests.helpers.small_data import write_small_data

INFO = ModelInfo(
    model="oarfocalfusenet",
    options={"width": 2},
    dataset="openkbp",
    window_hu=(-160.0, 400.0),
    patch_size=(32, 16, 16),
    spacing_mm=(4.0, 4.0, 4.0),
    spacing_range_mm=((4.0, 4.0, 4.0), (4.0, 4.0, 4.0)),
    phantom=True,
)


@dataclass(frozen=True)
class Fault:
    """`provoke` gets a folder with everything whole in it; `says` must be in the message."""

    name: str
    provoke: Callable[[Path], Any]
    says: str


# --- how things are damaged and used -----------------------------------------------------------


def csv(read: Callable[[bytes, str], Any], content: bytes) -> Callable[[Path], Any]:
    return lambda folder: read(content, "pt_1/file.csv")


def patient(stem: str, text: str | None) -> Callable[[Path], Any]:
    """Prepare a source in which one file of the second patient reads so, or is missing."""

    def provoke(folder: Path) -> Any:
        files = patient_files(2)
        if text is None:
            del files[stem]
        else:
            files[stem] = text
        source = write_source(folder / "kbp", {"train/pt_1": patient_files(), "train/pt_2": files})
        return prepare_openkbp(source, folder / "out", progress=False)

    return provoke


def archive(damage: Callable[[Path], None], **options: Any) -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        path = folder / "kbp.zip"
        zip_source(write_source(folder / "kbp", {"train/pt_1": patient_files()}), path)
        damage(path)
        return prepare_openkbp(path, folder / "out", progress=False, **options)

    return provoke


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def rewritten(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return rewritten


def member(name: str) -> Callable[[Path], None]:
    def add(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(name, "x")

    return add


def nifti(
    array: np.ndarray | None = None,
    *,
    affine: np.ndarray | None = None,
    damage: Callable[[bytes], bytes] | None = None,
    header: dict[str, Any] | None = None,
    read: Callable[[Path], Any] = read_ct,
) -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        values = ct() if array is None else array
        image = nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1]) if affine is None else affine)
        content = bytearray(image.to_bytes())
        if header:
            for key, value in header.items():
                image.header[key] = value
            image.header["vox_offset"] = 352
            content[:348] = image.header.binaryblock  # nibabel itself would mend it
        path = folder / "bad.nii"
        path.write_bytes(damage(bytes(content)) if damage else bytes(content))
        return read(path)

    return provoke


def ct() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, (8, 9, 10)).astype(np.int16)


def weights(change: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        path = folder / "bad.safetensors"
        save_weights(path, INFO.build().state_dict(), INFO)
        change(path)
        return load_weights(path)

    return provoke


def metadata(**changes: Any) -> Callable[[Path], Any]:
    """Weights whose metadata lie: None removes a field."""

    def change(path: Path) -> None:
        content: dict[str, Any] = json.loads(json.dumps(INFO.__dict__))
        content.update(changes)
        content = {key: value for key, value in content.items() if value is not None}
        about = {"format": "oarfuse-weights/1", "info": json.dumps(content)}
        save_file(INFO.build().state_dict(), path, metadata=about)

    return weights(change)


def config(**changes: Any) -> Callable[[Path], Any]:
    return lambda folder: TrainConfig(**{"data": str(folder), "output": "run", **changes})


def model(name: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda folder: build_model(name, **options)


def manifest(**changes: Any) -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        write_small_data(folder / "data", train=1, validation=0)
        path = folder / "data/manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return load_manifest(folder / "data")

    return provoke


def case(damage: Callable[[Path], Any], kind: str = "label") -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        (found,) = write_small_data(folder / "data", train=1, validation=0).cases
        damage(getattr(found, f"{kind}_path"))
        return load_case(found)

    return provoke


def labels(values: np.ndarray) -> Callable[[Path], Any]:
    """Score a label file of another program."""

    def provoke(folder: Path) -> Any:
        write_small_data(folder / "data", train=0, validation=1)
        (folder / "predictions").mkdir()
        image = nib.Nifti1Image(values, np.diag([4.0, 4, 4, 1]))
        nib.save(image, folder / "predictions/pt_1.nii.gz")
        return score_predictions(
            folder / "predictions", folder / "data", "validation", folder / "out",
            method="other", progress=False,
        )  # fmt: skip

    return provoke


def prediction(**options: Any) -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        save_weights(folder / "w.safetensors", INFO.build().state_dict(), INFO)
        nib.save(nib.Nifti1Image(ct(), np.diag([4.0, 4, 4, 1])), folder / "ct.nii.gz")
        files = {"weights": folder / "w.safetensors", "source": folder / "ct.nii.gz"}
        arguments = {**files, "output": folder / "out.nii.gz", "device": "cpu", **options}
        return predict_file(**arguments)

    return provoke


def evaluation(split: str, **options: Any) -> Callable[[Path], Any]:
    def provoke(folder: Path) -> Any:
        write_small_data(folder / "data", train=0, validation=1)
        info = replace(INFO, **options)
        save_weights(folder / "w.safetensors", info.build().state_dict(), info)
        return evaluate(
            folder / "w.safetensors", folder / "data", split, folder / "out", progress=False
        )

    return provoke


def size(*sides: int) -> Callable[[Path], Any]:
    return lambda folder: build_model("oarfocalfusenet", width=2)(torch.zeros(1, 1, *sides))


def colour() -> np.ndarray:
    return np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])


def holding(value: float) -> np.ndarray:
    array = ct().astype(np.float32)
    array[0, 0, 0] = value
    return array


NO_CODES = {"sform_code": 0, "qform_code": 0}
TILTED = np.array([[2.0, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
