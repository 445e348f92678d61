"""What a report of a fault needs: versions, devices, kernels, and a self-test.

The self-test predicts a small piece of a real patient with published weights and compares the
logits with stored ones, which came from the readable block in float64 (`reports.self_test`).
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import oarfuse
from oarfuse.data.ct import scale_window
from oarfuse.data.nifti import read_ct
from oarfuse.devices import autocast, choose_precision, missing_operators_said
from oarfuse.errors import OarfuseError
from oarfuse.files import sha256
from oarfuse.models import kernels
from oarfuse.models.registry import build_model
from oarfuse.provenance import git_commit, processor_name, usable_cores
from oarfuse.sample import openkbp_sample
from oarfuse.weights import find_weights, load_weights

STORED = Path(__file__).parent / "resources" / "self_test.json"
# Largest difference from the stored logits, as a share of the largest of them. Float32 itself
# gives some 1e-5; TF32, a wrong kernel or damaged weights give more than 1e-3.
TOLERANCE = 1e-4
# Share of voxels whose label may differ in the precision that prediction takes by itself.
OTHER_LABELS = 0.01
PACKAGES = ("monai", "lightning-fabric", "numpy", "scipy", "pandas", "nibabel",
            "safetensors", "matplotlib", "triton")  # fmt: skip
_GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One run of the self-test: on which device, of which block, in which precision."""

    device: torch.device
    block: str
    precision: str
    error: float  # as a share of the largest stored logit
    other_labels: float  # share of voxels
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the numbers are the stored ones, within what the precision allows."""
        if self.precision == "32-true":
            return self.error <= TOLERANCE
        return self.other_labels <= OTHER_LABELS

    def __str__(self) -> str:
        found = f"logits off by {self.error:.1e}, {self.other_labels:.2%} of labels differ"
        return f"{self.device}, {self.block} block, {self.precision}: {found}, {self.seconds:.1f} s"


def diagnose(say: Callable[[str], None] = print) -> None:
    """Say what this machine and installation are, and test them against stored numbers.

    Raises
    ------
    OarfuseError
        If a number is off, or what the test needs is missing or damaged.
    """
    for name, text in facts().items():
        say(f"{name:<12} {text}")
    say(f"{'self-test':<12} {describe_test()}")
    wrong = []
    for device in devices():
        for check in run_checks(device):
            say(f"{'':<12} {check}{'' if check.right else '  <- wrong'}")
            wrong += [] if check.right else [check]
    if wrong:
        first = wrong[0]
        raise OarfuseError(
            f"The self-test gives other numbers than the stored ones on {first.device} "
            f"({first.block} block, {first.precision}): report it with all of the lines above, "
            "and predict on another --device meanwhile."
        )
    say("All numbers are right.")


def facts() -> dict[str, str]:
    """Return what is installed and what this machine has, by name, in the order to show."""
    commit = git_commit()
    found = {
        "oarfuse": oarfuse.__version__ + (f", commit {commit}" if commit else ", without git"),
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        # Its own word, unlike the package's, tells the build: 2.13.0+cpu, 2.13.0+cu130.
        "PyTorch": torch.__version__,
        "packages": ", ".join(_with_version(name) for name in PACKAGES),
    }
    for extra, names in extras().items():
        found[f"[{extra}]"] = ", ".join(_with_version(name) for name in names)
    for device in devices():
        precision = choose_precision("auto", device.type)
        kind = kernels.backend(device, 16)
        found[str(device)] = f"{_device_words(device)}; {kind} kernels; auto is {precision}"
    return found


def extras() -> dict[str, list[str]]:
    """Return the packages of each extra, as the installed package declares them.

    Extras that consist of other extras are left out; where there is only a checkout, all are.
    """
    try:
        requirements = metadata.requires("oarfuse") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra == ["']([\w-]+)["']""", requirement)
        if name and extra:
            found.setdefault(extra[1], []).append(name[0])
    return {extra: names for extra, names in found.items() if "oarfuse" not in names}


