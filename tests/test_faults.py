"""Bad input, one row a fault: each is answered with one sentence, and finished files stay."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from oarfuse.data import load_manifest, prepare_openkbp, read_ct
from oarfuse.data.openkbp.sparse_csv import read_ct as parse_ct
from oarfuse.data.openkbp.sparse_csv import read_mask, read_spacing
from oarfuse.errors import OarfuseError
from oarfuse.runs import read_curves
from oarfuse.weights import load_weights
from tests.helpers.faults import (
    NO_CODES,
    TILTED,
    Fault,
    archive,
    case,
    colour,
    config,
    csv,
    ct,
    evaluation,
    holding,
    labels,
    manifest,
    member,
    metadata,
    model,
    nifti,
    patient,
    prediction,
    rewrite,
    size,
    weights,
)

FAULTS = [
    # CSV
    Fault("ct empty", csv(parse_ct, b""), "is empty"),
    Fault("ct truncated", csv(parse_ct, b",data\n5,515.0\n6,51"), "middle of a line"),
    Fault("ct without header", csv(parse_ct, b"5,515.0\n"), "header"),
    Fault("ct without voxels", csv(parse_ct, b",data\n"), "lists no voxel"),
    Fault("ct NaN", csv(parse_ct, b",data\n5,nan\n"), "nan"),
    Fault("ct infinite", csv(parse_ct, b",data\n5,inf\n"), "inf"),
    Fault("ct text", csv(parse_ct, b",data\n5,bone\n"), "'bone'"),
    Fault("ct beyond 16 bits", csv(parse_ct, b",data\n5,40000.0\n"), "40000"),
    Fault("ct voxel outside", csv(parse_ct, b",data\n2097152,5.0\n"), "2097152"),
    Fault("ct voxel negative", csv(parse_ct, b",data\n-4,5.0\n"), "-4"),
    Fault("ct voxel twice", csv(parse_ct, b",data\n5,1.0\n5,2.0\n"), "voxel 5 more than once"),
    Fault("ct with a third column", csv(parse_ct, b",data\n5,1.0,9\n"), "line 2"),
    Fault("ct binary", csv(parse_ct, bytes(range(256))), "middle of a line"),
    Fault("mask with values", csv(read_mask, b",data\n5,1.0\n"), "holds values"),
    Fault("spacing missing", csv(read_spacing, b"4.5\n4.5\n"), "2 voxel sizes"),
    Fault("spacing negative", csv(read_spacing, b"4.5\n-4.5\n3\n"), "-4.5 mm"),
    Fault("spacing zero", csv(read_spacing, b"4.5\n0\n3\n"), "0 mm"),
    Fault("spacing NaN", csv(read_spacing, b"nan\n4.5\n3\n"), "nan mm"),
    Fault("spacing in cm", csv(read_spacing, b"0.04\n0.04\n0.03\n"), "0.04 mm"),
    # sources
    Fault("organ empty", patient("Mandible", ""), "pt_2/Mandible.csv is empty"),
    Fault("ct missing", patient("ct", None), "pt_2/ct.csv"),
    Fault("spacing missing", patient("voxel_dimensions", None), "pt_2/voxel_dimensions.csv"),
    Fault("zip truncated", archive(rewrite(lambda data: data[:-200])), "no readable ZIP"),
    Fault("zip empty", archive(rewrite(lambda data: b"")), "no readable ZIP"),
    Fault("zip is a pickle", archive(rewrite(lambda data: pickle.dumps(1))), "no readable ZIP"),
    Fault("zip escapes upwards", archive(member("../x.csv")), "leaves the archive"),
    Fault("zip escapes to the root", archive(member("/etc/x.csv")), "leaves the archive"),
    Fault("zip escapes to a drive", archive(member("C:/x.csv")), "leaves the archive"),
    Fault("zip of two data sets", archive(member("b/train-pats/pt_1/ct.csv")), "several data"),
    Fault("unknown split rule", archive(lambda path: None, split_rule="dice"), "folders, lexico"),
    Fault("no source", lambda folder: prepare_openkbp(folder / "x", folder / "out"), "no source"),
    # NIfTI
    Fault("nifti missing", lambda folder: read_ct(folder / "bad.nii"), "There is no"),
    Fault("nifti empty", nifti(damage=lambda data: b""), "damaged or no NIfTI"),
    Fault("nifti text", nifti(damage=lambda data: b"text " * 99), "damaged or no NIfTI"),
    Fault("nifti cut header", nifti(damage=lambda data: data[:200]), "damaged or no NIfTI"),
    Fault("nifti cut voxels", nifti(damage=lambda data: data[:-99]), "damaged or no NIfTI"),
    Fault("gzip cut", nifti(damage=lambda data: gzip.compress(data)[:-99]), "damaged or no NIfTI"),
    Fault("nifti 4D", nifti(np.zeros((4, 4, 4, 3), np.int16)), "three dimensions"),
    Fault("nifti 2D", nifti(np.zeros((4, 4), np.int16)), "three dimensions"),
    Fault("nifti complex", nifti(np.zeros((4, 4, 4), np.complex64)), "integers or real"),
    Fault("nifti colour", nifti(colour()), "integers or real"),
    Fault("HU NaN", nifti(holding(np.nan)), "NaN or infinite"),
    Fault("HU infinite", nifti(holding(np.inf)), "NaN or infinite"),
    Fault("HU windowed", nifti(np.clip(ct(), -160, 400)), "Hounsfield"),
    Fault("HU normalised", nifti(ct().astype(np.float32) / 1500), "Hounsfield"),
    Fault("HU with offset", nifti((ct() + 1024).astype(np.int16)), "Hounsfield"),
    Fault("label map as ct", nifti((ct() % 6).astype(np.uint8)), "Hounsfield"),
    Fault("no orientation", nifti(header=NO_CODES), "which way the patient lies"),
    Fault(
        "no spacing",
        nifti(header={"sform_code": 0, "qform_code": 1, "pixdim": [1, 0, 2, 2, 0, 0, 0, 0]}),
        "true spacing",
    ),
    Fault(
        "negative spacing",
        nifti(header={"sform_code": 0, "qform_code": 1, "pixdim": [1, 2, -2, 2, 0, 0, 0, 0]}),
        "true spacing",
    ),
    Fault("flat affine", nifti(header={"sform_code": 1, "srow_z": [0, 0, 0, 0]}), "spacing"),
    Fault(
        "sheared flat affine",
        nifti(affine=None, header={"sform_code": 1, "srow_y": TILTED[1], "srow_z": TILTED[2]}),
        "affine",
    ),
    Fault("NaN affine", nifti(header={"sform_code": 1, "srow_x": [np.nan, 0, 0, 0]}), "bad.nii"),
    # prepared folders
    Fault("no manifest", lambda folder: load_manifest(folder), "There is no"),
    Fault("manifest of another format", manifest(format="x/9"), "format"),
    Fault("wrong organ names", manifest(classes=["background", "heart"]), "classes"),
    Fault("unknown data set", manifest(dataset="brats"), "brats"),
    Fault("manifest without cases", manifest(cases=None), "manifest.json"),
    Fault("label damaged", case(lambda path: path.write_bytes(b"x")), "damaged or no NIfTI"),
    Fault("label gone", case(lambda path: path.unlink()), "There is no"),
    Fault(
        "image of another type",
        case(
            lambda path: nib.save(nib.Nifti1Image(np.zeros((32,) * 3, np.uint8), np.eye(4)), path),
            "image",
        ),
        "promises",
    ),
    Fault(
        "label of another shape",
        case(
            lambda path: nib.save(
                nib.Nifti1Image(np.zeros((32, 32, 31), np.uint8), np.eye(4)), path
            )
        ),
        "promises",
    ),
    # label maps of other programs
    Fault("unknown label values", labels(np.full((32,) * 3, 9, np.uint8)), "labels 0 to 5"),
    Fault("negative label values", labels(np.full((32,) * 3, -1, np.int16)), "labels 0 to 5"),
    Fault("probabilities", labels(np.full((32,) * 3, 0.5, np.float32)), "fractions"),
    Fault("labels on another grid", labels(np.zeros((32, 32, 16), np.uint8)), "resample"),
    # weights
    Fault("weights missing", lambda folder: load_weights(folder / "w.pt"), "There is no"),
    Fault("weights cut", weights(rewrite(lambda data: data[:-50])), "not a readable"),
    Fault("weights empty", weights(rewrite(lambda data: b"")), "not a readable"),
    Fault("pickle renamed", weights(rewrite(lambda data: pickle.dumps([1]))), "not a readable"),
    Fault("torch.save renamed", weights(lambda path: torch.save([1], path)), "not a readable"),
    Fault(
        "foreign safetensors",
        weights(lambda path: save_file({"a": torch.zeros(1)}, path)),
        "metadata",
    ),
    Fault("weights of another width", metadata(options={"width": 4}), "another architecture"),
    Fault("weights of another model", metadata(model="msf3d"), "another architecture"),
    Fault("weights of an unknown model", metadata(model="nnunet"), "nnunet"),
    Fault("weights of an unknown data set", metadata(dataset="brats"), "brats"),
    Fault("weights without a window", metadata(window_hu=None), "window_hu"),
    Fault("weights with a bent patch", metadata(patch_size=[32, 32]), "patch_size"),
    Fault("weights with a bent window", metadata(window_hu=["a", "b"]), "window_hu"),
    Fault("weights with bent options", metadata(options=[1]), "options"),
    # options and parameters of notebooks
    Fault("unknown model", model("resnet"), "'resnet'"),
    Fault("model that is no name", model(3), "3"),
    Fault("unknown option", model("msf3d", depth=3), "'depth'"),
    Fault("option of the wrong type", model("msf3d", width="wide"), "width"),
    Fault("option out of range", model("msf3d", width=0), "width"),
    Fault("classes as text", model("msf3d", num_classes="6"), "num_classes"),
    Fault("sides not divisible by 16", size(32, 24, 32), "divide by 16"),
    Fault("no channel axis", size(32, 32), "(1, 1, 32, 32)"),
    Fault("steps as text", config(steps="100"), "steps"),
    Fault("steps with a fraction", config(steps=2.5), "steps"),
    Fault("seed negative", config(seed=-1), "seed"),
    Fault("patch of two sides", config(patch_size=(32, 32)), "three sides"),
    Fault("patch as a number", config(patch_size=32), "patch_size"),
    Fault("rate as text", config(max_lr="fast"), "max_lr"),
    Fault("rate NaN", config(max_lr=float("nan")), "learning rates"),
    Fault("minutes as text", config(minutes="ten"), "minutes"),
    Fault("augment as text", config(augment="yes"), "augment"),
    Fault("augmentation stronger than any", config(augment_strength=5.0), "augment_strength"),
    Fault("model options as text", config(model_options="width=2"), "model_options"),
    Fault("unknown precision", config(precision="fp8"), "precision"),
    Fault("decay of 1", config(ema_decay=1.0), "ema_decay"),
    Fault("no run folder", lambda folder: read_curves(folder), "log.csv"),
    # prediction and evaluation
    Fault("unknown device", prediction(device="tpu9"), "tpu9"),
    Fault("output of another kind", prediction(output=Path("x.png")), "x.png"),
    Fault("ct is the weights", prediction(source=Path(__file__)), "test_faults.py"),
    Fault("unknown split", evaluation("tests"), "'tests'"),
    Fault("empty split", evaluation("test"), "no test cases"),
    Fault(
        "weights of another data set",
        evaluation("validation", dataset="synapse"),
        "was trained for synapse",
    ),
]


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_one_sentence_and_finished_files_stay(fault: Fault, tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    finished.mkdir()
    (finished / "result.json").write_text("{}")
    before = snapshot(finished)
    with pytest.raises(OarfuseError) as caught:
        fault.provoke(tmp_path)
    said = str(caught.value)
    assert fault.says in said
    assert "\n" not in said and said.rstrip().endswith((".", ")"))
    assert snapshot(finished) == before
    assert not list(tmp_path.rglob("*.partial*"))


def test_the_table_is_long_enough() -> None:
    assert len(FAULTS) >= 60
    assert len({(fault.name, fault.says) for fault in FAULTS}) == len(FAULTS)
