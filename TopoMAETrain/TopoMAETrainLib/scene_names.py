"""Names: of nodes that belong together, of labels over several cases, of files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# What people and programs add to the name of a volume to name its segmentation.
_ADDED = re.compile(r"\b(segmentations?|seg|labels?|labelmap|mask|roi)\b")
# Names that Windows keeps for devices, whatever the suffix.
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)


def words(name: str) -> str:
    """A name without capitals and punctuation, to tell whether two names mean the same."""
    return " ".join(re.sub(r"[\W_]+", " ", name).split()).casefold()


def stem(name: str) -> str:
    """The words of a name without what says that it is a segmentation."""
    return " ".join(_ADDED.sub(" ", words(name)).split())


def without(name: str, part: str) -> str | None:
    """The words of a name without a word or words in it, such as that of a modality; None if it has no such words."""
    padded, wanted = f" {words(name)} ", f" {words(part)} "
    if not wanted.strip() or wanted not in padded:
        return None
    return " ".join(padded.replace(wanted, " ", 1).split())


def fileName(name: str) -> str:
    """A name that every system takes for a file: letters (Latin ones without accents), digits, `_`, `-` and `.`."""
    plain = "".join(_withoutAccent(letter) for letter in unicodedata.normalize("NFC", name))
    plain = re.sub(r"[^\w.-]+", "_", plain).strip("._-")[:80]
    # Systems count bytes, and the ending and the channel need some of their 255.
    plain = plain.encode()[:200].decode(errors="ignore")
    return f"{plain}_" if _DEVICES.match(plain) else plain or "case"


def _withoutAccent(letter: str) -> str:
    """A Latin letter without its accent; those of other scripts as they are, since nothing else tells cases apart."""
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or letter


def uniqueNames(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The names, with a number added where one is taken already; capitals make no difference."""
    used = {name.casefold() for name in taken}
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate.casefold() in used:
            candidate, number = f"{name}-{number}", number + 1
        used.add(candidate.casefold())
        unique.append(candidate)
    return unique
