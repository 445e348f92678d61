"""Compare the scores of published weights with README's row of them; fail if they differ.

python workflow/reproduced.py build/course/published/oarfocalfusenet-openkbp

The row was computed in bfloat16 on another processor: `ALLOWED` leaves room for another precision
or processor, and is below what would be another network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from oarfuse import OarfuseError
from oarfuse.evaluation import VARIANTS, read_summary

RESULTS = Path(__file__).parents[1] / "results" / "openkbp"
# Largest difference of a mean over 20 patients: DSC, and distances in voxels.
ALLOWED = {"dsc": 0.001, "hd_vox": 0.2, "asd_vox": 0.02}


def differences(found: dict, published: dict) -> list[str]:
    """Return a line for each mean that differs by more than `ALLOWED`, from two summaries."""
    wrong = []
    for variant in VARIANTS:
        for organ, row in published["means"][variant].items():
            for metric, allowed in ALLOWED.items():
                ours, theirs = found["means"][variant][organ][metric], row[metric]
                if not abs(ours - theirs) <= allowed:
                    wrong.append(f"{variant}, {organ}, {metric}: {ours:.4f} and not {theirs:.4f}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of `oarfuse evaluate`")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of published scores")
    options = parser.parse_args()
    try:
        found = read_summary(options.folder)
        published = read_summary(options.results / found["model"])
    except OarfuseError as error:
        sys.exit(f"reproduced: error: {error}")
    if found["weights"]["sha256"] != published["weights"]["sha256"]:
        sys.exit(f"reproduced: error: {options.folder} is of other weights than published.")
    wrong = differences(found, published)
    if wrong:
        sys.exit("reproduced: error: README's row is not reached.\n" + "\n".join(wrong))
    ours, theirs = (s["means"]["raw"]["mean"] for s in (found, published))
    print(
        f"{found['model']}: mean DSC {ours['dsc']:.4f} (README {theirs['dsc']:.4f}), HD "
        f"{ours['hd_vox']:.2f} ({theirs['hd_vox']:.2f}), ASD {ours['asd_vox']:.3f} "
        f"({theirs['asd_vox']:.3f}) voxels on {found['cases']} patients, {found['precision']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
