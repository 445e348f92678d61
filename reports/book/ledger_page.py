"""The ledger as a page of the book, which `book/_static/ledger.js` filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from oarfuse.paper.ledger import AREAS, MEASURED, Entry
from reports.markdown import table

_HEADS = {"parameters": "parameters", "gflops": "GFLOP", "seconds": "seconds a step"} | MEASURED
_CONTROLS = """\
```{raw} html
<form class="ledger-filter" hidden>
  <label>Text <input type="search" name="text" placeholder="for example: loss"></label>
  <label>Area <select name="area"><option value="">all</option>%s</select></label>
  <label>Method <select name="method"><option value="">all</option>%s</select></label>
  <label><input type="checkbox" name="measured"> with a measured effect</label>
  <button type="button" name="open">Open all</button>
  <output aria-live="polite"></output>
</form>
```
"""


def anchor(point: str) -> str:
    """Return the name under which the page's entry of a point can be linked."""
    return "ledger-" + re.sub(r"[^a-z0-9]+", "-", point.lower()).strip("-")


def ledger_page(entries: Sequence[Entry]) -> str:
    """Return the page in MyST: one dropdown an entry, a section an area."""
    methods = sorted({method for entry in entries for method in entry["method"]} - {"all"})
    options = ["".join(f"<option>{name}</option>" for name in names) for names in (AREAS, methods)]
    parts = [
        "# The ledger",
        f"The paper leaves {len(entries)} points open, as far as we found. Here is each of them: "
        "why it is open, what this kit does, what else it could do, and what switching it changes, "
        "where that was measured. "
        "[Notebook 07](notebooks/07_ablations_and_ledger.ipynb) teaches how to read it; the file "
        "itself is `oarfuse/resources/ledger.json`.",
        _CONTROLS % tuple(options),
    ]
    for area in AREAS:
        parts.append(f"## {area.capitalize()}")
        parts += [_dropdown(entry) for entry in entries if entry["area"] == area]
    return "\n\n".join(parts) + "\n"


def _dropdown(entry: Entry) -> str:
    measured = "yes" if entry["effect"]["score"] else "no"
    classes = [f"in-{entry['area']}", f"measured-{measured}"]
    classes += [f"for-{method}" for method in entry["method"]]
    effect = entry["effect"]
    fields = {
        "Where": entry["where"],
        "Methods": ", ".join(entry["method"]),
        "Why it is open": entry["why_open"],
        "What we do": entry["default"],
        "Options": "; ".join(entry["options"]),
        "Why, and how we know": entry["evidence"],
        "Effect": effect["note"],
    }
    lines = [f"{name}\n: {_plain(text)}\n" for name, text in fields.items() if text]
    for kind in ("size", "speed", "score"):
        if effect[kind]:
            lines += [
                f"{kind.capitalize()}\n: {_plain(effect[kind]['how'])}\n",
                _rows(effect[kind]),
            ]
    if effect["unmeasured"]:
        lines.append(f"Not measured\n: {_plain(effect['unmeasured'])}\n")
    body = "\n".join(lines)
    return (
        f"::::{{dropdown}} {_plain(entry['point'])}\n"
        f":name: {anchor(entry['point'])}\n"
        f":class-container: ledger-entry {' '.join(classes)}\n\n{body}\n::::"
    )


def _rows(measurement: dict[str, Any]) -> str:
    rows = measurement["rows"]
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "value"))
    heads = ["value", *(_HEADS.get(key, key.replace("_", " ")) for key in keys)]
    cells = [[f"`{row['value']}`", *(_figure(row.get(key)) for key in keys)] for row in rows]
    return table(heads, cells) + "\n"


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _plain(text: str) -> str:
    """Return a text of the ledger, which is no Markdown, so that MyST shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>$|{}~^])", r"\\\1", text)
