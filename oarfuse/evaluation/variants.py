"""The variants in which every case is scored, with their titles in tables.

The choice between them moves the numbers more than most choices of architecture do:

raw
    The prediction as it is.
largest_component
    After `oarfuse.postprocess.keep_largest_component`.
no_leak, largest_component_no_leak
    The same two, with the leaking slices (`oarfuse.data.leaking_slices`) set to background in
    prediction and truth. In those slices the CT holds little but the organs themselves, which
    gives the answer away. An organ that is cut there has its cut face as a surface in both masks.
"""

from __future__ import annotations

VARIANT_TITLES = {
    "raw": "raw",
    "largest_component": "largest component",
    "no_leak": "raw, leaking slices left out",
    "largest_component_no_leak": "largest component, leaking slices left out",
}
VARIANTS = tuple(VARIANT_TITLES)
