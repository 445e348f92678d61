"""Score a trained network, or label files made elsewhere, on a split of a prepared folder.

Every case is scored in four variants, because the choice between them moves the numbers more than
most choices of architecture do:

raw
    The prediction as it is.
largest_component
    After `oarfuse.postprocess.keep_largest_component`.
no_leak, largest_component_no_leak
    The same two, with the leaking slices (`oarfuse.data.leaking_slices`) set to background in
    prediction and truth. In those slices the CT holds little but the organs themselves, which
    gives the answer away. An organ that is cut there has its cut face as a surface in both masks.
"""

from oarfuse.evaluation.cases import score_case
from oarfuse.evaluation.report import MORE_COLUMNS, VARIANTS
from oarfuse.evaluation.scoring import EvaluationResult, evaluate, score_predictions

__all__ = [
    "MORE_COLUMNS",
    "VARIANTS",
    "EvaluationResult",
    "evaluate",
    "score_case",
    "score_predictions",
]
