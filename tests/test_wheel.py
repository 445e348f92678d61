"""Wheel and sdist as users get them, in an environment that has the bare dependencies alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from oarfuse.sample import openkbp_sample

ROOT = Path(__file__).parents[1]
EXTRAS = ("IPython", "gdcm", "ipykernel", "ipywidgets", "jupyterlab", "papermill", "pydicom",
          "snakemake", "statsmodels", "tensorboard", "timm", "torchvision", "tornado")  # fmt: skip
PATIENT = "pt_201.nii.gz"


class Built(NamedTuple):
    """What `pip` would be given."""

    sdist: Path
    wheel: Path
    wheel_from_sdist: Path


def build(kind: str, source: Path, output: Path) -> Path:
    """Build one archive as `python -m build --no-isolation` does, without asking for a network."""
    output.mkdir()
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(output)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (built,) = output.iterdir()
    return built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if int(metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("the installed setuptools cannot read pyproject.toml: it needs 77 or newer")
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "copy"  # nothing but what is committed, and no build folder in the repository
    for name in ("oarfuse", "weights"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    sdist = build("sdist", copy, folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Built(
        sdist, build("wheel", copy, folder / "one"), build("wheel", unpacked, folder / "two")
    )


def needed(requirements: list[str]) -> set[str]:
    """Return the installed distributions that requirements ask for here, and what those ask for."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += map(Requirement, metadata.requires(name) or [])
    return found


@pytest.fixture(scope="module")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's folder of programs: the wheel and links to what the bare install needs.

    Links, because a copy of PyTorch alone is a gigabyte; what nothing asks for has no link.
    """
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    install = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install"]
    install += ["--no-deps", "--no-index", str(built.wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("**/site-packages")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in needed(project["dependencies"]):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return programs


def run(bare: Path, where: Path, *command: str) -> str:
    environment = {"PATH": str(bare), "HOME": str(where), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [bare / command[0], *command[1:]],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_package_of_the_tree_is_installed() -> None:
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in ROOT.glob("oarfuse/**/__init__.py")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["setuptools"]["packages"]) == packages | {"oarfuse.published"}


def test_the_wheel_has_what_the_tree_has_and_the_sdist_builds_the_same(built: Built) -> None:
    def content(path: Path) -> dict[str, int]:
        with zipfile.ZipFile(path) as archive:
            return {
                item.filename: item.CRC
                for item in archive.infolist()
                if not item.filename.endswith("/RECORD")
            }

    wheel = content(built.wheel)
    assert wheel == content(built.wheel_from_sdist)
    tree = {str(p.relative_to(ROOT)) for p in (ROOT / "oarfuse").rglob("*") if p.is_file()}
    tree = {n for n in tree if "__pycache__" not in n and "/." not in n}  # such as a .lock
    published = {f"oarfuse/published/{p.name}" for p in (ROOT / "weights").iterdir()}
    packed = {name for name in wheel if ".dist-info/" not in name}
    assert packed == tree | published


def test_nothing_of_the_extras_is_in_the_bare_environment(bare: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, oarfuse; from oarfuse.weights import find_weights;"
        f"print([name for name in {EXTRAS} if u.find_spec(name)]);"
        "print(oarfuse.__file__, *map(find_weights, oarfuse.pretrained_names()), sep='\\n')"
    )
    extras, *files = run(bare, tmp_path, "python", "-c", code).splitlines()
    assert extras == "[]"
    assert len(files) == 1 + len(list(ROOT.glob("weights/*.safetensors")))
    assert all(Path(file).is_relative_to(bare.parent) for file in files)


def test_only_what_reads_dicom_or_draws_widgets_needs_an_extra(bare: Path, tmp_path: Path) -> None:
    """Every other module can be imported; the faces of these two rooms say what is missing."""
    code = (
        "import importlib, pkgutil, oarfuse\n"
        "for found in pkgutil.walk_packages(oarfuse.__path__, 'oarfuse.'):\n"
        "    try: importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error: print(found.name, error.name)\n"
        "    except oarfuse.OarfuseError as error: print(found.name, error)\n"
    )
    failed = [line.split()[0] for line in run(bare, tmp_path, "python", "-c", code).splitlines()]
    # Triton comes with PyTorch where there is a GPU for these kernels.
    rooms = ("oarfuse.dicom.", "oarfuse.models.kernels.")
    assert "oarfuse.dicom.series" in failed
    assert [name for name in failed if not name.startswith(rooms)] == ["oarfuse.viewing.ct.browser"]
    code = (
        "import oarfuse\n"
        "try: from oarfuse.viewing import SliceBrowser\n"
        "except oarfuse.OarfuseError as error: print(error)"
    )
    assert "pip install 'oarfuse[notebooks]'" in run(bare, tmp_path, "python", "-c", code)


def test_the_bare_install_predicts_a_real_patient_and_scores(bare: Path, tmp_path: Path) -> None:
    command = ["oarfuse", "predict", "--weights", "msf3d-openkbp", "--device", "cpu"]
    ct, truth = (openkbp_sample() / folder / PATIENT for folder in ("images", "labels"))
    run(bare, tmp_path, *command, "--input", str(ct), "--output", "labels.nii.gz")
    score = ["oarfuse", "score", "--dataset", "openkbp", "--output", "scores"]
    run(bare, tmp_path, *score, "--truth", str(truth), "--prediction", "labels.nii.gz")
    assert pd.read_csv(tmp_path / "scores/metrics.csv")["dsc"].mean() > 0.75


def two_patients(folder: Path) -> Path:
    """The sample with its first train and its first validation patient alone."""
    shutil.copytree(openkbp_sample(), folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    by_split = {case["split"]: case for case in reversed(manifest["cases"])}
    path.write_text(json.dumps(manifest | {"cases": list(by_split.values())}), encoding="utf-8")
    return folder


def test_the_bare_install_trains_and_evaluates(bare: Path, tmp_path: Path) -> None:
    data = str(two_patients(tmp_path / "data"))
    train = ["oarfuse", "train", "--data", data, "--model", "oarfocalfusenet", "--output", "run"]
    train += ["--model-options", '{"width": 4}', "--patch-size", "32", "32", "32"]
    train += ["--steps", "2", "--batch-size", "1", "--accelerator", "cpu"]
    run(bare, tmp_path, *train)
    evaluate = ["oarfuse", "evaluate", "--weights", "run/weights.safetensors", "--data", data]
    assert "DSC" in run(bare, tmp_path, *evaluate, "--device", "cpu", "--output", "scores")
    scores = pd.read_csv(tmp_path / "scores/metrics.csv")
    assert set(scores["case"]) == {"pt_201"} and len(scores) == 5
