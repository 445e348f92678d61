"""Weights on disk: safetensors, with all that a stranger needs to use them in the metadata.

Some come with the package and have names.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.files import atomic_path
from oarfuse.models import build_model
from oarfuse.organs import DatasetSpec, get_spec

FORMAT = "oarfuse-weights/1"
_SUFFIX = ".safetensors"
# An installed wheel has the repository's weights/ inside of the package, a checkout beside it.
_FOLDERS = (Path(__file__).parent / "published", Path(__file__).parents[1] / "weights")


@dataclass(frozen=True)
class ModelInfo:
    """What belongs to weights beside the numbers.

    Attributes
    ----------
    model, options
        For `oarfuse.build_model`.
    dataset
        ``openkbp`` or ``synapse``: the classes follow from it.
    window_hu
        CT window that was scaled to 0..1.
    patch_size
        (D, H, W) voxels of a training patch; inference slides windows of this size.
    spacing_mm, spacing_range_mm
        Median (D, H, W) spacing of the training volumes, and its least and largest values.
    phantom
        True if the training data was the phantom: such weights are for learning only.
    blank_leaking
        Whether slices whose CT was cut away are emptied first, as in training.
    training
        What the run records: ``step``, ``minutes``, ``validation_dsc``, ``seed``, ``commit``,
        ``config``, and as ``earlier`` the same of the runs that it continues, oldest first.
    patients
        Whom the weights have learnt from (``train``) and were selected on (``validation``), in
        earlier runs too, see `oarfuse.data.seen.seen`; empty where nobody wrote it down.
    """

    model: str
    dataset: str
    window_hu: tuple[float, float]
    patch_size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    spacing_range_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    phantom: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    in_channels: int = 1
    blank_leaking: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    patients: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def spec(self) -> DatasetSpec:
        """The data set's organs and conventions."""
        return get_spec(self.dataset)

    @property
    def num_classes(self) -> int:
        """How many classes the network tells apart, the background included."""
        return self.spec.num_classes

    def build(self) -> nn.Module:
        """Return the network with random weights."""
        return build_model(self.model, self.in_channels, self.num_classes, **self.options)


