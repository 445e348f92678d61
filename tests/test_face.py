"""What `import oarfuse` offers: the names, their contracts, and how little it costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oarfuse
from oarfuse.moved import new_name

ROOT = Path(__file__).parents[1]
DONE = [
    "build_model",
    "evaluate",
    "load_pretrained",
    "model_names",
    "predict",
    "prepare",
    "pretrained_names",
    "score",
    "train",
]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_face_says_what_people_do() -> None:
    assert sorted(oarfuse.__all__) == sorted(["OarfuseError", "TrainConfig", *DONE])
    assert set(oarfuse.__all__) <= set(dir(oarfuse))


@pytest.mark.parametrize("name", DONE)
def test_each_call_has_a_contract(name: str) -> None:
    call = getattr(oarfuse, name)
    text = inspect.getdoc(call)
    assert text
    signature = inspect.signature(call)
    assert signature.return_annotation is not inspect.Parameter.empty
    if not signature.parameters:
        return
    assert "Raises\n------\nOarfuseError" in text
    for parameter in signature.parameters.values():
        line = rf"^([*\w]+, )*\**{parameter.name}(, [*\w]+)*$"
        assert re.search(line, text, re.MULTILINE), parameter


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        oarfuse.segment  # noqa: B018


def test_the_import_brings_none_of_the_heavy_packages() -> None:
    heavy = "torch", "monai", "numpy", "pandas", "scipy", "matplotlib", "nibabel"
    made = python(f"import sys, oarfuse; print([m for m in {heavy!r} if m in sys.modules])")
    assert made.stdout.strip() == "[]", made.stderr


def test_readme_shows_each_call() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Use the networks in your own work")[2].partition("\n## ")[0]
    assert [name for name in DONE if f"oarfuse.{name}(" not in section] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pretrained", "weights"),
        ("results", "evaluation.statistics"),
        ("embedded", "course.material"),
        ("exercises.start", "course.checks"),
        ("viewing.maps", "viewing.network.maps"),
        ("data.sparse_csv", "data.openkbp.sparse_csv"),
        ("ledger", "paper.ledger"),
    ],
)
def test_an_old_module_says_its_new_name(old: str, new: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=rf"is now oarfuse\.{re.escape(new)}"):
        __import__(f"oarfuse.{old}")


def test_every_new_name_is_there_and_no_old_one() -> None:
    from oarfuse.moved import _FOLDERS, _RENAMED

    olds = [*_RENAMED]
    for package, folders in _FOLDERS.items():
        olds += [
            f"{package}.{name}".lstrip(".") for names in folders.values() for name in names.split()
        ]
    for old in olds:
        path = ROOT / "oarfuse" / old.replace(".", "/")
        assert not path.with_suffix(".py").exists() and not list(path.glob("*.py")), old
        new = new_name(old)
        assert new is not None
        there = ROOT / "oarfuse" / new.replace(".", "/")
        assert there.with_suffix(".py").exists() or there.is_dir(), new


def test_what_never_was_is_an_ordinary_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'oarfuse\.attic'"):
        __import__("oarfuse.attic")
