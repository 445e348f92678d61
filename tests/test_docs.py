"""The reference is made from docstrings, so each public thing must have one."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CODE = ("oarfuse", "tests", "benchmarks", "data_scripts", "reports", "workflow")
PACKAGE = sorted((ROOT / "oarfuse").rglob("*.py"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("results/**/*.md")),
    *sorted(ROOT.glob("notebooks/**/*.ipynb")),
]
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


def test_citation_and_changelog_name_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_contributing_names_targets_and_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z-]+)", text):
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


def prose(page: Path) -> str:
    """Return a page's Markdown; of a notebook, its Markdown cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", prose(page), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


def broken_links(page: Path) -> list[str]:
    """Return the links of a page to files or headings that are not there."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", prose(page), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):  # outside; out of reach of a test
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name) if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    return broken


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One · two, three\n[a](page.md#one--two-three) [b](#one) [c](gone.md) [d](https://e.org)\n"
        "`[e](gone.md)`\n```\n# four\n[f](gone.md)\n```\n[g](#four)\n",
        encoding="utf-8",
    )
    assert broken_links(page) == ["#one", "gone.md", "#four"]


@pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_spelling(tmp_path: Path) -> None:
    """Codespell knows common misspellings. It cannot read a notebook's JSON: it gets the text."""
    for page in PAGES:
        if page.suffix == ".ipynb":
            cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
            text = "\n\n".join("".join(cell["source"]) for cell in cells)
            (tmp_path / page.with_suffix(".md").name).write_text(text, encoding="utf-8")
    (tmp_path / "planted.md").write_text("heT"[::-1], encoding="utf-8")
    checked = subprocess.run(
        # whis: an option of Matplotlib's box plots
        [sys.executable, "-m", "codespell_lib", "--ignore-words-list=whis", "--skip=*.ipynb",
         tmp_path, *(p for p in PAGES if p.suffix == ".md"), *ROOT.glob("book/*.*"),
         *(ROOT / name for name in CODE)],
        capture_output=True, text=True,
    )  # fmt: skip
    findings = [line for line in checked.stdout.splitlines() if "planted.md" not in line]
    assert "planted.md:1: " + "heT"[::-1] + " ==> The" in checked.stdout
    assert findings == [] and checked.stderr == ""
