"""The paper's Tables I and II, and what its text claims, checked against them."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from oarfuse.errors import OarfuseError
from oarfuse.organs import get_spec

# The paper prints four decimals. A mean of its printed parts may therefore be off by one unit in
# the last place: half from the rounding of the mean and half from that of the parts.
_LAST_PLACE = 1.0001e-4

_PROPOSED = ("3D-MSF", "OARFocalFuseNet")


@cache
def _contents() -> dict[str, Any]:
    text = resources.files("oarfuse").joinpath("resources/paper_tables.json").read_text("utf-8")
    return json.loads(text)


def paper_table(number: str) -> pd.DataFrame:
    """Return Table I (OpenKBP) or II (Synapse) of the paper.

    Parameters
    ----------
    number
        ``"I"`` or ``"II"``.

    Returns
    -------
    pandas.DataFrame
        One row per method, in the paper's order, named by it. Columns: `model` (the name for
        `oarfuse.build_model`, or None), `dsc` (the printed mean), in Table I `hd` and `asd` (the
        paper gives no unit), then the DSC of each organ by its name. The source is in
        ``frame.attrs["source"]``.
    """
    tables = _contents()["tables"]
    if number not in tables:
        raise OarfuseError(f"The paper has no Table {number!r}: choose one of {', '.join(tables)}.")
    frame = pd.DataFrame(tables[number]["rows"]).set_index("method")
    frame.attrs = {
        "source": _contents()["source"],
        "title": tables[number]["title"],
        "dataset": tables[number]["dataset"],
        "unit_note": _contents()["unit_note"],
    }
    return frame


def _organs(frame: pd.DataFrame) -> list[str]:
    return [organ.name for organ in get_spec(frame.attrs["dataset"]).organs]


def paper_row(dataset: str, model: str) -> pd.Series | None:
    """Return the paper's row for a model on `openkbp` or `synapse`, or None if it has none."""
    for number in _contents()["tables"]:
        frame = paper_table(number)
        if frame.attrs["dataset"] == dataset:
            rows = frame[frame["model"] == model]
            return None if rows.empty else rows.iloc[0]
    return None


def table_consistency() -> pd.DataFrame:
    """Compare each printed mean DSC with the mean of the organs' printed DSCs.

    Returns
    -------
    pandas.DataFrame
        ``table, method, printed, computed, difference, agrees``; `agrees` allows one unit in the
        last printed place.
    """
    rows = []
    for number in _contents()["tables"]:
        frame = paper_table(number)
        means = frame[_organs(frame)].mean(axis=1)
        for method in frame.index:
            difference = float(means[method] - frame.loc[method, "dsc"])
            rows.append(
                {
                    "table": number,
                    "method": method,
                    "printed": frame.loc[method, "dsc"],
                    "computed": means[method],
                    "difference": difference,
                    "agrees": abs(difference) <= _LAST_PLACE,
                }
            )
    return pd.DataFrame(rows)


def claims_audit() -> pd.DataFrame:
    """Check each figure and ranking in the paper's text, and what it suggests, against its tables.

    Returns
    -------
    pandas.DataFrame
        ``where, claim, source, table, stated, in_table, holds, note``: `source` is ``stated``
        where the text says so itself and ``inferred`` where the claim is this kit's reading of a
        word such as "outperforms"; `stated` is the number in the text (NaN where the text gives
        none), `in_table` the table's number for the same thing, `holds` whether number and ranking
        both agree, and `note` says what does not, and for which organs a ranking by the mean DSC
        does not extend to the organ.
    """
    rows = []
    for claim in _contents()["claims"]:
        frame = paper_table(claim["table"])
        column, method = frame[claim["column"]].astype(float), claim["method"]
        value = float(column[method])
        number_agrees = claim["stated"] is None or claim["stated"] == value
        notes = [] if number_agrees else [f"the table has {value:.4f}"]
        beaten_by = _better(frame, claim["column"], claim)
        if beaten_by:
            rivals = ", ".join(f"{name} {column[name]:.4f}" for name in beaten_by)
            notes.append(f"better in the table: {rivals}")
        elif claim["column"] == "dsc" and claim["kind"] != "value":
            exceptions = [organ for organ in _organs(frame) if _better(frame, organ, claim)]
            if exceptions:
                notes.append("not so for every organ: " + ", ".join(exceptions))
        rows.append(
            {
                "where": claim["where"],
                "claim": claim["claim"],
                "source": claim["source"],
                "table": claim["table"],
                "stated": float("nan") if claim["stated"] is None else claim["stated"],
                "in_table": value,
                "holds": number_agrees and not beaten_by,
                "note": "; ".join(notes),
            }
        )
    return pd.DataFrame(rows)


def _better(frame: pd.DataFrame, column: str, claim: dict[str, Any]) -> list[str]:
    """Return the methods that contradict the ranking which a claim makes, in the table's order."""
    kind, values = claim["kind"], frame[column].astype(float)
    if kind == "value":
        return []
    rivals = values.drop(claim["method"])
    if kind in ("above", "below"):
        rivals = rivals[[claim["than"]]]
    elif kind == "highest_earlier":
        rivals = rivals.drop(list(_PROPOSED))
    own = values[claim["method"]]
    worse_if_lower = kind in ("highest", "highest_earlier", "above")
    return list(rivals.index[rivals >= own] if worse_if_lower else rivals.index[rivals <= own])
