"""Does every method learn one phantom patient by heart? Loss and DSC before and after.

A network that cannot do that is wired wrongly, whatever its shapes say. The patient is the part
of the abdominal phantom with its organs, whole in each step: every second voxel for the 3D
networks, every fourth slice at full resolution for the 2D ones. The loss is Dice + cross-entropy
(and DARR's auxiliary losses), the optimizer Adam. The networks are small where they have a size to
choose. The scores say nothing about patients: there is no test. Seconds are those of
the processor, so that other work on the machine does not count.

    python benchmarks/overfit.py --output benchmarks/results/overfit.json

A method that the file holds already, under the same settings, is not run again; nor is one that
had learned enough in fewer steps than are now allowed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from oarfuse.data.ct import scale_window
from oarfuse.data.synapse import CHALLENGE_LABELS
from oarfuse.devices import keep_freed_memory
from oarfuse.files import write_json
from oarfuse.losses import dice_cross_entropy
from oarfuse.models import build_model, model_names
from oarfuse.models.compared.darr import DARR
from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.models.cost import count_parameters
from oarfuse.organs import SYNAPSE
from oarfuse.phantom.abdomen import draw_abdomen
from oarfuse.provenance import environment

VIT = {"img_size": 96, "width": 96, "depth": 4, "heads": 4, "dropout": 0.0}
SMALL: dict[str, dict[str, Any]] = {
    "oarfocalfusenet": {"width": 8},
    "msf3d": {"width": 8},
    "unet3d": {"features": [8, 16, 32, 64, 128]},
    "attunet": {"channels": [8, 16, 32, 64]},
    "dynunet": {"filters": [8, 16, 32, 64]},
    "unetr": {
        "patch_size": [32, 32, 48],
        "feature_size": 16,
        "hidden_size": 96,
        "mlp_dim": 192,
        "num_heads": 4,
    },
    "swinunetr": {"feature_size": 12},
    "r50_unet": {"decoder_channels": [64, 32, 32, 16, 16]},
    "r50_attnunet": {"decoder_channels": [64, 32, 32, 16, 16]},
    "vit_none": VIT,
    "vit_cup": VIT,
    "r50_vit_cup": VIT,
    "transunet": VIT,
}
# The transformers diverge at the rate that suits convolutions.
LR = dict.fromkeys(("unetr", "swinunetr", "vit_none", "vit_cup", "r50_vit_cup", "transunet"), 0.001)
# The part of the phantom's (48, 128, 128) voxels that is learned, and how it is thinned.
BY_VOLUME = (slice(None, None, 2), slice(32, 96, 2), slice(16, 112, 2))  # (24, 32, 48)
BY_SLICE = (slice(None, None, 4), slice(32, 96), slice(16, 112))  # (12, 64, 96)
DEPTH = 32  # 3D networks: continued to a depth that each of them takes


def patient(slices: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image (1, 1, D, H, W) in 0..1 and label (1, 1, D, H, W) of the thinned phantom."""
    drawn = draw_abdomen(np.random.default_rng((seed, 5)))
    classes = np.zeros(max(CHALLENGE_LABELS.values()) + 1, np.int64)
    for organ in SYNAPSE.organs:
        classes[CHALLENGE_LABELS[organ.name]] = organ.label
    part = BY_SLICE if slices else BY_VOLUME
    # (posterior, left, inferior) -> (D, H, W) toward superior, posterior, left
    hu, label = (
        np.ascontiguousarray(array.transpose(2, 0, 1)[::-1][part])
        for array in (drawn.ct, classes[drawn.label])
    )
    extra = [(0, 0 if slices else DEPTH - len(hu)), (0, 0), (0, 0)]
    image = scale_window(torch.from_numpy(np.pad(hu, extra, mode="edge")), SYNAPSE.window_hu)
    return image[None, None], torch.from_numpy(np.pad(label, extra, mode="edge"))[None, None]


@torch.no_grad()
def mean_dsc(network: torch.nn.Module, image: torch.Tensor, label: torch.Tensor) -> float:
    """Mean DSC over the organs that the patient has, in evaluation mode."""
    logits = network.eval()(image)
    network.train()
    return dsc_of(logits, label)


def dsc_of(logits: torch.Tensor, label: torch.Tensor) -> float:
    """Mean DSC of logits (1, classes, D, H, W) over the organs that the patient has."""
    predicted = logits.argmax(dim=1, keepdim=True)
    scores = []
    for organ in SYNAPSE.organs:
        ours, truth = predicted == organ.label, label == organ.label
        if truth.any():
            scores.append(2 * (ours & truth).sum().item() / (ours.sum() + truth.sum()).item())
    return float(np.mean(scores))


