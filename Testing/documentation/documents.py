"""The documents of the repository as their readers find them: files of Markdown with links and blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def documents() -> list[Path]:
    """Every page, and the documents at the top of the repository."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def blocks(document: Path, *languages: str) -> list[str]:
    """Blocks of code in one of these languages ("" for those without)."""
    found = _BLOCK.findall(document.read_text(encoding="utf-8"))
    return [code for language, code in found if language in languages]


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor that each link within the repository leads to."""
    text = _BLOCK.sub("", document.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        path, _, anchor = target.partition("#")
        yield (document.parent / path if path else document).resolve(), anchor


def anchors(document: Path) -> set[str]:
    """What links to headings of a document may name, as GitHub and the site make it of them."""
    text = _BLOCK.sub("", document.read_text(encoding="utf-8"))
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}
