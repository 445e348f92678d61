"""Reading, preparing and serving the data sets.

Names are imported when they are first used, so that preparing data does not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oarfuse.data.ct import leaking_slices
    from oarfuse.data.folds import make_fold
    from oarfuse.data.manifest import Case, Manifest, Volume, load_case, load_manifest
    from oarfuse.data.nifti import NiftiVolume, read_ct, read_nifti, write_labels_like
    from oarfuse.data.openkbp.audit import (
        audit,
        audit_facts,
        outside_dose_mask,
        public_audit_facts,
        suspicious_contours,
    )
    from oarfuse.data.openkbp.cohort import public_cohort, public_outside_dose_mask
    from oarfuse.data.openkbp.download import download_openkbp
    from oarfuse.data.openkbp.prepare import prepare_openkbp
    from oarfuse.data.openkbp.selection import organ_files, public_organ_files
    from oarfuse.data.openkbp.source import open_source
    from oarfuse.data.synapse import prepare_synapse

_HOMES = {
    "audit": "openkbp.audit",
    "audit_facts": "openkbp.audit",
    "leaking_slices": "ct",
    "outside_dose_mask": "openkbp.audit",
    "public_audit_facts": "openkbp.audit",
    "public_cohort": "openkbp.cohort",
    "public_outside_dose_mask": "openkbp.cohort",
    "suspicious_contours": "openkbp.audit",
    "download_openkbp": "openkbp.download",
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
    "prepare_openkbp": "openkbp.prepare",
    "organ_files": "openkbp.selection",
    "public_organ_files": "openkbp.selection",
    "open_source": "openkbp.source",
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
    "open_source",
    "organ_files",
    "outside_dose_mask",
    "prepare_openkbp",
    "prepare_synapse",
    "public_audit_facts",
    "public_cohort",
    "public_organ_files",
    "public_outside_dose_mask",
    "read_ct",
    "read_nifti",
    "suspicious_contours",
    "write_labels_like",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"oarfuse.data.{_HOMES[name]}"), name)