def devices() -> list[torch.device]:
    """Return the CPU and every GPU."""
    found = [torch.device("cpu")]
    found += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return found


def _with_version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} absent"


def _device_words(device: torch.device) -> str:
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        capability = f"capability {about.major}.{about.minor}, CUDA {torch.version.cuda}"
        return f"{about.name}, {about.total_memory / _GIB:.1f} GiB, {capability}"
    if device.type == "mps":
        return "Apple's GPU"
    memory = "unknown memory"
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / _GIB:.1f} GiB"
    cores = f"{usable_cores()} of {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{processor_name()}, {cores}, {memory}"


@cache
def stored() -> dict[str, Any]:
    """Return what `reports.self_test` stored: the piece of a patient, its logits and labels."""
    return dict(json.loads(STORED.read_text(encoding="utf-8")))


def describe_test() -> str:
    """Say in words what is predicted and what is allowed."""
    about = stored()
    sides = "x".join(map(str, about["sides"]))
    return (
        f"{about['weights']} on {sides} voxels of {about['image']}; float32 may be off by "
        f"{TOLERANCE:.0e} of the largest logit, {OTHER_LABELS:.0%} of labels in less precision"
    )


def cut_piece(about: Mapping[str, Any], window_hu: tuple[float, float]) -> Tensor:
    """Return the piece of the patient, ``(1, 1, D, H, W)``, scaled as the network wants it.

    `about` names the image of the sample, the piece's corner and its sides in voxels.
    """
    image = read_ct(openkbp_sample() / about["image"]).array
    places = zip(about["corner"], about["sides"], strict=True)
    piece = image[tuple(slice(start, start + side) for start, side in places)]
    return scale_window(torch.from_numpy(piece.copy())[None, None], window_hu)


def lattice(logits: Tensor) -> Tensor:
    """Return the logits that are stored: of one voxel in 8 x 16 x 16, and each class's mean."""
    spots = logits[0, :, 4::8, 8::16, 8::16].flatten(1)
    return torch.cat([spots, logits[0].flatten(1).mean(1, keepdim=True)], dim=1)


def run_checks(device: torch.device) -> Iterator[Check]:
    """Predict the piece on a device: both blocks in float32, the fast one as `auto` chooses.

    Raises
    ------
    OarfuseError
        If the published weights are missing or not those that the numbers were stored from.
    """
    about = stored()
    path = find_weights(about["weights"])
    fast, info = load_weights(path)
    if sha256(path) != about["sha256"]:
        raise OarfuseError(
            f"{path} is damaged or not the file of this release: install the package anew."
        )
    readable = build_model(info.model, **{**info.options, "block": "readable"}).eval()
    readable.load_state_dict(fast.state_dict())
    volume = cut_piece(about, info.window_hu)
    yield _check(fast, "fast", volume, device, "32-true")
    yield _check(readable, "readable", volume, device, "32-true")
    precision = choose_precision("auto", device.type)
    if precision != "32-true":
        yield _check(fast, "fast", volume, device, precision)


def _check(
    model: nn.Module, block: str, volume: Tensor, device: torch.device, precision: str
) -> Check:
    about = stored()
    began = time.monotonic()
    model.to(device)
    with torch.inference_mode(), _no_tf32(), missing_operators_said(), autocast(device, precision):
        logits = model(volume.to(device)).float().cpu()
    expected = torch.tensor(about["logits"])
    error = (lattice(logits) - expected).abs().max() / expected.abs().max()
    labels = torch.tensor(about["labels"], dtype=torch.uint8).repeat_interleave(
        torch.tensor(about["runs"])
    )
    other = (logits[0].argmax(0).flatten() != labels).float().mean()
    # A logit that is no number compares with nothing, so that it must not pass for small.
    error = error.nan_to_num(nan=float("inf"))
    return Check(device, block, precision, float(error), float(other), time.monotonic() - began)


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Let cuDNN convolve float32 in float32, not with the ten bits that it takes by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
