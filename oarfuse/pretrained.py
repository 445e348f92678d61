"""Weights that come with the package, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oarfuse.errors import OarfuseError

if TYPE_CHECKING:
    from torch import nn

    from oarfuse.weights import ModelInfo

# An installed wheel has the repository's weights/ inside of the package, a checkout beside it.
_FOLDERS = (Path(__file__).parent / "published", Path(__file__).parents[1] / "weights")
_SUFFIX = ".safetensors"


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
    # Here, because it takes safetensors and more, and `import oarfuse` brings this module in.
    from oarfuse.weights import load_weights

    return load_weights(_path(name))


def find_weights(name: str | Path) -> Path:
    """Return the path of a weights file that is given by its path or by its name.

    A file that exists comes first; what ends in ``.safetensors`` is taken for a path.
    """
    path = Path(name)
    return path if path.exists() or path.suffix == _SUFFIX else _path(str(name))


def _path(name: str) -> Path:
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
