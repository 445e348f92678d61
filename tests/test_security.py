"""Rules over the repository's files: no unpickling, checked downloads, no trace of a machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from oarfuse.data.openkbp import download

ROOT = Path(__file__).parents[1]
USED = ("oarfuse", "data_scripts", "reports", "workflow")  # what users run
# Spelled in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:work|home|root|Users|mnt|scratch)/" + r"[\w.]+")
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CLIENTS = {"requests", "urllib", "httpx", "pooch", "gdown", "wget", "aiohttp", "socket"}


def tracked() -> list[Path]:
    """Return the repository's files; without git, as in an unpacked archive, the tests skip."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so the repository's files cannot be listed")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    """Return the tracked text files with their contents."""
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((path, content.decode("utf-8", errors="replace")))
    assert found
    return found


def machine_paths(text: str) -> list[str]:
    """Return the paths in a text that only one machine has."""
    return MACHINE_PATH.findall(text)


def imports(tree: ast.Module) -> set[str]:
    """Return the top-level packages that a module imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {name.split(".")[0] for name in names}


def unpickling_calls(tree: ast.Module) -> list[str]:
    """Return what in a module could run code that comes from a file."""
    found = [f"import {name}" for name in sorted(imports(tree) & PICKLERS)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, keywords = ast.unparse(node.func), {word.arg: word.value for word in node.keywords}
        pickles = keywords.get("allow_pickle")
        weights_only = keywords.get("weights_only")
        if (
            (name == "torch.load" and ast.unparse(weights_only or ast.Constant(False)) != "True")
            or name in ("yaml.load", "yaml.unsafe_load", "eval", "exec", "pd.read_pickle")
            or (pickles is not None and ast.unparse(pickles) != "False")
        ):
            found.append(f"{name} (line {node.lineno})")
    return found


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path, allow_pickle=False)", False),
        ("yaml.load(text)", True),
        ("yaml.safe_load(text)", False),
    ],
)
def test_unpickling_is_recognized(source: str, bad: bool) -> None:
    assert bool(unpickling_calls(ast.parse(source))) is bad


def test_nothing_unpickles() -> None:
    """Tests aside: they make pickles, to show that these are refused."""
    for path, text in texts():
        if path.suffix == ".py" and path.parent != ROOT / "tests":
            assert unpickling_calls(ast.parse(text)) == [], path


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("see /" + "home/anna/data and /" + "work/main", 2),
        ("'/" + "root/.cache'", 1),
        ("https://example.org/" + "home/page", 0),
        ("../" + "work/x and build/" + "home/y", 0),
    ],
)
def test_machine_paths_are_recognized(text: str, count: int) -> None:
    assert len(machine_paths(text)) == count


def test_no_file_names_a_path_of_a_machine() -> None:
    found = {str(p.relative_to(ROOT)): names for p, t in texts() if (names := machine_paths(t))}
    assert found == {}


def test_no_file_holds_a_secret() -> None:
    secret = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
        r"|\bhf_[A-Za-z0-9]{30,}"
    )
    assert [str(path) for path, text in texts() if secret.search(text)] == []


def test_addresses_in_the_package_are_https() -> None:
    plain = re.compile(r"\bhttp://[^\s\"')>]+")
    for path, text in texts():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (
            "oarfuse",
            "data_scripts",
            "reports",
            "workflow",
        ):
            assert plain.findall(text) == [], path


def test_download_is_pinned_encrypted_and_checked() -> None:
    assert download.URL.startswith("https://")
    assert re.fullmatch(r"[0-9a-f]{40}", download.COMMIT)
    assert download.COMMIT in download.URL
    assert re.fullmatch(r"[0-9a-f]{64}", download.CONTENT_SHA256)


def test_only_the_download_module_fetches() -> None:
    """One door to the network, the one that checks what comes in."""
    for path, text in texts():
        package = path.suffix == ".py" and path.is_relative_to(ROOT / "oarfuse")
        if package and path != Path(download.__file__):
            assert imports(ast.parse(text)) & CLIENTS == set(), path


def test_notebooks_are_guarded() -> None:
    """`test_notebooks.py` looks at every tracked notebook, wherever it lies."""
    from tests.course.test_notebooks import ALL

    guarded = {parameter.values[0] for parameter in ALL}
    assert {path for path in tracked() if path.suffix == ".ipynb"} <= guarded
