"""Formulas drawn by matplotlib into the page: no script, no fonts and no network, and alike in every browser."""

from __future__ import annotations

from functools import lru_cache
from html import escape

from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

SIZE = 100  # units per em
_COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def setup(app: Sphinx) -> dict[str, object]:
    """Register the renderer; `html_math_renderer = "formulas"` chooses it."""
    app.add_html_math_renderer("formulas", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(drawn(node.astext()))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{drawn(node.astext())}</div>\n')
    raise nodes.SkipNode


@lru_cache
def drawn(formula: str) -> str:
    """A formula in TeX's language as an SVG that stands on the line and has the colour of the text around it."""
    text = f"${' '.join(formula.split())}$"
    font = FontProperties(size=SIZE, math_fontfamily="stix")
    width, height, depth = MathTextParser("path").parse(text, dpi=72, prop=font)[:3]
    outline = TextPath((0, 0), text, size=SIZE, prop=font)
    pieces = []
    for points, code in outline.iter_segments(simplify=False, curves=True):
        numbers = [f"{-value if odd % 2 else value:.4g}" for odd, value in enumerate(points)]
        pieces.append(_COMMANDS[code] + ("" if code == Path.CLOSEPOLY else " ".join(numbers)))
    size = f"width:{width / SIZE:.3f}em;height:{(height + depth) / SIZE:.3f}em;vertical-align:{-depth / SIZE:.3f}em"
    return (
        f'<svg class="math" role="img" aria-label="{escape(formula, quote=True)}" style="{size}" '
        f'viewBox="0 {-height:.4g} {width:.4g} {height + depth:.4g}"><path d="{"".join(pieces)}"/></svg>'
    )