def ceiling_without_decoder(steps: int) -> float:
    """DSC that `vit_none` could reach: free class scores of each 16 x 16 patch, zoomed 16 times."""
    _, label = patient(slices=True)
    depth, height, width = label.shape[2:]
    scores = torch.zeros(depth, SYNAPSE.num_classes, height // 16, width // 16, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.3)
    loss_function = dice_cross_entropy()
    for _ in range(steps):
        zoomed = F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=True)
        logits = zoomed.transpose(0, 1)[None]  # (D, classes, H, W) -> (1, classes, D, H, W)
        loss = loss_function(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return dsc_of(logits.detach(), label)


def settings(name: str, steps: int, enough: float) -> dict[str, Any]:
    """What decides a row; a row of other settings is run again."""
    return {
        "options": SMALL.get(name, {}),
        "lr": LR.get(name, 0.003),
        "most_steps": steps,
        "enough_dsc": enough,
        "seed": 0,
    }


def is_done(row: dict[str, Any], chosen: dict[str, Any]) -> bool:
    """Whether a stored row is what running with these settings would give."""
    stored = row["settings"]
    if {**stored, "most_steps": 0} != {**chosen, "most_steps": 0}:
        return False
    learned = row["dsc_after"] >= chosen["enough_dsc"] and row["steps"] <= chosen["most_steps"]
    return stored["most_steps"] == chosen["most_steps"] or learned


def overfit(name: str, steps: int, enough: float) -> dict[str, Any]:
    """Train one method until its DSC is `enough` or `steps` are over."""
    chosen = settings(name, steps, enough)
    torch.manual_seed(chosen["seed"])
    network = build_model(name, 1, SYNAPSE.num_classes, **chosen["options"]).train()
    image, label = patient(slices=isinstance(network, SliceWise))
    optimizer = torch.optim.Adam(network.parameters(), lr=chosen["lr"])
    loss_function = dice_cross_entropy()
    before = dsc = mean_dsc(network, image, label)
    losses = []
    start = time.process_time()
    for step in range(1, steps + 1):
        loss = loss_function(network(image), label)
        losses.append(loss.item())
        if isinstance(network, DARR):
            loss = loss + network.auxiliary_loss(image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0 or step == steps:
            dsc = mean_dsc(network, image, label)
            if dsc >= enough:
                break
    return {
        "model": name,
        "settings": chosen,
        "size": list(label.shape[2:]),
        "parameters": count_parameters(network),
        "loss_before": losses[0],
        "loss_after": losses[-1],
        "dsc_before": before,
        "dsc_after": dsc,
        "dsc_within_reach": ceiling_without_decoder(steps) if name == "vit_none" else 1.0,
        "steps": step,
        "cpu_seconds": time.process_time() - start,
        "environment": environment(),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| method | parameters | loss before | after | DSC before | after | within reach | steps | "
        "CPU seconds |",
        "|---|" + "---:|" * 8,
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['parameters'] / 1e6:.2f} M | {row['loss_before']:.3f} | "
            f"{row['loss_after']:.3f} | {row['dsc_before']:.3f} | {row['dsc_after']:.3f} | "
            f"{row['dsc_within_reach']:.2f} | {row['steps']} | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file; goes on in it")
    parser.add_argument("--models", nargs="+", default=list(model_names()))
    parser.add_argument("--steps", type=int, default=2000, help="at most")
    parser.add_argument("--enough", type=float, default=0.85, help="mean DSC at which to stop")
    options = parser.parse_args()
    keep_freed_memory()
    rows: dict[str, dict[str, Any]] = {}
    if options.output.exists():
        stored = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        rows = {row["model"]: row for row in stored}
    for name in options.models:
        chosen = settings(name, options.steps, options.enough)
        if name in rows and is_done(rows[name], chosen):
            continue
        rows[name] = overfit(name, options.steps, options.enough)
        print(json.dumps(rows[name]), flush=True)
        content = {
            "what": "One phantom patient learned by heart; evaluation mode, no test data",
            "data": "abdominal phantom, seed 0, thinned: the organs' box",
            "rows": [rows[model] for model in model_names() if model in rows],
        }
        write_json(options.output, content)
    print(markdown([rows[model] for model in model_names() if model in rows]))


if __name__ == "__main__":
    main()
