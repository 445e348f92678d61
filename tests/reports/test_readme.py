"""README's tables come from the result files, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_tables_are_those_of_the_result_files() -> None:
    # All but the methods' page, which tests/models/test_cost.py compares with sizes it has anyway.
    pages = ["readme", "experiments", "ledger", "cards"]
    command = [sys.executable, "-m", "reports", "--check", *pages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from reports import pages

    made = {pages.ROOT / "README.md": "other", pages.ROOT / "docs/gone.md": "text"}
    monkeypatch.setitem(pages.PAGES, "readme", lambda: made)
    assert pages.write(["readme"], check=True) == ["README.md", "docs/gone.md"]


def test_table_sets_texts_left_and_figures_right() -> None:
    from reports.markdown import table

    assert table(["a", "b", "c"], [[1, "x", 0.5]], "ll").splitlines() == [
        "| a | b | c |",
        "|---|---|---:|",
        "| 1 | x | 0.5 |",
    ]


def test_relative_links_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_benchmark_that_nobody_ran_leaves_no_figures(tmp_path: Path) -> None:
    from reports.performance import performance_block

    assert performance_block(tmp_path).split("\n\n") == [
        f"Not measured yet: `benchmarks/{name}.py`."
        for name in ("training_step", "pipeline", "metrics", "memory", "neighbour")
    ]


def test_cost_figure_places_each_method_of_table_one() -> None:
    from oarfuse.paper.printed import paper_table
    from reports.cost_figure import draw

    accuracy, growth, _ = draw().axes
    points = np.asarray(accuracy.collections[0].get_offsets())
    paper = paper_table("I")
    assert points[:, 1].tolist() == pytest.approx(paper["dsc"].tolist())
    assert {text.get_text() for text in accuracy.texts} == set(paper["model"])
    seconds = np.asarray(growth.lines[0].get_ydata())
    assert len(seconds) == 7
    assert all(seconds > 0)
