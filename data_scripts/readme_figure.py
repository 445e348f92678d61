"""Draw README's figure: best, median and worst validation patient, truth beside prediction.

oarfuse evaluate ... --save-predictions --output SCORES
python data_scripts/readme_figure.py --scores SCORES --data PREPARED --output docs/figures
"""

from __future__ import annotations

import argparse
from pathlib import Path

from oarfuse.data import load_case, load_manifest, read_nifti
from oarfuse.files import atomic_path
from oarfuse.results import load_metrics
from oarfuse.viewing import ViewCase, show_cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="folder of oarfuse evaluate")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for comparison.png")
    options = parser.parse_args()
    manifest = load_manifest(options.data)
    dsc = load_metrics(options.scores / "metrics.csv").groupby("case")["dsc"].mean().sort_values()
    chosen = {"best": dsc.index[-1], "median": dsc.index[len(dsc) // 2], "worst": dsc.index[0]}
    rows = []
    for rank, name in chosen.items():
        volume = load_case(manifest.case(name))
        predicted = read_nifti(options.scores / "predictions" / f"{name}.nii.gz").array
        rows.append(
            ViewCase(
                f"{rank}, {name}",
                volume.image,
                volume.label,
                {"OARFocalFuseNet": predicted},
                volume.spacing_mm,
            )
        )
    figure = show_cases(rows, spec=manifest.spec, title="OpenKBP validation patients")
    with atomic_path(options.output / "comparison.png") as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
