"""The rooms of the package and who imports whom, read from the code.

python -m reports.architecture        writes docs/figures/rooms.png

A room may import from the rooms before it in `ROOMS`, never from a later one, and no module
imports itself through others; a test holds both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "figures" / "rooms.png"

# From the ground up. What is not a folder of its own shares a room with its neighbours.
ROOMS = {
    "sample": ("sample",),
    "base": (
        *("errors", "extras", "files", "organs", "config", "devices", "provenance"),
        *("console", "interruption", "moved"),
    ),
    "models": ("models",),
    "metrics": ("metrics", "postprocess"),
    "data": ("data", "dicom"),
    "weights": ("weights",),
    "phantom": ("phantom",),
    "paper": ("paper",),
    "prediction": ("windows", "inference", "other_grids", "doubts", "prediction"),
    "training": (
        *("losses", "steps", "checkpoints", "records"),
        *("patients", "runs", "training"),
    ),
    "evaluation": ("evaluation",),
    "viewing": ("viewing",),
    "course": ("course",),
    "face": ("cli", "commands", "doctor", "oarfuse"),
}
WHAT = {
    "base": "errors, files, organs,\nconfig, devices",
    "models": "the paper's networks;\ncompared/, kernels/",
    "metrics": "DSC, HD, ASD",
    "data": "CT, splits, patches;\nopenkbp/",
    "sample": "27 real patients",
    "weights": "safetensors,\npublished names",
    "phantom": "drawn patients",
    "paper": "printed tables,\nledger",
    "prediction": "from a CT to labels",
    "training": "steps, runs, losses",
    "evaluation": "scores, statistics,\ntables",
    "viewing": "ct/, plots/,\nnetwork/, canvas/",
    "course": "what notebooks\nset up and check",
    "face": "import oarfuse,\nthe oarfuse command",
}
# Where each stands from left to right, so that no arrow passes behind a room.
COLUMN = {"base": 2.0, "models": 0.8, "metrics": 2.0, "data": 3.2, "paper": 0.0, "weights": 1.2}
COLUMN |= {
    "sample": 4.2,
    "phantom": 4.2,
    "prediction": 2.0,
    "evaluation": 1.0,
    "training": 3.0,
    "viewing": 2.0,
}
COLUMN |= {"face": 3.3, "course": 4.2}
WIDE, HIGH = 1.9, 1.1  # inches from column to column, from floor to floor
Graph = dict[str, set[str]]


def import_graph(package: Path = ROOT / "oarfuse") -> Graph:
    """Return, for each module of a package, the package's modules that it imports at run time.

    Imports inside functions count; those under ``if TYPE_CHECKING`` do not, since they never run.
    """
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts).removesuffix(".__init__")] = path
    graph: Graph = {name: set() for name in files}
    for name, path in files.items():
        for found in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            target = found if found in files else found.rpartition(".")[0]
            if target in files and target != name:
                graph[name].add(target)
    return graph


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from _imported(node)


def room_of(module: str) -> str:
    """Return the room of a module such as ``oarfuse.data.ct``; `KeyError` if it has none."""
    name = [*module.split("."), "oarfuse"][1]
    rooms = [room for room, names in ROOMS.items() if name in names]
    if len(rooms) != 1:
        raise KeyError(f"{module} stands in {len(rooms)} rooms of reports/architecture.py, not 1")
    return rooms[0]


def upward_imports(graph: Mapping[str, set[str]]) -> list[str]:
    """List imports from a lower room to a higher one, as ``module -> module``."""
    height = {room: number for number, room in enumerate(ROOMS)}
    return sorted(
        f"{module} -> {target}"
        for module, targets in graph.items()
        for target in targets
        if height[room_of(target)] > height[room_of(module)]
    )


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import each other in a ring, the first one again at the end, or []."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            found = visit(target, [*way, module])
            if found:
                return found
        done.add(module)
        return []

    return next((ring for module in sorted(graph) if (ring := visit(module, []))), [])


def rooms_graph(graph: Mapping[str, set[str]]) -> Graph:
    """Return which rooms each room needs directly: those that no other needed room brings."""
    needs: Graph = {room: set() for room in ROOMS}
    for module, targets in graph.items():
        needs[room_of(module)] |= {room_of(target) for target in targets}
    for room, found in needs.items():
        found.discard(room)
    reach: Graph = {}
    for room in ROOMS:  # lower rooms first
        reach[room] = needs[room].union(*(reach[lower] for lower in needs[room]))
    return {
        room: {
            lower
            for lower in found
            if not any(lower in reach[other] for other in found if other != lower)
        }
        for room, found in needs.items()
    }


def draw(graph: Mapping[str, set[str]], package: Path = ROOT / "oarfuse") -> Figure:
    """Draw the rooms as floors, with an arrow from each room to those that it builds on."""
    needs = rooms_graph(graph)
    floor: dict[str, int] = {}
    for room in ROOMS:
        floor[room] = 1 + max((floor[lower] for lower in needs[room]), default=-1)
    lines = dict.fromkeys(ROOMS, 0)
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        lines[room_of(module)] += len(path.read_text(encoding="utf-8").splitlines())
    size = (WIDE * (max(COLUMN.values()) + 1), HIGH * (max(floor.values()) + 1))
    figure, axes = plt.subplots(figsize=size)
    place = {room: (WIDE * (COLUMN[room] + 0.5), HIGH * (floor[room] + 0.5)) for room in ROOMS}
    for room, (x, y) in place.items():
        box = FancyBboxPatch(
            (x - 0.85, y - 0.36), 1.7, 0.72, boxstyle="round,pad=0.02,rounding_size=0.08",
            facecolor="#E8F0F7" if room != "models" else "#F6E3C5", edgecolor="#33506B",
        )  # fmt: skip
        axes.add_patch(box)
        axes.text(x, y + 0.21, f"{room}  ({lines[room]:,} lines)", ha="center", va="center",
                  fontsize=8.5, weight="bold")  # fmt: skip
        axes.text(x, y - 0.12, WHAT[room], ha="center", va="center", fontsize=7.5)
        for lower in needs[room]:
            below_x, below_y = place[lower]
            shift = 0.12 * (below_x - x)
            axes.add_patch(
                FancyArrowPatch(
                    (x + shift, y - 0.38), (below_x - shift, below_y + 0.38),
                    arrowstyle="-|>", mutation_scale=9, color="#7A8B99", linewidth=0.9, zorder=0,
                )
            )  # fmt: skip
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    plt.close(figure)
    return figure


def main() -> None:
    draw(import_graph()).savefig(OUTPUT, dpi=150)
    print(OUTPUT.relative_to(ROOT))


if __name__ == "__main__":
    main()
