"""A real abdominal CT through the Synapse pipeline: prepare, predict, evaluate, figure.

The CT is not the challenge's: it is laid out as its patient 0008, with its labels renumbered to
the challenge's values. The network has seen only a phantom, for a few steps: its scores mean
nothing, and the test asks only that everything fits together.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest, prepare_synapse, read_nifti
from oarfuse.data.synapse_labels import CHALLENGE_LABELS
from oarfuse.evaluation.statistics import load_metrics
from oarfuse.organs import SYNAPSE
from oarfuse.phantom import make_phantom
from oarfuse.viewing import show_comparison

FOLDER = Path(
    os.environ.get("OARFUSE_ABDOMEN")
    or Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
)
CT, LABELS = FOLDER / "abdomen_ct.nii.gz", FOLDER / "abdomen_labels.nii.gz"
pytestmark = pytest.mark.skipif(
    not (CT.is_file() and LABELS.is_file()),
    reason="needs the real abdominal CT: set OARFUSE_ABDOMEN to the folder that holds it",
)
# Label values of the file. It has TotalSegmentator's first numbering (104 classes), in which the
# aorta is 7, the pancreas 10 and the right iliac artery 52; in the second the pancreas is 7 and the
# aorta 52. The shapes tell which it is: see test_label_7_is_the_aorta.
ITS_LABELS = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "liver": 5,
    "stomach": 6,
    "aorta": 7,
    "inferior_vena_cava": 8,
    "portal_and_splenic_vein": 9,
    "pancreas": 10,
    "right_adrenal_gland": 11,
    "left_adrenal_gland": 12,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CT as a download with one patient, prepared."""
    folder = tmp_path_factory.mktemp("abdomen")
    training = folder / "RawData" / "Training"
    for stem in ("img", "label"):
        (training / stem).mkdir(parents=True)
    shutil.copy(CT, training / "img" / "img0008.nii.gz")
    theirs = nib.Nifti1Image.from_filename(LABELS)
    values = np.asanyarray(theirs.dataobj).astype(int)
    numbers = np.zeros(values.shape, np.uint8)
    for organ, value in ITS_LABELS.items():
        numbers[values == value] = CHALLENGE_LABELS[organ]
    nib.Nifti1Image(numbers, theirs.affine).to_filename(training / "label" / "label0008.nii.gz")
    prepare_synapse(folder / "RawData", folder / "prepared", workers=1, progress=False)
    return folder / "prepared"


def test_prepared_as_it_is_and_turned_right(data: Path) -> None:
    manifest = load_manifest(data)
    (case,) = manifest.split("test")
    assert not manifest.phantom and len(manifest.skipped) == 29
    original, labels = (
        nib.Nifti1Image.from_filename(CT),
        np.asanyarray(nib.Nifti1Image.from_filename(LABELS).dataobj),
    )
    kept = nib.Nifti1Image.from_filename(case.image_path)
    assert np.array_equal(np.asanyarray(kept.dataobj), np.asanyarray(original.dataobj))
    assert np.allclose(kept.affine, original.affine)
    for organ in SYNAPSE.organs:
        assert case.voxels[organ.name] == int((labels == ITS_LABELS[organ.name]).sum())
    volume = load_case(case)
    assert volume.spacing_mm == pytest.approx((3, 3, 3))
    centre = {o.name: np.argwhere(volume.label == o.label).mean(axis=0) for o in SYNAPSE.organs}
    # (D, H, W) toward superior, posterior, left
    assert centre["liver"][2] < centre["aorta"][2] < centre["spleen"][2]
    assert centre["right_kidney"][2] < centre["left_kidney"][2]
    assert centre["pancreas"][1] < centre["left_kidney"][1]
    assert centre["liver"][0] > centre["right_kidney"][0]
    hu = {o.name: float(np.median(volume.image[volume.label == o.label])) for o in SYNAPSE.organs}
    assert 30 < hu["liver"] < 200 and 30 < hu["spleen"] < 250 and hu["gallbladder"] < hu["liver"]


def test_label_7_is_the_aorta(data: Path) -> None:
    volume = load_case(load_manifest(data).cases[0])
    extent = {
        organ.name: np.ptp(np.argwhere(volume.label == organ.label), axis=0) * volume.spacing_mm
        for organ in SYNAPSE.organs
    }
    up, _, across = extent["aorta"]
    assert up > 120 and across < 50  # a tube along the spine
    up, _, across = extent["pancreas"]
    assert across > 1.5 * up  # lies across the belly
    labels = read_nifti(LABELS)
    below = np.argwhere(labels.array == 52)[:, 0].max()
    assert below < np.argwhere(labels.array == 7)[:, 0].min() + 10  # begins where the aorta ends


def test_predict_evaluate_and_figure(data: Path, tmp_path: Path) -> None:
    source = make_phantom(tmp_path / "s", dataset="synapse", train=1, validation=0, test=0)
    prepare_synapse(source, tmp_path / "p", workers=1, progress=False)
    run = ["--data", str(tmp_path / "p"), "--model", "oarfocalfusenet", "--output"]
    recipe = ["--model-options", '{"width": 2}', "--patch-size", "48", "64", "64", "--steps", "6"]
    where = ["--accelerator", "cpu", "--batch-size", "1", "--workers", "0"]
    assert main(["train", *run, str(tmp_path / "run"), *recipe, *where]) == 0
    weights = str(tmp_path / "run" / "weights.safetensors")
    (case,) = load_manifest(data).split("test")
    out = tmp_path / "labels.nii.gz"
    assert main(["predict", "--weights", weights, "--input", str(CT), "--output", str(out)]) == 0
    predicted = read_nifti(out)
    assert np.allclose(predicted.affine, nib.Nifti1Image.from_filename(CT).affine)
    assert predicted.array.shape == case.shape and predicted.array.max() <= 8
    scores = ["--data", str(data), "--split", "test", "--output", str(tmp_path / "scores")]
    assert main(["evaluate", "--weights", weights, *scores]) == 0
    table = load_metrics(tmp_path / "scores" / "metrics.csv")
    assert list(table["organ"]) == [organ.name for organ in SYNAPSE.organs]
    assert table["dsc"].between(0, 1).all() and np.isfinite(table["hd_mm"]).all()
    assert (tmp_path / "scores" / "metrics_transunet.csv").is_file()
    assert "Phantom weights" in (tmp_path / "scores" / "summary.md").read_text()
    volume = load_case(case)
    figure = show_comparison(
        volume.image,
        volume.label,
        {"phantom-trained": predicted.array},
        spacing_mm=volume.spacing_mm,
        spec=SYNAPSE,
    )
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 50_000
