"""A look at the elements of a DICOM file, before a library takes the memory that their lengths ask for.

Layout: DICOM PS3.5, section 7 (data elements, sequences) and annex A (transfer syntaxes); PS3.10, section 7.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

from topomae.errors import BadDataError

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_ITEM_BYTES = b"\xfe\xff\x00\xe0"  # implicit kinds of values are always stored little-endian
_TRANSFER_SYNTAX, _SERIES, _PIXELS = (0x0002, 0x0010), (0x0020, 0x000E), (0x7FE0, 0x0010)
_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS = (
    (0x0028, 0x0002),
    (0x0028, 0x0008),
    (0x0028, 0x0010),
    (0x0028, 0x0011),
    (0x0028, 0x0100),
)
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
# Files of the time before PS3.10 begin with an element of one of these groups, in either order of bytes.
_FIRST_GROUPS = (b"\2\0", b"\x08\0", b"\0\x08")
_KINDS = _LONG | set(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_DEEPEST = 64  # sequences in sequences
_MOST_PACKED = 1 << 26  # bytes of pixels that a compressed slice may become, however small its file
_MOST_EXPANSION = 1032


@dataclass
class _Found:
    """What of a file says where it belongs, and how much memory its pixels take."""

    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    series: str = ""
    pixels: int | None = None  # bytes, as stored
    packed: bool = False


class _Lost(Exception):
    """The elements cannot be followed any more. (Libraries guess on, and take memory for what they guess.)"""


def series_of(path: Path) -> str:
    """Return the id of the series that a DICOM file belongs to; "" if it is no DICOM file, or states none.

    Libraries that look for series themselves open every file of a folder and guess what is in it; so may it
    be opened by them only if this gives an id.

    Raises:
        BadDataError: the file is cut short or damaged: an element is longer than the file, or there are fewer
            pixels than its header declares.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        if not file.read(1):
            return ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _Elements(content, path).look()
    _check_pixels(found, path)
    return found.series


