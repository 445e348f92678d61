"""Looking hard at a prepared data set before any number is believed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oarfuse.data.ct import AIR_HU, leaking_slices
from oarfuse.data.manifest import Case, Manifest, load_case
from oarfuse.data.openkbp.source import ORGAN_FILES, Patient, Source
from oarfuse.data.openkbp.sparse_csv import VOXELS, read_mask
from oarfuse.organs import DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

# A contour whose volume is this many times the organ's median, or the other side's, is worth a
# look: 15 of the 665 contours of the 133 training and validation patients are.
SUSPICIOUS_FACTOR = 2.5


def audit(manifest: Manifest, workers: int | None = None) -> pd.DataFrame:
    """Measure every prepared patient: the table behind the data notebook.

    Returns
    -------
    One row a patient, indexed by case, with the columns ``split``; ``spacing_d``, ``spacing_h``,
    ``spacing_w`` (mm); ``voxels_<organ>`` and ``components_<organ>`` (components touch by faces,
    edges or corners); ``overlap_voxels``; ``extent_d``, ``extent_h``, ``extent_w`` (voxels of the
    box around all organs); ``leaking_slices``; ``leaking_share`` (share of the organ voxels that
    lie in leaking slices); ``organ_voxels_without_ct``; ``hu_max``.
    """
    import pandas as pd

    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(lambda case: _measure(case, manifest), manifest.cases))
    return pd.DataFrame(rows).set_index("case")


def suspicious_contours(
    frame: pd.DataFrame, spec: DatasetSpec, factor: float = SUSPICIOUS_FACTOR
) -> pd.DataFrame:
    """List the contours that a person should look at before they are trained on or scored.

    Three rules: the volume is more than `factor` times the median of that organ over the patients,
    or less than its inverse; the left and right organ of a pair differ by more than `factor`; the
    organ falls into several pieces. The list says "look", not "wrong": a parotid may be swollen or
    removed, and a contour that stops where the dose stops is short on purpose.

    Parameters
    ----------
    frame
        What `audit` returns.
    spec
        The data set, for its organs and pairs.

    Returns
    -------
    One row a finding with ``case``, ``split``, ``organ``, ``finding`` (in words) and
    ``volume_ml``, ordered by organ and then by how far the finding is from the ordinary.
    """
    import pandas as pd

    ml = frame["spacing_d"] * frame["spacing_h"] * frame["spacing_w"] / 1000
    volumes = {organ.name: frame[f"voxels_{organ.name}"] * ml for organ in spec.organs}
    names = {organ.label: organ.name for organ in spec.organs}
    rivals = {names[a]: names[b] for pair in spec.mirror_pairs for a, b in (pair, pair[::-1])}
    rows = []
    for organ in spec.organs:
        volume = volumes[organ.name]
        ratios = {"median volume": volume / volume.median()}
        if organ.name in rivals:
            ratios["other side"] = volume / volumes[rivals[organ.name]]
        found = [
            (case, f"{share:.2f} times the {of}")
            for of, ratio in ratios.items()
            for case, share in _far(ratio, factor)
        ]
        pieces = frame[f"components_{organ.name}"]
        found += [(str(case), f"{count} pieces") for case, count in pieces[pieces > 1].items()]
        rows += [
            {
                "case": case,
                "split": frame.loc[case, "split"],
                "organ": organ.name,
                "finding": finding,
                "volume_ml": float(volume[case]),
            }
            for case, finding in found
        ]
    return pd.DataFrame(rows, columns=["case", "split", "organ", "finding", "volume_ml"])


def _far(ratio: pd.Series, factor: float) -> list[tuple[str, float]]:
    """Return the cases whose ratio is beyond `factor` or its inverse, the furthest first."""
    distance = np.maximum(ratio, 1 / ratio)
    far = ratio[distance > factor]
    return [
        (str(case), float(ratio[case])) for case in distance[far.index].sort_values().index[::-1]
    ]


def outside_dose_mask(source: Source, workers: int | None = None) -> pd.DataFrame:
    """Measure how much of each organ lies outside of the data set's ``possible_dose_mask``.

    The mask tells where a plan may put dose at all; it was made for dose prediction. Organ voxels
    beyond it lie where the CT is cut in many patients.

    Parameters
    ----------
    source
        An open OpenKBP source (`oarfuse.data.openkbp.source.open_source`).

    Returns
    -------
    One row a patient with all five organs and a mask, indexed by case, with the number of voxels
    in ``<organ>`` and of those outside the mask in ``<organ>_outside``.
    """
    import pandas as pd

    files = {"possible_dose_mask", *ORGAN_FILES.values()}
    patients = [patient for patient in source.patients if files <= set(patient.files)]

    def count(patient: Patient) -> dict[str, Any]:
        def read(stem: str) -> NDArray[np.int32]:
            return read_mask(source.read(patient, stem), patient.label(stem))

        dose = np.zeros(VOXELS, bool)
        dose[read("possible_dose_mask")] = True
        row: dict[str, Any] = {"case": patient.case}
        for organ, file in ORGAN_FILES.items():
            inside = dose[read(file)]
            row |= {organ: len(inside), f"{organ}_outside": int((~inside).sum())}
        return row

    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(count, patients))
    columns = [name for organ in ORGAN_FILES for name in (organ, f"{organ}_outside")]
    return pd.DataFrame(rows, columns=["case", *columns]).set_index("case")


def _measure(case: Case, manifest: Manifest) -> dict[str, Any]:
    volume = load_case(case)
    organ = volume.label > 0
    box = ndimage.find_objects(organ.astype(np.uint8))[0]
    leaking = leaking_slices(volume.image, volume.label)
    row: dict[str, Any] = {"case": case.case, "split": case.split}
    row |= {f"spacing_{axis}": size for axis, size in zip("dhw", case.spacing_mm, strict=True)}
    row |= {f"voxels_{name}": count for name, count in case.voxels.items()}
    for entry in manifest.spec.organs:
        mask = volume.label[box] == entry.label
        row[f"components_{entry.name}"] = ndimage.label(mask, np.ones((3, 3, 3)))[1]
    row["overlap_voxels"] = case.overlap_voxels
    row |= {f"extent_{axis}": part.stop - part.start for axis, part in zip("dhw", box, strict=True)}
    row["leaking_slices"] = int(leaking.sum())
    row["leaking_share"] = float(organ[leaking].sum() / organ.sum())
    row["organ_voxels_without_ct"] = int((organ & (volume.image == AIR_HU)).sum())
    row["hu_max"] = int(volume.image.max())
    return row


def audit_facts(frame: pd.DataFrame, spec: DatasetSpec) -> dict[str, str]:
    """Sum up an audit in a few lines of text, to set two data sets side by side.

    Parameters
    ----------
    frame
        What `audit` returns.
    spec
        The data set, for its organs.
    """
    many = frame.loc[frame["leaking_slices"] >= 3, "leaking_share"]
    pieces = {
        organ.title: int((frame[f"components_{organ.name}"] > 1).sum()) for organ in spec.organs
    }
    sizes = suspicious_contours(frame, spec)["finding"].str.contains("times").sum()
    return {
        "cases": str(len(frame)),
        "voxel in plane (mm)": _span(frame["spacing_h"]),
        "distance of slices (mm)": _span(frame["spacing_d"]),
        **{
            f"{organ.title} (voxels)": _span(frame[f"voxels_{organ.name}"], digits=0)
            for organ in spec.organs
        },
        "largest box around all organs (voxels)": " x ".join(
            str(int(frame[f"extent_{axis}"].max())) for axis in "dhw"
        )
        + " (D x H x W)",
        "cases with voxels that two organs claim": _share(frame["overlap_voxels"] > 0),
        "most such voxels in a case": str(int(frame["overlap_voxels"].max())),
        "cases with 3 leaking slices or more": _share(frame["leaking_slices"] >= 3),
        "share of their organ voxels in leaking slices": (
            f"{many.mean():.1%} on average, {many.max():.1%} at most" if len(many) else "none"
        ),
        "organs in several pieces": ", ".join(
            f"{title} {count}" for title, count in pieces.items() if count
        )
        or "none",
        "contours of suspicious size": str(int(sizes)),
        "cases with CT above 3071 HU": _share(frame["hu_max"] > 3071),
    }


def public_audit_facts() -> dict[str, str]:
    """Return the `audit_facts` of OpenKBP's 133 training and validation patients."""
    text = resources.files("oarfuse").joinpath("resources/openkbp_audit.json")
    return dict(json.loads(text.read_text("utf-8"))["facts"])


def _span(values: pd.Series, digits: int = 2) -> str:
    low, middle, high = values.min(), values.median(), values.max()
    return f"{low:.{digits}f} to {high:.{digits}f}, median {middle:.{digits}f}"


def _share(found: pd.Series) -> str:
    return f"{int(found.sum())} of {len(found)}"
