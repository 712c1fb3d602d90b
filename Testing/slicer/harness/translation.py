"""Stand-in for `slicer.i18n`."""

import re
import sys
from pathlib import Path


def translate(context: str, text: str) -> str:
    """Translate a text of the given context into the language of the application."""
    import slicer

    return slicer.app.translate(context, text)


def tr(text: str) -> str:
    """Translate a text; the context is made from the caller's file, as Slicer does.

    A translation that lost or renamed a placeholder is not used.
    """
    translated = translate(_contextOf(sys._getframe(1).f_code.co_filename), text)
    return translated if _placeholders(text) == _placeholders(translated) else text


def getContext(sourceFile: str) -> str:
    """Translation context of a source file: its name, after its package if it is in one."""
    return _contextOf(sourceFile)


def _contextOf(sourceFile: str) -> str:
    path = Path(sourceFile)
    inPackage = (path.parent / "__init__.py").is_file()
    return f"{path.parent.name}.{path.stem}" if inPackage else path.stem


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", text))
