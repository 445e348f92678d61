"""Where modules went that earlier notebooks and scripts import, so that an error can say it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_FOLDERS = {  # old package: {new package: modules that kept their name}
    "": {"paper": "ledger"},
    "data": {"data.openkbp": "download selection sparse_csv"},
    "models": {
        "models.compared": "anysize darr resnet_unet slicewise table1 transunet vit vnet",
    },
    "viewing": {
        "course": "static",
        "viewing.canvas": "layout overlay planes",
        "viewing.ct": "browser comparison distances fields patches picture slices surfaces",
        "viewing.network": "diagram maps pipeline",
        "viewing.plots": "cohort curves differences live profiles switches",
    },
}
_RENAMED = {
    "ablation": "course.switches",
    "data.auditing": "data.openkbp.audit",
    "data.drawing": "phantom.drawing",
    "data.phantom": "phantom.patients",
    "data.sources": "data.openkbp.source",
    "embedded": "course.material",
    "evaluation.api": "evaluation.scoring",
    "exercises": "course.checks",
    "labels": "data.label_files",
    "machine": "provenance",
    "measure": "course.timing",
    "models.layers": "models.encoder_decoder",
    "pretrained": "weights",
    "results": "evaluation.statistics",
    "runtime": "devices",
    "tables": "evaluation.paper_tables",
    "viewing.architecture": "models.stages",
    "viewing.errormap": "viewing.ct.error_map",
    "viewing.stages": "viewing.plots.training_parts",
    "viewing.viewer3d": "viewing.ct.volume",
}


def new_name(old: str) -> str | None:
    """Return the name in ``oarfuse`` that a module has now, or None if none of that name moved."""
    if old in _RENAMED:
        return _RENAMED[old]
    package, _, name = old.rpartition(".")
    for folder, names in _FOLDERS.get(package, {}).items():
        if name in names.split():
            return f"{folder}.{name}"
    return None


class MovedModules:
    """The last of Python's finders: asked only when no module of a name is there."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise `ModuleNotFoundError` with the new name of a module that moved."""
        new = new_name(name.removeprefix("oarfuse.")) if name.startswith("oarfuse.") else None
        if new:
            raise ModuleNotFoundError(f"{name} is now oarfuse.{new}: import that.", name=name)
        return None


def say_where_modules_went() -> None:
    """Add `MovedModules` to Python's finders, once."""
    if MovedModules not in sys.meta_path:
        sys.meta_path.append(MovedModules)
