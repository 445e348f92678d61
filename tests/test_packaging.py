"""What the project says about itself in several places is the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import oarfuse

ROOT = Path(__file__).parents[1]
# conda's names where they differ from the package index's
CONDA = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "python-gdcm": "gdcm",
    "simpleitk": "simpleitk",
    "snakemake": "snakemake-minimal",
}


def split(requirement: str) -> tuple[str, str]:
    plain = requirement.partition(";")[0]  # without a marker of the platform
    name, bound = re.fullmatch(r"([\w.-]+)(.*)", plain.strip()).groups()  # type: ignore[union-attr]
    return name.lower(), bound


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_conda_environment_says_what_pyproject_says(project: dict) -> None:
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    expected = {CONDA.get(name, name): bound for name, bound in map(split, wanted)}
    expected["python"] = project["requires-python"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    listed = dict(split(entry) for entry in conda if isinstance(entry, str) and entry != "pip")
    assert listed == expected


def test_every_dependency_is_pinned_in_the_constraints(project: dict) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {split(line)[0].replace("_", "-") for line in lines if not line.startswith("#")}
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    missing = {split(entry)[0].replace("_", "-") for entry in wanted} - pinned
    assert missing == set()


def test_version_is_the_same_in_code_and_metadata(project: dict) -> None:
    assert oarfuse.__version__ == project["version"]


def test_no_file_is_long() -> None:
    sources = [*ROOT.glob("oarfuse/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("*/*.py")]
    long = {
        str(p.relative_to(ROOT)): n for p in sources if (n := len(p.read_text().splitlines())) > 420
    }
    assert long == {}
