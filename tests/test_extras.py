"""What needs an optional package that is missing says so in one sentence, and the rest goes on."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarfuse
from oarfuse.errors import OarfuseError
from oarfuse.extras import require
from oarfuse.models import _timm
from oarfuse.organs import OPENKBP
from oarfuse.runs import LOG_EVERY, read_curves
from tests.test_training import tiny

ROOT = Path(__file__).parents[1]


def test_a_package_that_is_there_is_left_alone() -> None:
    require("Nothing", "notebooks", "json", "numpy")


def test_a_package_that_breaks_is_told_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_part\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OarfuseError) as caught:
        require("DICOM", "dicom", "broken_package")
    assert str(caught.value) == (
        "DICOM needs broken_package, which cannot be imported (No module named 'no_such_part'): "
        "pip install 'oarfuse[dicom]'."
    )


def draw_live(folder: Path) -> None:
    from oarfuse.viewing import LiveCurves

    LiveCurves().draw(folder)


def draw_page(folder: Path) -> None:
    from oarfuse.viewing import slice_page

    slice_page(np.zeros((4, 4, 4)), (1, 1, 1), OPENKBP)


def browse(folder: Path) -> None:
    from oarfuse.viewing import SliceBrowser  # noqa: F401


def read_cards(folder: Path) -> None:
    from oarfuse.paper.cards import ledger_cards

    ledger_cards()


def build_transunet(folder: Path) -> None:
    oarfuse.build_model("transunet")


@pytest.mark.parametrize(
    ("call", "module", "extra"),
    [
        (draw_live, "IPython", "notebooks"),
        (draw_page, "IPython", "notebooks"),
        (browse, "ipywidgets", "notebooks"),
        (read_cards, "IPython", "notebooks"),
        (build_transunet, "timm", "table2"),
        (build_transunet, "torchvision", "table2"),
    ],
)
def test_the_sentence_names_the_extra(
    call: Callable[[Path], Any],
    module: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _timm.load_timm.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OarfuseError) as caught:
        call(tmp_path)
    says = f" {module}, which is not installed: pip install 'oarfuse[{extra}]'."
    assert str(caught.value).endswith(says)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extra in project["optional-dependencies"]


def test_training_without_tensorboard_keeps_its_curves(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = oarfuse.train(tiny(phantom, tmp_path / "run", steps=10), progress=False)
    assert read_curves(run)["loss"].count() == 10 // LOG_EVERY
    assert not (run / "tensorboard").exists()
