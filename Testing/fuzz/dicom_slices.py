"""A tiny DICOM series, written element by element (DICOM PS3.5, section 7.1), the same every time."""

from __future__ import annotations

import struct
from functools import cache

import numpy as np

EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_LONG = ("OB", "OW", "SQ", "UN")
_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def element(group: int, number: int, kind: str, value: bytes | str | int, syntax: str = EXPLICIT) -> bytes:
    """One element; numbers are unsigned and of 16 bits, texts are padded to an even length."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    if isinstance(value, int):
        value = struct.pack(f"{order}H", value)
    if isinstance(value, str):
        value = value.encode() + (b"" if len(value) % 2 == 0 else b"\0" if kind == "UI" else b" ")
    tag = struct.pack(f"{order}HH", group, number)
    if syntax == IMPLICIT:
        return tag + struct.pack("<I", len(value)) + value
    if kind in _LONG:
        return tag + kind.encode() + bytes(2) + struct.pack(f"{order}I", len(value)) + value
    return tag + kind.encode() + struct.pack(f"{order}H", len(value)) + value


def a_slice(place: int, syntax: str = EXPLICIT) -> bytes:
    """One of the slices of an MR series, 3 mm apart: 6 rows of 8 pixels, with rescale slope and intercept."""
    pixels = (np.arange(48) * (place + 1) % 50).astype(">i2" if syntax == BIG_ENDIAN else "<i2")
    elements = [
        (0x0008, 0x0016, "UI", _MR_IMAGE),
        (0x0008, 0x0018, "UI", f"1.2.3.4.{place + 1}"),
        (0x0008, 0x0060, "CS", "MR"),
        (0x0008, 0x103E, "LO", "T1"),
        (0x0008, 0x1140, "SQ", _item(syntax)),
        (0x0020, 0x000D, "UI", "1.2.3"),
        (0x0020, 0x000E, "UI", "1.2.3.4"),
        (0x0020, 0x0011, "IS", "4"),
        (0x0020, 0x0013, "IS", str(place + 1)),
        (0x0020, 0x0032, "DS", f"-10\\20\\{3 * place}"),
        (0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"),
        (0x0028, 0x0002, "US", 1),
        (0x0028, 0x0004, "CS", "MONOCHROME2"),
        (0x0028, 0x0010, "US", 6),
        (0x0028, 0x0011, "US", 8),
        (0x0028, 0x0030, "DS", "0.9\\0.8"),
        (0x0028, 0x0100, "US", 16),
        (0x0028, 0x0101, "US", 16),
        (0x0028, 0x0102, "US", 15),
        (0x0028, 0x0103, "US", 1),
        (0x0028, 0x1052, "DS", "-5"),
        (0x0028, 0x1053, "DS", "2"),
        (0x7FE0, 0x0010, "OW", pixels.tobytes()),
    ]
    about = element(2, 1, "OB", b"\0\1") + element(2, 2, "UI", _MR_IMAGE) + element(2, 0x10, "UI", syntax)
    head = bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<I", len(about))) + about
    return head + b"".join(element(*one, syntax) for one in elements)


def _item(syntax: str) -> bytes:
    """An item of a sequence, of undefined length, with one element in it."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    inside = element(0x0008, 0x1150, "UI", _MR_IMAGE, syntax)
    begin, end = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0)
    return begin + inside + end


@cache
def three_slices() -> tuple[bytes, ...]:
    """The three slices of the series, stored in the usual way."""
    return tuple(a_slice(place) for place in range(3))
