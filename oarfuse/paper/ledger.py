"""The ledger: every point that the paper leaves open, what this kit does, and what else it could.

The data is ``oarfuse/resources/ledger.json``, its form ``ledger.schema.json`` beside it. Texts are
written by hand; sizes are computed: ``python -m oarfuse.paper.ledger`` recounts and stores them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jsonschema import Draft202012Validator

from oarfuse.errors import OarfuseError
from oarfuse.files import write_text
from oarfuse.models import build_model, model_names
from oarfuse.models.cost import count_parameters, gflops

Entry = dict[str, Any]
AREAS = ("architecture", "training", "data", "evaluation", "paper")
MEASURED = {
    "dsc": "DSC",
    "dsc_largest_component": "largest component: DSC",
    "hd_vox_largest_component": "largest component: HD (voxels)",
    "dsc_spinal_cord": "spinal cord: DSC",
    "hd_vox": "HD (voxels)",
    "asd_vox": "ASD (voxels)",
}
SIZE = (96, 96, 96)  # the volume that GFLOPs are counted for, as in `oarfuse.models.cost`
LEDGER = Path(str(resources.files("oarfuse"))) / "resources" / "ledger.json"


@cache
def _validator() -> Draft202012Validator:
    text = LEDGER.with_name("ledger.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def problems(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with ledger entries, one sentence each; empty if nothing is.

    Beside the schema: points are unique, methods and options exist, and a measurement that is
    missing has a reason.
    """
    found = []
    for error in _validator().iter_errors(list(entries)):
        path = list(error.absolute_path)
        name = entries[path[0]].get("point", f"entry {path[0]}") if path else "the ledger"
        place = ".".join(str(part) for part in path[1:])
        found.append(f"{name}: {f'{place}: ' if place else ''}{error.message}")
    if found:
        return found
    points = [entry["point"] for entry in entries]
    found += [
        f"{point}: there twice" for point in sorted({p for p in points if points.count(p) > 1})
    ]
    for entry in entries:
        unknown = set(entry["method"]) - set(model_names())
        if unknown and entry["method"] != ["all"]:
            found.append(f"{entry['point']}: there is no model {sorted(unknown)[0]!r}")
        effect = entry["effect"]
        if (effect["unmeasured"] is None) != bool(effect["speed"] and effect["score"]):
            found.append(f"{entry['point']}: unmeasured gives the reason exactly if one is missing")
        if entry["switch"] is not None:
            try:
                compute_sizes(entry["switch"])
            except OarfuseError as error:
                found.append(f"{entry['point']}: {error}")
    return found


def load_ledger(area: str | None = None, *, path: str | Path = LEDGER) -> list[Entry]:
    """Return the entries in the ledger's order, all or those of one area.

    Raises
    ------
    OarfuseError
        If the area is unknown, or the file is missing or not in the form of the schema.
    """
    if area is not None and area not in AREAS:
        raise OarfuseError(f"There is no area {area!r}: choose one of {', '.join(AREAS)}.")
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OarfuseError(f"{path} cannot be read ({error}): give a ledger.json.") from error
    flaw = next(_validator().iter_errors(entries), None)
    if flaw is not None:
        raise OarfuseError(f"{path} is not a ledger ({flaw.message}): mend that entry.")
    return [entry for entry in entries if area in (None, entry["area"])]


def compute_sizes(switch: Mapping[str, Any]) -> dict[str, Any]:
    """Count parameters and GFLOPs of a proposed network for each value of one of its options.

    The readable block is counted, whose work does not depend on how the fast one is made.

    Returns
    -------
    dict
        A measurement: ``rows`` with ``value``, ``parameters`` and ``gflops``, and ``how``.

    Raises
    ------
    OarfuseError
        If the model, the option or a value does not exist.
    """
    rows = []
    for value in switch["values"]:
        with torch.device("meta"):
            model = build_model(switch["model"], block="readable", **{switch["option"]: value})
        work = round(gflops(model, SIZE), 1)
        rows.append({"value": value, "parameters": count_parameters(model), "gflops": work})
    sides = " x ".join(map(str, SIZE))
    return {"rows": rows, "how": f"counted for one {sides} volume, as the equations read"}


def update_sizes(path: str | Path = LEDGER) -> int:
    """Compute the sizes of every entry with a switch anew and store them; return how many."""
    entries = load_ledger(path=path)
    switched = [entry for entry in entries if entry["switch"] is not None]
    for entry in switched:
        entry["effect"]["size"] = compute_sizes(entry["switch"])
    write_text(path, ledger_json(entries))
    return len(switched)


def ledger_json(entries: Sequence[Entry]) -> str:
    """Return the text of a ledger.json."""
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def ledger_frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the ledger as a table of texts.

    Columns ``area, method, point, where, why_open, default, options, effect, evidence``. Options
    are joined by semicolons; ``effect`` is the note, then each measurement, then why one is
    missing.
    """
    rows = []
    for entry in entries:
        row = {key: entry[key] for key in ("area", "point", "where", "why_open", "default")}
        row["method"] = ", ".join(entry["method"])
        row["options"] = "; ".join(entry["options"])
        row["effect"] = effect_text(entry["effect"])
        rows.append(row | {"evidence": entry["evidence"]})
    columns = ("area", "method", "point", "where", "why_open", "default", "options", "effect")
    return pd.DataFrame(rows, columns=[*columns, "evidence"])


def measured_frame(entry: Entry) -> pd.DataFrame | None:
    """Return speed and score of an entry's choices as a table, None where one was not measured.

    One row a choice (index ``value``), one column a figure; of what the ``seconds`` are, and from
    which data, split and machine all of them come, the measurements' own ``how`` says.
    """
    score, speed = entry["effect"]["score"], entry["effect"]["speed"]
    if not (score and speed):
        return None
    rows = pd.DataFrame(score["rows"]).merge(pd.DataFrame(speed["rows"]), on="value")
    return rows.set_index("value").rename(columns=MEASURED)


def effect_text(effect: Mapping[str, Any]) -> str:
    """Return an entry's effect as a few sentences."""
    parts = [effect["note"].rstrip(".") + "."]
    for kind in ("size", "speed", "score"):
        if effect[kind] is not None:
            rows = "; ".join(_row_text(row) for row in effect[kind]["rows"])
            parts.append(f"{kind.capitalize()}: {rows} ({effect[kind]['how']}).")
    if effect["unmeasured"]:
        parts.append(effect["unmeasured"])
    return " ".join(parts)


def ledger_markdown(
    entries: Sequence[Entry], columns: Sequence[str] = ("point", "where", "default", "options")
) -> str:
    """Return the ledger as a Markdown table with columns of `ledger_frame`."""
    frame = ledger_frame(entries)
    unknown = [column for column in columns if column not in frame]
    if unknown:
        raise OarfuseError(
            f"The ledger has no column {unknown[0]!r}: choose from {', '.join(frame.columns)}."
        )
    titles = [column.replace("_", " ").capitalize() for column in columns]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(columns)}"]
    for row in frame[list(columns)].itertuples(index=False):
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def _row_text(row: Mapping[str, Any]) -> str:
    units = {"parameters": "parameters", "gflops": "GFLOP", "seconds": "s"}
    numbers = [
        f"{number:,} {units[key]}" if key in units else f"{key.replace('_', ' ')} {number:,}"
        for key, number in row.items()
        if key != "value"
    ]
    return f"{row['value']}: {', '.join(numbers)}"


if __name__ == "__main__":
    print(f"{LEDGER.name}: sizes of {update_sizes()} entries computed anew.")
