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


def flat(project: dict, *extras: str) -> list[str]:
    """Requirements of extras, with those of the extras that they name in their place."""
    found: list[str] = []
    for entry in [e for extra in extras for e in project["optional-dependencies"][extra]]:
        others = re.fullmatch(r"oarfuse\[([\w,]+)\]", entry)
        found += flat(project, *others[1].split(",")) if others else [entry]
    return found


def test_no_extra_lists_what_another_or_the_bare_install_has(project: dict) -> None:
    extras = project["optional-dependencies"]
    plain = [e for entries in extras.values() for e in entries if not e.startswith("oarfuse[")]
    names = [split(entry)[0] for entry in [*project["dependencies"], *plain]]
    assert sorted(set(names)) == sorted(names)
    users = ("notebooks", "table2", "dicom", "cluster")
    assert flat(project, "all") == flat(project, *users)
    assert set(flat(project, "all")) < set(flat(project, "dev"))


def test_conda_environment_says_what_pyproject_says(project: dict) -> None:
    wanted = project["dependencies"] + flat(project, "dev")
    expected = {CONDA.get(name, name): bound for name, bound in map(split, wanted)}
    expected["python"] = project["requires-python"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    listed = dict(split(entry) for entry in conda if isinstance(entry, str) and entry != "pip")
    assert listed == expected


def test_every_dependency_is_pinned_in_the_constraints(project: dict) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {split(line)[0].replace("_", "-") for line in lines if not line.startswith("#")}
    wanted = project["dependencies"] + flat(project, *project["optional-dependencies"])
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
