"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Triton's kernels run on a CPU then, as Python. It must be said before Triton is imported.
    os.environ["TRITON_INTERPRET"] = "1"

from oarfuse.data import prepare_openkbp
from oarfuse.phantom import make_phantom


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Small tensors gain nothing from threads, and tests should not fight over the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom in OpenKBP's CSV layout: 2 train, 1 validation, 1 test."""
    folder = tmp_path_factory.mktemp("phantom")
    return make_phantom(folder, train=2, validation=1, test=1, seed=3)


@pytest.fixture(scope="session")
def phantom(phantom_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same phantom, prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare_openkbp(phantom_source, folder, workers=1, progress=False)
    return folder
