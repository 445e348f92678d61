"""OpenKBP: its source files, their audit, and the way into a prepared folder."""

from oarfuse.data.openkbp.prepare import prepare_openkbp
from oarfuse.data.openkbp.source import ORGAN_FILES

__all__ = ["ORGAN_FILES", "prepare_openkbp"]
