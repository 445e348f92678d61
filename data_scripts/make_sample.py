"""Make oarfuse/sample from the public data: who is in it, and how it was prepared.

    python data_scripts/make_sample.py --openkbp open-kbp.zip --abdomen FOLDER

FOLDER holds abdomen_ct.nii.gz and abdomen_labels.nii.gz, from TotalSegmentator's test files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np

from oarfuse.data import open_source, prepare_openkbp
from oarfuse.data.nifti import write_image
from oarfuse.files import sha256, write_text
from oarfuse.organs import SYNAPSE
from oarfuse.sample import HERE, abdomen_sample, openkbp_sample, openkbp_source

# Chosen by the audit of notebook 01, before any network saw them.
TRAIN = {
    "pt_2": "an ordinary patient, no slice leaks",
    "pt_4": "an ordinary patient, no slice leaks",
    "pt_1": "a thin right parotid, a brainstem that stops early, 29 leaking slices",
    "pt_9": "a mandible in four pieces, 38 voxels that two organs claim",
    "pt_128": "parotids three times the usual size, 51 leaking slices",
    "pt_196": "a short spinal cord, metal at 21854 HU",
}
AS_CSV = "pt_1"
# Values in the abdomen's label file, TotalSegmentator's first numbering.
ABDOMEN = {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "liver": 5}
ABDOMEN |= {"stomach": 6, "aorta": 7, "pancreas": 10}
TEXT = Path(__file__).with_name("sample_readme.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--openkbp", type=Path, required=True, help="the data set's ZIP")
    parser.add_argument("--abdomen", type=Path, required=True, help="folder of the abdominal CT")
    options = parser.parse_args()
    make_openkbp(options.openkbp)
    make_abdomen(options.abdomen)
    write_readme()


def make_openkbp(archive: Path) -> None:
    """Prepare the chosen patients, and keep one as the CSV files that it came in."""
    with open_source(archive) as source, tempfile.TemporaryDirectory() as folder:
        chosen = {
            patient.case: patient
            for patient in source.patients
            if patient.split == "validation" or patient.case in TRAIN
        }
        subset = Path(folder) / "openkbp-sample.zip"
        _copy(archive, subset, [name for p in chosen.values() for name in p.files.values()])
        prepare_openkbp(subset, openkbp_sample())
        _copy(archive, openkbp_source(), chosen[AS_CSV].files.values())


def _copy(archive: Path, output: Path, names: object) -> None:
    wanted = set(names)  # type: ignore[call-overload]
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(output, "w") as new:
        for entry in old.infolist():
            if entry.filename in wanted or Path(entry.filename).name == "LICENSE":
                new.writestr(entry, old.read(entry), zipfile.ZIP_DEFLATED, 9)


def make_abdomen(folder: Path) -> None:
    """Copy the CT as it is; give the labels the kit's values of the eight Synapse organs."""
    ct, labels = abdomen_sample()
    ct.parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / "abdomen_ct.nii.gz", ct)
    theirs = nib.Nifti1Image.from_filename(folder / "abdomen_labels.nii.gz")
    values = np.asanyarray(theirs.dataobj).astype(int)
    ours = np.zeros(values.shape, np.uint8)
    for organ in SYNAPSE.organs:
        ours[values == ABDOMEN[organ.name]] = organ.label
    image = nib.Nifti1Image(ours, theirs.affine)
    image.header["descrip"] = b"TotalSegmentator's output, not a reader's contours"
    write_image(labels, image)


def write_readme() -> None:
    """Write README.md: the text beside this script, the patients and the checksums."""
    people = "\n".join(f"- {case}: {why}" for case, why in TRAIN.items())
    files = sorted(p for p in HERE.rglob("*") if p.suffix in (".gz", ".zip", ".json"))
    sums = "\n".join(f"{sha256(path)}  {path.relative_to(HERE).as_posix()}" for path in files)
    text = TEXT.read_text(encoding="utf-8")
    write_text(HERE / "README.md", text.replace("TRAIN", people).replace("CHECKSUMS", sums))


if __name__ == "__main__":
    main()
