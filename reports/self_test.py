"""Store the numbers that `oarfuse doctor` compares with; run it when the weights change.

python -m reports.self_test        writes oarfuse/resources/self_test.json
"""

from __future__ import annotations

from typing import Any

import torch

from oarfuse import doctor
from oarfuse.files import sha256, write_json
from oarfuse.models.registry import build_model
from oarfuse.weights import find_weights, load_weights

# A piece with all five organs: the middle of the organs of a validation patient.
PIECE: dict[str, Any] = {
    "weights": "oarfocalfusenet-openkbp",
    "image": "images/pt_201.nii.gz",
    "corner": [62, 25, 30],
    "sides": [32, 64, 64],
}


def numbers() -> dict[str, Any]:
    """Return the piece, and its logits and labels by the readable block in float64."""
    path = find_weights(PIECE["weights"])
    model, info = load_weights(path)
    readable = build_model(info.model, **{**info.options, "block": "readable"})
    readable.load_state_dict(model.state_dict())
    with torch.inference_mode():
        logits = readable.double().eval()(doctor.cut_piece(PIECE, info.window_hu).double())
    labels, runs = torch.unique_consecutive(logits[0].argmax(0).flatten(), return_counts=True)
    return PIECE | {
        "sha256": sha256(path),
        "logits": [[round(x, 5) for x in row] for row in doctor.lattice(logits).tolist()],
        "labels": labels.tolist(),
        "runs": runs.tolist(),
    }


def main() -> None:
    write_json(doctor.STORED, numbers())
    print(doctor.STORED.name)


if __name__ == "__main__":
    main()
