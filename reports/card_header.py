"""The header of a model card that model hubs read: licence, library, task, and scores."""

from __future__ import annotations

from typing import Any

import yaml

from oarfuse.evaluation.statistics import MEAN
from oarfuse.organs import DatasetSpec

# Of a summary's means: the hub's word, ours, and the digits that README's tables show.
METRICS = {
    "dsc": ("dice", "DSC", 4),
    "hd_vox": ("hausdorff_distance", "HD (voxels)", 2),
    "hd95_mm": ("hausdorff_distance_95", "HD95 (mm)", 1),
    "asd_vox": ("average_surface_distance", "ASD (voxels)", 3),
}
VARIANTS = {"raw": "raw", "largest_component": "largest component"}


def card_header(name: str, summary: dict[str, Any], spec: DatasetSpec) -> str:
    """Return the YAML front matter of a card, its fences included.

    Parameters
    ----------
    name
        Of the published weights.
    summary
        The content of their ``summary.json``: means over organs, and each organ's DSC, are copied
        from it and rounded.
    spec
        The data set that they were scored on.
    """
    scores = [
        _score(metric, f"mean, {title}", summary["means"][variant][MEAN])
        for variant, title in VARIANTS.items()
        for metric in METRICS
    ]
    scores += [
        _score("dsc", f"{organ.title}, raw", summary["means"]["raw"][organ.name])
        for organ in spec.organs
    ]
    patients = f"{summary['cases']} {summary['split']} patients"
    header = {
        "license": "mit",
        "library_name": "oarfuse",
        "pipeline_tag": "image-segmentation",
        "tags": ["medical", "ct", "3d", "organs-at-risk", "radiotherapy", "pytorch", "monai"],
        "datasets": [summary["dataset"]],
        "metrics": [word for word, _, _ in METRICS.values()],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-segmentation", "name": "3D organ segmentation"},
                        "dataset": {
                            "type": summary["dataset"],
                            "name": f"{spec.title}, {patients}",
                            "split": summary["split"],
                        },
                        "metrics": scores,
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, width=100)}---"


def _score(metric: str, of: str, means: dict[str, float]) -> dict[str, Any]:
    word, title, digits = METRICS[metric]
    return {"type": word, "name": f"{title}, {of}", "value": round(means[metric], digits)}
