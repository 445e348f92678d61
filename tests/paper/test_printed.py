"""What the paper prints: its tables are whole, and its claims are held against them."""

from __future__ import annotations

import numpy as np
import pytest

from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP, SYNAPSE
from oarfuse.paper import claims_audit, paper_row, paper_table, table_consistency


def test_the_papers_tables_are_whole() -> None:
    one, two = paper_table("I"), paper_table("II")
    assert (len(one), len(two)) == (7, 10)
    assert list(one.columns) == ["model", "dsc", "hd", "asd", *(o.name for o in OPENKBP.organs)]
    assert list(two.columns) == ["model", "dsc", *(o.name for o in SYNAPSE.organs)]
    for frame in (one, two):
        values = frame.drop(columns=["model", "hd", "asd"], errors="ignore").astype(float)
        assert values.notna().all(axis=None) and values.stack().between(0.3, 1).all()
        # Four printed decimals each
        np.testing.assert_allclose(values * 1e4, (values * 1e4).round(), atol=1e-6)
    assert one.loc["OARFocalFuseNet", ["dsc", "hd", "asd"]].tolist() == [0.7995, 5.1435, 0.5743]
    assert two.loc["TransUNet", "pancreas"] == 0.5586
    assert one.attrs["source"] and "unit" in one.attrs["unit_note"]
    with pytest.raises(OarfuseError, match="I, II"):
        paper_table("III")


def test_the_papers_row_of_a_model() -> None:
    row = paper_row("synapse", "msf3d")
    assert row is not None and row["dsc"] == 0.8084
    assert paper_row("openkbp", "no such model") is None


def test_one_printed_mean_does_not_follow_from_its_organs() -> None:
    table = table_consistency()
    assert len(table) == 17
    wrong = table[~table["agrees"]]
    # The eight organs of this row give 0.7210, the table prints 0.7557.
    assert wrong[["table", "method", "printed"]].to_numpy().tolist() == [
        ["II", "R50 AttnUNet", 0.7557]
    ]
    assert wrong["computed"].item() == pytest.approx(0.7210, abs=5e-5)


def test_claims_that_the_tables_contradict() -> None:
    audit = claims_audit()
    wrong = audit[~audit["holds"]].set_index("stated")
    assert sorted(wrong.index) == [0.5143, 5.1435]
    assert wrong.loc[0.5143, "in_table"] == 0.5743
    assert "better" not in wrong.loc[0.5143, "note"]  # the number is wrong, the rank is right
    assert "AttUNet 4.9981" in wrong.loc[5.1435, "note"]
    assert "UNet-3D 5.0662" in wrong.loc[5.1435, "note"]
    # The paper never says that its HD is the lowest: that claim is a reading and marked as one.
    assert wrong["source"].to_dict() == {5.1435: "inferred", 0.5143: "stated"}


def test_what_the_kit_reads_into_the_text_is_no_statement_of_the_papers() -> None:
    audit = claims_audit()
    inferred = audit["source"] == "inferred"
    assert set(audit["source"]) == {"stated", "inferred"}
    assert audit["claim"].str.contains("means:").equals(inferred)
    assert inferred.sum() == 9


def test_rankings_by_the_mean_name_the_organs_that_differ() -> None:
    audit = claims_audit().set_index("claim")
    note = audit.loc["The highest DSC on OpenKBP is 0.7995", "note"]
    assert note == "not so for every organ: brainstem, spinal_cord"
    assert audit.loc["The highest DSC of the left parotid on OpenKBP", "note"] == ""
