"""The CSV parsers against a plain reading, and every fault they must name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarfuse.data.openkbp.sparse_csv import (
    SHAPE,
    VOXELS,
    ct_rows,
    read_ct,
    read_mask,
    read_spacing,
)
from oarfuse.errors import OarfuseError


@settings(max_examples=60, deadline=None)
@given(
    rows=st.dictionaries(
        st.integers(0, VOXELS - 1), st.integers(0, 33791), min_size=1, max_size=40
    ),
    crlf=st.booleans(),
)
def test_ct_is_read_as_written(rows: dict[int, int], crlf: bool) -> None:
    text = ",data\n" + "".join(f"{index},{value}.0\n" for index, value in rows.items())
    data = text.replace("\n", "\r\n").encode() if crlf else text.encode()
    indices, hu = read_ct(data, "ct.csv")
    assert indices.tolist() == list(rows)
    assert hu.tolist() == [value - 1024 for value in rows.values()]
    assert hu.dtype == np.int16


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, VOXELS - 1), min_size=1, max_size=40, unique=True))
def test_mask_is_read_as_written(indices: list[int]) -> None:
    data = ",data\n" + "".join(f"{index},\n" for index in indices)
    assert read_mask(data.encode(), "mask.csv").tolist() == indices


@pytest.mark.parametrize("spelling", ["515", "515.", "515.00", "5.15e2", "+515.0", " 515.0"])
def test_other_spellings_of_a_number_are_read_too(spelling: str) -> None:
    indices, hu = read_ct(f",data\n7,{spelling}\n9,1.0\n".encode(), "ct.csv")
    assert indices.tolist() == [7, 9]
    assert hu.tolist() == [515 - 1024, 1 - 1024]


def test_extreme_values_survive() -> None:
    _, hu = read_ct(b",data\n0,33791.0\n1,-31744.0\n2,0.0\n", "ct.csv")
    assert hu.tolist() == [32767, -32768, -1024]


def test_rows_of_a_loaded_volume_are_the_files_own() -> None:
    stored = np.full(VOXELS, -1024, np.int16)
    stored[[5, 300, 90000]] = -1023, 7, 3000
    loaded = stored.reshape(SHAPE).transpose(2, 0, 1)[::-1]  # superior, posterior, left
    assert ct_rows(loaded, 2) == ["5,1.0", "300,1031.0"]
    data = ",data\n" + "\n".join(ct_rows(loaded, 9)) + "\n"
    indices, hu = read_ct(data.encode(), "ct.csv")
    assert indices.tolist() == [5, 300, 90000] and hu.tolist() == [-1023, 7, 3000]


CT_FAULTS = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "header only": (b",data\n", "lists no voxel"),
    "no header": (b"5,515.0\n", "header"),
    "other header": (b"index,hu\n5,515.0\n", "header"),
    "cut in a line": (b",data\n5,515.0\n6,51", "middle of a line"),
    "index too large": (b",data\n2097152,515.0\n", "2097152"),
    "index too large, its line": (b",data\n5,1.0\n2097152,515.0\n", "line 3"),
    "index far too large": (b",data\n99999999999,515.0\n", "99999999999"),
    "index negative": (b",data\n-1,515.0\n", "-1"),
    "index repeated": (b",data\n5,515.0\n9,1.0\n5,515.0\n", "voxel 5 more than once"),
    "index no number": (b",data\nx,515.0\n", "line 2"),
    "index fractional": (b",data\n5.5,515.0\n", "line 2"),
    "index missing": (b",data\n,515.0\n", "line 2"),
    "index without a digit": (b",data\n5,515.0\n.0,515.0\n", "line 3"),
    "index in quotes": (b',data\n"5",515.0\n', "line 2"),
    "index with a blank": (b",data\n5,515.0\n 6,515.0\n", "line 3"),
    "cells in another row": (b",data\n5,515.0,6\n7\n", "line 2"),
    "value missing": (b",data\n5,515.0\n6,\n", "line 3"),
    "value NaN": (b",data\n5,nan\n", "nan"),
    "value infinite": (b",data\n5,inf\n", "inf"),
    "value fractional": (b",data\n5,515.5\n", "515.5"),
    "value no number": (b",data\n5,bone\n", "'bone'"),
    "value beyond 16 bits": (b",data\n5,33792.0\n", "33792"),
    "value below 16 bits": (b",data\n5,-31745.0\n", "-31745"),
    "value absurd": (b",data\n5,1e300\n", "1e300"),
    "three columns": (b",data\n5,515.0,3\n", "line 2"),
    "one column": (b",data\n5\n", "line 2"),
    "blank line": (b",data\n5,515.0\n\n6,515.0\n", "line 3"),
    "binary": (b",data\n\x00\xff\x80,\x01\n", "line 2"),
    "zip bytes": (b"PK\x03\x04 is not a table\n", "header"),
}


@pytest.mark.parametrize("fault", CT_FAULTS)
def test_each_ct_fault_is_named(fault: str) -> None:
    data, expected = CT_FAULTS[fault]
    with pytest.raises(OarfuseError, match=r"train-pats/pt_1/ct\.csv") as caught:
        read_ct(data, "train-pats/pt_1/ct.csv")
    assert expected in str(caught.value)
    assert "replace it" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b",data\n5,1.0\n", "holds values"),
        (b",data\n5,nan\n", "holds values"),
        (b",data\n5,\n5,\n", "voxel 5 more than once"),
        (b",data\n2097152,\n", "2097152"),
        (b",data\n5,\n6", "middle of a line"),
        (b",data\n", "lists no voxel"),
    ],
)
def test_each_mask_fault_is_named(data: bytes, expected: str) -> None:
    with pytest.raises(OarfuseError, match=expected):
        read_mask(data, "Mandible.csv")


def test_spacing_keeps_all_digits() -> None:
    assert read_spacing(b"3.906000000000000139e+00\n3.9\n2.5\n", "v") == (3.906, 3.9, 2.5)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "0 voxel sizes"),
        (b"4.5\n4.5\n", "2 voxel sizes"),
        (b"4.5\n4.5\n3\n3\n", "4 voxel sizes"),
        (b"4.5\n4.5\n0\n", "0 mm"),
        (b"4.5\n-4.5\n3\n", "-4.5 mm"),
        (b"nan\n4.5\n3\n", "nan mm"),
        (b"4.5\ninf\n3\n", "inf mm"),
        (b"4.5\n4.5\n3000\n", "3000 mm"),
        (b"4.5\n4.5\nthin\n", "else than numbers"),
        (b"\xff\xfe4\x00", "else than numbers"),
    ],
)
def test_each_spacing_fault_is_named(data: bytes, expected: str) -> None:
    with pytest.raises(OarfuseError, match=expected):
        read_spacing(data, "voxel_dimensions.csv")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_arbitrary_bytes_give_a_result_or_one_sentence(data: bytes, with_header: bool) -> None:
    data = b",data\n" + data if with_header else data
    for read in (read_ct, read_mask, read_spacing):
        try:
            read(data, "file.csv")
        except OarfuseError as error:
            assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([b"", b"\n", b",", b".", b"0", b"9", b"-", b"e", b" "])
)
def test_one_damaged_byte_is_never_misread_in_silence(place: int, replacement: bytes) -> None:
    """Whatever one edit does, the two parsers agree: the fast one may not guess."""
    from oarfuse.data.openkbp import sparse_csv

    rows = {index: 100 + index for index in range(5, 400, 7)}
    data = (",data\n" + "".join(f"{i},{v}.0\n" for i, v in rows.items())).encode()
    place %= len(data)
    data = data[:place] + replacement + data[place + 1 :]
    if not data.endswith(b"\n") or not data.startswith(b",data\n"):
        return
    quick = sparse_csv._parse_at_once(data, True)
    if quick is not None and quick[0].max() < VOXELS:
        slow = sparse_csv._parse_by_line(data, "ct.csv", True)
        assert quick[0].tolist() == slow[0].tolist()
        assert quick[1].tolist() == slow[1].tolist()
