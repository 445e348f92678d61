"""Reading, preparing and serving the data sets.

Names are imported when they are first used, so that preparing data does not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oarfuse.data.auditing import (
        audit,
        audit_facts,
        leaking_slices,
        outside_dose_mask,
        public_audit_facts,
        suspicious_contours,
    )
    from oarfuse.data.download import download_openkbp
    from oarfuse.data.folds import make_fold
    from oarfuse.data.manifest import Case, Manifest, Volume, load_case, load_manifest
    from oarfuse.data.nifti import NiftiVolume, read_ct, read_nifti, write_labels_like
    from oarfuse.data.openkbp import prepare_openkbp
    from oarfuse.data.phantom import make_phantom
    from oarfuse.data.selection import organ_files, public_organ_files
    from oarfuse.data.sources import open_source
    from oarfuse.data.synapse import prepare_synapse

_HOMES = {
    "audit": "auditing",
    "audit_facts": "auditing",
    "leaking_slices": "auditing",
    "outside_dose_mask": "auditing",
    "public_audit_facts": "auditing",
    "suspicious_contours": "auditing",
    "download_openkbp": "download",
    "make_fold": "folds",
    "Case": "manifest",
    "Manifest": "manifest",
    "Volume": "manifest",
    "load_case": "manifest",
    "load_manifest": "manifest",
    "NiftiVolume": "nifti",
    "read_ct": "nifti",
    "read_nifti": "nifti",
    "write_labels_like": "nifti",
    "prepare_openkbp": "openkbp",
    "make_phantom": "phantom",
    "organ_files": "selection",
    "public_organ_files": "selection",
    "open_source": "sources",
    "prepare_synapse": "synapse",
}

__all__ = [
    "Case",
    "Manifest",
    "NiftiVolume",
    "Volume",
    "audit",
    "audit_facts",
    "download_openkbp",
    "leaking_slices",
    "load_case",
    "load_manifest",
    "make_fold",
    "make_phantom",
    "open_source",
    "organ_files",
    "outside_dose_mask",
    "prepare_openkbp",
    "prepare_synapse",
    "public_audit_facts",
    "public_organ_files",
    "read_ct",
    "read_nifti",
    "suspicious_contours",
    "write_labels_like",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"oarfuse.data.{_HOMES[name]}"), name)
