"""The pages and figures of the repository that are made from result files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from oarfuse.files import atomic_path, write_text
from oarfuse.paper.ledger import LEDGER
from reports import cost_figure, experiments, methods_page, workflow_figure
from reports.ledger_scores import ledger_text
from reports.model_card import cards
from reports.readme import README, readme
from reports.results import ROOT
from workflow.experiments import RESULTS as EXPERIMENTS

PAGES: dict[str, Callable[[], dict[Path, str]]] = {
    "readme": lambda: {README: readme()},
    "experiments": lambda: {EXPERIMENTS / "README.md": experiments.page()},
    "ledger": lambda: {LEDGER: ledger_text()},
    "cards": cards,
    "methods": lambda: {methods_page.PAGE: methods_page.page(methods_page.tables())},
}
# Only when they are asked for: their bytes depend on the versions of what draws them.
FIGURES: dict[str, Callable[[], Figure]] = {
    "cost": cost_figure.draw,
    "workflow": workflow_figure.draw,
}


def write(names: Iterable[str] = PAGES, *, check: bool = False) -> list[str]:
    """Write these pages, or only `check` them; return which were not as their files make them."""
    differing = []
    for path, text in [made for name in names for made in PAGES[name]().items()]:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            differing.append(path.relative_to(ROOT).as_posix())
            if not check:
                write_text(path, text)
    return differing


def write_figure(name: str) -> None:
    """Draw docs/figures/NAME.png."""
    with atomic_path(ROOT / "docs" / "figures" / f"{name}.png") as temporary:
        FIGURES[name]().savefig(temporary, dpi=110, format="png")
