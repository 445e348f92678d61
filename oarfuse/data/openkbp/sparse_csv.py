"""Reading OpenKBP's sparse CSV files: fast when they are well formed, exact when they are not.

A file lists voxels of a 128 x 128 x 128 volume: a flat C-order index, a comma, a value. A mask
leaves the value empty. pandas reads it (some 25 ms for a CT of 80,000 rows). Whenever one byte is
not where it is expected, a patient line-by-line parser takes over: it accepts other correct
spellings (``5.15e2``) and names the line of what is wrong.
"""

from __future__ import annotations

import io
import math
import re

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.ct import AIR_HU
from oarfuse.errors import OarfuseError

SHAPE = (128, 128, 128)
VOXELS = SHAPE[0] * SHAPE[1] * SHAPE[2]
CT_OFFSET = -AIR_HU  # the files hold HU + 1024, so that 0 can mean "no CT here"
# In plane the data set has 3.6 to 5.4 mm; anything outside this is a unit or a typing mistake.
SPACING_LIMITS_MM = (0.1, 20.0)

_HEADER = b",data\n"
_INT16 = np.iinfo(np.int16)


def bad_file(name: str, problem: str) -> OarfuseError:
    """The sentence for a damaged source file: which one, what is wrong, what to do."""
    return OarfuseError(f"{name} {problem}: replace it with the data set's own copy.")


def read_mask(data: bytes, name: str) -> NDArray[np.int32]:
    """Read the voxels of a structure.

    Parameters
    ----------
    data
        The file's bytes.
    name
        How to call the file in an error.

    Returns
    -------
    Flat C-order indices into `SHAPE`, in the file's order, without repetition.

    Raises
    ------
    OarfuseError
        If the file is empty, truncated, no table of whole numbers, leaves the volume, repeats a
        voxel, or carries values.
    """
    indices, _ = _read(data, name, with_values=False)
    return indices


def read_ct(data: bytes, name: str) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Read a CT: flat C-order indices and Hounsfield units.

    Parameters and errors are those of `read_mask`; besides, a value must be a whole number that
    16 bits hold as HU (-32768..32767), so that nothing is lost. Scans above 4095 exist in the
    data set and are kept as they are.
    """
    indices, values = _read(data, name, with_values=True)
    hu = values - CT_OFFSET
    if hu.min() < _INT16.min or hu.max() > _INT16.max:
        worst = values[np.argmax(np.abs(hu))]
        raise bad_file(name, f"holds the CT value {worst}, more than 16 bits can keep")
    return indices, hu.astype(np.int16)


def ct_rows(image: NDArray[np.int16], count: int) -> list[str]:
    """Return the first rows of the ``ct.csv`` that a loaded CT came from, to show the format.

    Parameters
    ----------
    image
        (D, H, W) HU as `oarfuse.data.load_case` gives it: superior, posterior, left.
    """
    stored = image[::-1].transpose(1, 2, 0).ravel()  # posterior, left, inferior
    first = np.flatnonzero(stored > AIR_HU)[:count]
    return [f"{index},{int(stored[index]) + CT_OFFSET}.0" for index in first]


def read_spacing(data: bytes, name: str) -> tuple[float, float, float]:
    """Read voxel_dimensions.csv: the voxel's size in mm along the volume's three axes.

    Raises
    ------
    OarfuseError
        Unless the file holds exactly three numbers within `SPACING_LIMITS_MM`.
    """
    words = data.decode("ascii", "replace").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise bad_file(name, "holds something else than numbers") from None
    if len(numbers) != 3:
        raise bad_file(name, f"holds {len(numbers)} voxel sizes instead of 3")
    low, high = SPACING_LIMITS_MM
    for number in numbers:
        if not low <= number <= high:  # also false for NaN
            raise bad_file(
                name, f"gives a voxel size of {number:g} mm, not one of {low:g}..{high:g}"
            )
    return numbers[0], numbers[1], numbers[2]


def _read(
    data: bytes, name: str, *, with_values: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    if b"\r" in data:  # a Windows clone may have changed the line ends
        data = data.replace(b"\r\n", b"\n")
    if not data.strip():
        raise bad_file(name, "is empty")
    if not data.endswith(b"\n"):
        raise bad_file(name, "ends in the middle of a line")
    if not data.startswith(_HEADER):
        raise bad_file(name, "does not start with the header ',data'")
    if len(data) == len(_HEADER):
        raise bad_file(name, "lists no voxel")
    parsed = _parse_at_once(data, with_values) or _parse_by_line(data, name, with_values)
    indices, _ = parsed
    if not (np.diff(indices) > 0).all():  # sorted files, the usual case, cannot repeat a voxel
        seen = np.bincount(indices)
        if seen.max() > 1:
            raise bad_file(name, f"lists voxel {seen.argmax()} more than once")
    return parsed


def _parse_at_once(
    data: bytes, with_values: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Parse rows of plain whole numbers with pandas; None for a file that holds anything else."""
    import pandas as pd

    rows = data[len(_HEADER) :]
    # pandas is lenient: with blanks, signs and quotes, with ".0" as an index. Without these there
    # are only missing cells left to find, which become NaN.
    odd = rows.translate(None, b"0123456789.,\n") or b"\n." in data
    if odd or rows.count(b",") != rows.count(b"\n"):
        return None
    types = {0: np.int64, 1: np.float64}
    try:
        with np.errstate(invalid="ignore"):  # of a missing index, which then raises
            table = pd.read_csv(
                io.BytesIO(rows), header=None, dtype=types, skip_blank_lines=False, low_memory=False
            )
    except (ValueError, OverflowError):
        return None
    if table.shape[1] != len(types) or table[0].max() >= VOXELS:
        return None
    indices, values = table[0].to_numpy(np.int32), table[1].to_numpy()
    if not with_values:
        return (indices, np.empty(0, np.int32)) if np.isnan(values).all() else None
    # Also false for NaN; a larger value than any CT's is left to the other parser.
    if not ((values == np.rint(values)) & (values <= _INT16.max + CT_OFFSET)).all():
        return None
    return indices, values.astype(np.int32)


def _parse_by_line(
    data: bytes, name: str, with_values: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    indices, values = [], []
    for number, line in enumerate(data.decode("ascii", "replace").splitlines()[1:], start=2):
        where = f"(line {number})"
        cells = line.split(",")
        if len(cells) != 2 or not re.fullmatch(r"-?\d{1,18}(\.0*)?", cells[0]):
            raise bad_file(name, f"has a row that is not 'index,value' {where}")
        index = int(cells[0].partition(".")[0])
        if not 0 <= index < VOXELS:
            raise bad_file(name, f"has the voxel index {index} outside 0..{VOXELS - 1} {where}")
        indices.append(index)
        if not with_values:
            if cells[1]:
                raise bad_file(name, f"holds values where a mask has voxel indices only {where}")
            continue
        try:
            value = float(cells[1])
        except ValueError:
            raise bad_file(name, f"has {cells[1]!r} where a number belongs {where}") from None
        if not math.isfinite(value) or value != int(value):
            raise bad_file(name, f"has the CT value {cells[1]}, no whole number {where}")
        if abs(value) > np.iinfo(np.int32).max - CT_OFFSET:
            raise bad_file(name, f"has the impossible CT value {cells[1]} {where}")
        values.append(int(value))
    return np.array(indices, np.int32), np.array(values, np.int32)
