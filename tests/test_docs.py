"""The reference is made from docstrings, so each public thing must have one."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "oarfuse").rglob("*.py"))
# What PyTorch documents: the call of a layer or of an autograd function.
INHERITED = {"forward", "backward"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(tree: ast.Module) -> list[str]:
    """Name the public functions, classes and methods of a module without a docstring."""
    missing = [] if ast.get_docstring(tree) else ["the module itself"]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, Definition) or node.name.startswith("_"):
                continue
            if node.name not in INHERITED and not ast.get_docstring(node):
                missing.append(f"{prefix}{node.name} (line {node.lineno})")
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return missing


def test_missing_docstrings_are_found() -> None:
    source = (
        '"""Said."""\n'
        "class A:\n"
        '    """Said."""\n'
        "    def b(self): ...\n"
        "    def _c(self): ...\n"
        "    def forward(self): ...\n"
        "def d(): ...\n"
    )
    assert undocumented(ast.parse(source)) == ["A.b (line 4)", "d (line 7)"]
    assert undocumented(ast.parse("")) == ["the module itself"]


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PACKAGE])
def test_everything_public_has_a_docstring(path: Path) -> None:
    if path.name == "__main__.py" or (path.stem.startswith("_") and path.stem != "__init__"):
        pytest.skip("a private module is not in the reference")
    assert undocumented(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_reference_has_a_page_for_each_public_module(tmp_path: Path) -> None:
    script = ROOT / "data_scripts" / "api_reference.py"
    made = subprocess.run(
        [sys.executable, str(script), "--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    expected = {
        Path(str(path.relative_to(ROOT)).removesuffix("/__init__.py")).with_suffix(".html")
        for path in PACKAGE
        if path.name == "__init__.py" or not path.name.startswith("_")
    }
    assert expected <= {path.relative_to(tmp_path) for path in tmp_path.rglob("*.html")}
    # also the names that a package imports when they are first used
    assert 'id="prepare_openkbp"' in (tmp_path / "oarfuse" / "data.html").read_text("utf-8")


def test_citation_and_changelog_name_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_contributing_names_targets_and_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.\w+)`", text)
    assert named
    for name in named:
        assert name.startswith("build/") or (ROOT / name).exists(), name


def test_hooks_run_tools_of_the_dev_extra() -> None:
    """Without the network: each hook is a local one, of a tool that is installed anyway."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = {re.split(r"[<>=]", entry)[0] for entry in project["optional-dependencies"]["dev"]}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].split()[0] in tools
