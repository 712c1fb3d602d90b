"""Names and messages from files, made harmless for where they go: terminal, page, spreadsheet, file name."""

from __future__ import annotations

import os
import re
import unicodedata

_NOT_IN_FILE_NAMES = '\0/\\:*?"<>|' if os.name == "nt" else "\0/\\"
_LONGEST_FILE_NAME = 230  # bytes; systems take 255, and a temporary name is a little longer
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)
_TURNERS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # turn the direction of writing
_MARKDOWN = re.compile(r"([\\`*\[\]<>|&])")  # what begins something else than text
_JOINERS = "\u200c\u200d"  # Persian, Indian scripts and emoji need them; they move nothing
# What a spreadsheet takes for the begin of a formula, also where it parts cells at ";" or tabs.
_FORMULA = re.compile(r"(^|[;,\t\r\n])(?='*[=+\-@\t\r\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
                      r"\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}])")  # fmt: skip
_QUOTED_FORMULA = re.compile(_FORMULA.pattern.replace("(?='*", "'(?='*"))


def printable(text: str) -> str:
    """The text without control characters, so that no name can steer a terminal or turn the direction of writing."""
    return "".join(letter if letter.isprintable() or letter in "\n" + _JOINERS else "\ufffd" for letter in text)


def markdown_text(text: str) -> str:
    """A text for one line of a Markdown file, of which nothing is taken for Markdown or HTML."""
    return _MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))


def file_name_problem(name: str, ending: str) -> str:
    """Why a name cannot be a file name on every system, as the end of a sentence; empty if it can.

    Args:
        name: such as that of a case.
        ending: what is put behind it, such as ".nii.gz".
    """
    if name in ("", ".", "..") or any(letter in _NOT_IN_FILE_NAMES for letter in name):
        return "cannot be a file name"
    if any(unicodedata.category(letter) in ("Cc", "Cs") or letter in _TURNERS for letter in name):
        return "holds letters that cannot be seen"
    if _DEVICE.fullmatch(name.partition(".")[0].rstrip()):
        return "is that of a device on Windows"
    if len((name + ending).encode("utf-8", "surrogatepass")) > _LONGEST_FILE_NAME:
        return "is too long for a file name"
    return ""


def spreadsheet_cell(text: str) -> str:
    """A text for a cell of a CSV file that no spreadsheet takes for a formula: an apostrophe is put before it."""
    return _FORMULA.sub(r"\1'", text)


def text_of_cell(cell: str) -> str:
    """The text that `spreadsheet_cell` was given."""
    return _QUOTED_FORMULA.sub(r"\1", cell)