def training_stages(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records of all the runs behind weights from `ModelInfo.training`, oldest first."""
    last = dict(training)
    earlier = last.pop("earlier", [])
    return [*earlier, last] if last else []


def save_weights(
    path: str | Path, state: Mapping[str, Tensor], info: ModelInfo, *, half: bool = False
) -> None:
    """Write a state dict and its `ModelInfo` as one safetensors file, atomically.

    With `half` the floating-point numbers are stored in float16, which halves the file.

    Raises
    ------
    OarfuseError
        If a number does not fit into float16, or the file cannot be written.
    """
    tensors = {
        name: (value.half() if half and value.is_floating_point() else value).cpu().contiguous()
        for name, value in state.items()
    }
    for name, value in tensors.items():
        if half and not value.isfinite().all():
            raise OarfuseError(
                f"{name!r} of these weights holds numbers that are not finite in half precision: "
                f"keep them in single precision, or train again."
            )
    metadata = {"format": FORMAT, "info": json.dumps(asdict(info))}
    with atomic_path(path) as temporary:
        write_safetensors(temporary, tensors, metadata)


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata; raise `OSError` if the disk is full, as Python's files do."""
    try:
        save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def read_info(path: str | Path) -> ModelInfo:
    """Read the `ModelInfo` of a weights file without its numbers."""
    return _read(Path(path), with_tensors=False)[1]


def load_weights(path: str | Path) -> tuple[nn.Module, ModelInfo]:
    """Build the network that a weights file names, and load its weights.

    Returns the network in evaluation mode, on the CPU, in float32, and its `ModelInfo`.

    Raises
    ------
    OarfuseError
        If the file is missing, is no weights file of this kit, or fits another architecture.
    """
    path = Path(path)
    tensors, info = _read(path, with_tensors=True)
    model = info.build()
    load_state(model, tensors, path)
    return model.eval(), info


def load_state(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load `tensors` into `model`, or say in one sentence that `path` fits another network."""
    own = model.state_dict()
    for name in [*(own.keys() - tensors.keys()), *(tensors.keys() - own.keys())]:
        raise OarfuseError(
            f"{path} holds weights of another architecture ({name!r} is not in both): "
            f"build the model and options that the file was trained with."
        )
    for name, value in own.items():
        if value.shape != tensors[name].shape:
            raise OarfuseError(
                f"{path} holds weights of another architecture ({name!r} is "
                f"{tuple(tensors[name].shape)}, not {tuple(value.shape)}): "
                f"build the model and options that the file was trained with."
            )
    model.load_state_dict({name: tensors[name].to(value.dtype) for name, value in own.items()})


def read_safetensors(
    path: Path, *, with_tensors: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file; one sentence if it is not such a file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
    except FileNotFoundError:
        raise OarfuseError(f"There is no {path}: give a .safetensors file.") from None
    except (SafetensorError, OSError) as error:
        raise OarfuseError(
            f"{path} is not a readable safetensors file: train again or fetch it anew "
            f"(pickled .pt and .pth files are never opened)."
        ) from error
    return tensors, metadata


def _check_info(info: ModelInfo) -> None:
    """Raise `ValueError` with the name of a field that cannot be used."""
    numbers = {
        "window_hu": (info.window_hu, 2),
        "patch_size": (info.patch_size, 3),
        "spacing_mm": (info.spacing_mm, 3),
        "spacing_range_mm": (sum(info.spacing_range_mm, ()), 6),
    }
    for name, (values, count) in numbers.items():
        if len(values) != count or not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"{name} is {list(values)}")
    for name in ("options", "training", "patients"):
        if not isinstance(getattr(info, name), dict):
            raise ValueError(f"{name} is {getattr(info, name)!r}")
    if not isinstance(info.blank_leaking, bool):
        raise ValueError(f"blank_leaking is {info.blank_leaking!r}")


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Tensor], ModelInfo]:
    tensors, metadata = read_safetensors(path, with_tensors=with_tensors)
    if metadata.get("format") != FORMAT:
        raise OarfuseError(
            f"{path} does not carry the format {FORMAT} in its metadata: "
            f"use a weights file that `oarfuse train` wrote."
        )
    try:
        content = json.loads(metadata["info"])
        known = {item.name for item in fields(ModelInfo)}
        content = {key: value for key, value in content.items() if key in known}
        for key in ("window_hu", "patch_size", "spacing_mm"):
            content[key] = tuple(content[key])
        content["spacing_range_mm"] = tuple(tuple(row) for row in content["spacing_range_mm"])
        info = ModelInfo(**content)
        get_spec(info.dataset)
        _check_info(info)
    except (KeyError, TypeError, ValueError, OarfuseError) as error:
        raise OarfuseError(
            f"{path} has damaged metadata ({error}): use a file that `oarfuse train` wrote."
        ) from error
    return tensors, info


def pretrained_names() -> list[str]:
    """Return the names that `load_pretrained` knows."""
    return sorted(_published())


def load_pretrained(name: str) -> tuple[nn.Module, ModelInfo]:
    """Build a network with weights that come with the package.

    The model card beside the file tells what the weights were trained on, how well they do, and
    where they fail. They are not for clinical use.

    Parameters
    ----------
    name
        One of `pretrained_names()`.

    Returns
    -------
    model, info
        The network in evaluation mode, on the CPU, in float32; and what `predict_labels` of
        `oarfuse.inference` must know of it.

    Raises
    ------
    OarfuseError
        If there are no weights of that name.
    """
    return load_weights(_published_path(name))


def find_weights(name: str | Path) -> Path:
    """Return the path of a weights file that is given by its path or by its name.

    A file that exists comes first; what ends in ``.safetensors`` is taken for a path.
    """
    path = Path(name)
    return path if path.exists() or path.suffix == _SUFFIX else _published_path(str(name))


def _published_path(name: str) -> Path:
    published = _published()
    if name not in published:
        known = ", ".join(sorted(published)) or "none"
        raise OarfuseError(
            f"There are no weights {name!r}: give a {_SUFFIX} file, or a name that comes with the "
            f"package ({known})."
        )
    return published[name]


def _published() -> dict[str, Path]:
    """Return name to path. A file counts as published if its model card's JSON lies beside it."""
    return {
        path.stem: path
        for folder in _FOLDERS
        for path in sorted(folder.glob(f"*{_SUFFIX}"))
        if path.with_suffix(".json").exists()
    }