class _Elements:
    """Follows the elements of one file."""

    def __init__(self, content: mmap.mmap, path: Path):
        self._content, self._path = content, path
        self._order, self._explicit = "<", True
        self._found = _Found()

    def look(self) -> _Found:
        """Go through all elements."""
        start = 132 if self._content[128:132] == b"DICM" else 0
        if not start and self._content[:2] not in _FIRST_GROUPS:
            return self._found
        try:
            start, syntax = self._meta(start)
            if syntax == _DEFLATED:
                raise BadDataError(
                    "a DICOM file whose elements are compressed as a whole (deflated)",
                    hint="Convert the series to NIfTI, for instance with dcm2niix.",
                    path=self._path,
                )
            swapped = syntax == _BIG_ENDIAN or (not syntax and self._content[start : start + 2] == b"\0\x08")
            self._order = ">" if swapped else "<"
            self._explicit = self._content[start + 4 : start + 6].isalpha() if not syntax else syntax != _IMPLICIT
            self._elements(start, len(self._content), 0)
        except (_Lost, struct.error):  # struct.error: the file ends inside of a tag
            raise BadDataError(
                "the elements of the DICOM file cannot be told apart",
                hint="It is damaged: copy the series again, or convert it to NIfTI, for instance with dcm2niix.",
                path=self._path,
            ) from None
        return self._found

    def _meta(self, place: int) -> tuple[int, str]:
        """Pass over the group of elements about the file itself: where it ends, and the transfer syntax."""
        syntax = ""
        while self._content[place : place + 2] == b"\2\0":
            tag, _, length, place = self._head(place)
            self._check_length(tag, length, place)
            if tag == _TRANSFER_SYNTAX:
                syntax = self._text(place, length)
            place += length
        return place, syntax

    def _elements(self, place: int, end: int, depth: int) -> int:
        """Go through elements up to `end`, or to the mark that ends an item; returns the place behind."""
        if depth > _DEEPEST:
            raise BadDataError("the DICOM file is nested too deeply", hint="Copy the series again.", path=self._path)
        while place < end:
            if not depth and self._only_zeros(place):
                return end  # files are padded with them sometimes
            tag, kind, length, place = self._head(place)
            if tag in (_ITEM_END, _SEQUENCE_END):
                return place
            if tag == _PIXELS and not depth:
                self._found.packed, self._found.pixels = length == _UNDEFINED, length
            if length == _UNDEFINED:
                begin = place
                place = self._items(place, end, depth, raw=tag == _PIXELS, implicit=kind == b"UN")
                if tag == _PIXELS and not depth:
                    self._found.pixels = place - begin
                continue
            self._check_length(tag, length, place)
            nested = not self._explicit and self._content[place : place + 4] == _ITEM_BYTES and tag != _PIXELS
            if kind == b"SQ" or nested:
                self._items(place, place + length, depth, raw=False, implicit=False)
            elif not depth and tag in (_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS):
                self._found.numbers[tag] = self._number(tag, place, length)
            elif not depth and tag == _SERIES:
                self._found.series = self._text(place, length)
            place += length
        return place

    def _items(self, place: int, end: int, depth: int, *, raw: bool, implicit: bool) -> int:
        """Go through the items of a sequence, or the fragments of compressed pixels; returns the place behind."""
        explicit, self._explicit = self._explicit, self._explicit and not implicit
        while place < end:
            tag, _, length, place = self._head(place)
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM:
                raise _Lost
            if length != _UNDEFINED:
                self._check_length(tag, length, place)
            if raw:
                place += length
            else:
                last = len(self._content) if length == _UNDEFINED else place + length
                place = self._elements(place, last, depth + 1)
        self._explicit = explicit
        return place

    def _head(self, place: int) -> tuple[tuple[int, int], bytes, int, int]:
        """Tag, kind of values ("" where it is not said), length and place of the values of an element."""
        tag = struct.unpack_from(f"{self._order}HH", self._content, place)
        if tag[0] == 0xFFFE or not self._explicit:
            return tag, b"", struct.unpack_from(f"{self._order}I", self._content, place + 4)[0], place + 8
        kind = self._content[place + 4 : place + 6]
        if kind not in _KINDS:
            raise _Lost
        if kind in _LONG:
            return tag, kind, struct.unpack_from(f"{self._order}I", self._content, place + 8)[0], place + 12
        return tag, kind, struct.unpack_from(f"{self._order}H", self._content, place + 6)[0], place + 8

    def _check_length(self, tag: tuple[int, int], length: int, place: int) -> None:
        left = len(self._content) - place
        if length > left:
            raise BadDataError(
                f"the DICOM element ({tag[0]:04x},{tag[1]:04x}) claims {length:,} bytes where {left:,} are left",
                hint="The file is cut short or damaged: copy the series again.",
                path=self._path,
            )

    def _only_zeros(self, place: int) -> bool:
        return not self._content[place : place + 8].strip(b"\0") and not self._content[place:].strip(b"\0")

    def _text(self, place: int, length: int) -> str:
        return self._content[place : place + length].decode("latin-1").strip("\0 ")

    def _number(self, tag: tuple[int, int], place: int, length: int) -> int:
        """The value of an element that counts; 0 if it is none."""
        if tag == _FRAMES:
            text = self._content[place : place + min(length, 12)].strip(b"\0 ")
            return int(text) if text.isdigit() else 0
        return struct.unpack_from(f"{self._order}H", self._content, place)[0] if length >= 2 else 0


def _check_pixels(found: _Found, path: Path) -> None:
    """Refuse a header that declares more pixels than there are."""
    if found.pixels is None:
        return
    rows, columns = found.numbers.get(_ROWS, 0), found.numbers.get(_COLUMNS, 0)
    samples, frames = (max(1, found.numbers.get(tag, 1)) for tag in (_SAMPLES, _FRAMES))
    declared = rows * columns * samples * frames * found.numbers.get(_BITS, 8) // 8
    most = max(_MOST_PACKED, _MOST_EXPANSION * found.pixels) if found.packed else found.pixels
    most *= 1 if samples == 1 else 2  # colours may be stored for every second pixel only
    if declared > most:
        raise BadDataError(
            f"the DICOM header declares {declared:,} bytes of pixels, more than the {found.pixels:,} bytes stored",
            hint="The file is cut short or damaged: copy the series again.",
            path=path,
        )
