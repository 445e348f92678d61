"""README's tables come from the result files, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_tables_are_those_of_the_result_files() -> None:
    command = [sys.executable, "reports/readme.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_relative_links_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_benchmark_that_nobody_ran_leaves_no_figures(tmp_path: Path) -> None:
    from reports.performance import performance_block

    assert performance_block(tmp_path).split("\n\n") == [
        f"Not measured yet: `benchmarks/{name}.py`."
        for name in ("training_step", "pipeline", "metrics")
    ]


def test_cost_figure_places_each_method_of_table_one() -> None:
    from oarfuse.paper.printed import paper_table
    from reports.cost_figure import draw

    accuracy, growth, _ = draw().axes
    points = accuracy.collections[0].get_offsets()
    paper = paper_table("I")
    assert points[:, 1].tolist() == pytest.approx(paper["dsc"].tolist())
    assert {text.get_text() for text in accuracy.texts} == set(paper["model"])
    seconds = growth.lines[0].get_ydata()
    assert len(seconds) == 7
    assert all(seconds > 0)
