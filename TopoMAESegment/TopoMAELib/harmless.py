"""Names and paths from files that may come from anywhere, made harmless for what is done with them.

Qt guesses whether a tool tip or a message is HTML, a spreadsheet whether a cell is a formula. Labels and message
boxes are told that theirs is plain text; for what cannot be told so, there is this.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path, PureWindowsPath

_LONGEST_NAME = 200  # letters
_TAG = re.compile(r"<(?=[A-Za-z/!?])|&(?=[A-Za-z#])")
_JOINERS = "\u200c\u200d"  # Persian, Indian scripts and emoji need them
# As `topomae.harmless` has it; Slicer must not import the engine.
_FORMULA = re.compile(
    r"(^|[;,\t\r\n])(?='*[=+\-@\t\r\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    r"\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}])"
)


def cleanName(text: object) -> str:
    """A name for nodes, segments and widgets of Slicer, some of which take a text for HTML if it looks like it.

    Args:
        text: as it was read.
    Returns:
        One line without what cannot be seen, at most 200 letters; what begins a tag is replaced by a like letter.
    """
    visible = "".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in str(text))
    name = _TAG.sub(lambda found: "‹" if found.group() == "<" else "＆", " ".join(visible.split()))
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def asToolTip(text: str) -> str:
    """A text as a tool tip: what looks like markup in it is shown as it is, and long lines are wrapped."""
    return "<p>" + html.escape(text).replace("\n", "</p><p>") + "</p>"


def plainToolTip(text: str) -> str:
    """A short text as a tool tip, as it is unless it could be taken for markup."""
    return asToolTip(text) if "<" in text or "&" in text else text


def spreadsheetCell(text: str) -> str:
    """A text for a cell of a CSV file that no spreadsheet takes for a formula: an apostrophe is put before it."""
    return _FORMULA.sub(r"\1'", text)


def isElsewhere(path: str, besides: str | Path) -> bool:
    """Whether a path that a file names lies on another computer than the file.

    Merely looking whether it exists would make Windows log in there, with the user's name and password hash.

    Args:
        path: what the file says.
        besides: the file that says it, or its folder.
    """
    drive = PureWindowsPath(path).drive
    return drive.startswith(("\\\\", "//")) and drive.casefold() != PureWindowsPath(besides).drive.casefold()


def linkLeadingOut(folder: str | Path) -> str:
    """The first thing in a folder that is a link leading out of it, or neither a file nor a folder.

    Whoever writes to a file of that name would write somewhere else, or wait for ever.

    Args:
        folder: of a run, which may have been copied from elsewhere. It may itself be reached by a link.
    Returns:
        Its path relative to the folder; "" if there is none.
    """
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(place, name)
            if os.path.islink(path):
                target = os.path.realpath(path)
                if target != root and not target.startswith(root + os.sep):
                    return os.path.relpath(path, root)
            elif os.path.lexists(path) and not os.path.isfile(path) and not os.path.isdir(path):
                return os.path.relpath(path, root)
    return ""
