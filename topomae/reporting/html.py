"""HTML in which every text is escaped unless it was built here, and the frame of a complete page."""

from __future__ import annotations

import base64
from html import escape

from topomae.harmless import printable

# Nothing may be fetched, run, or sent anywhere, whatever a name or message contains.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

# Okabe and Ito's colours, told apart with every kind of colour vision. The label is drawn as a full line and
# the prediction as a dashed one, so that the pictures also work in grey.
LABEL_COLOUR = "#E69F00"
PREDICTION_COLOUR = "#56B4E9"
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# As matplotlib names them. Their number has no common divisor with that of the colours: 35 curves all differ.
SERIES_LINES = ("-", "--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)))

_STYLE = """
:root { color-scheme: light; --line: #d5dae0; --soft: #f4f6f8; --text: #1d2329; --quiet: #5b6670; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--text); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; max-width: 48rem; }
.quiet { color: var(--quiet); font-size: .9rem; }
.cards { display: grid; gap: .6rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.card { background: var(--soft); border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card small { color: var(--quiet); }
.notice { border-left: 4px solid #D55E00; background: #fdf3ec; padding: .5rem .9rem; margin: .8rem 0; }
.notice ul { margin: .2rem 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; margin: .6rem 0;
  /* A shadow at a side where more of the table lies: the white ends move with the table, the shadows stay. */
  background: linear-gradient(to right, #fff 40%, #fff0) left / 3rem 100% no-repeat local,
    linear-gradient(to left, #fff 40%, #fff0) right / 3rem 100% no-repeat local,
    linear-gradient(to right, #0003, #0000) left / .8rem 100% no-repeat scroll,
    linear-gradient(to left, #0003, #0000) right / .8rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--soft); text-align: right; }
th:first-child, td:first-child, td.text, th.text { text-align: left; overflow-wrap: normal; }
td.long { white-space: normal; min-width: 9rem; text-align: left; }
td.name > span { display: block; white-space: normal; width: max-content; max-width: 16rem;
  overflow-wrap: anywhere; }
.tall { max-height: 34rem; overflow-y: auto; }
.tall th { position: sticky; top: 0; z-index: 1; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .6rem 0; }
nav a { color: #0072B2; }
tr.bad td:first-child { box-shadow: inset 4px 0 #D55E00; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
.curves, .previews { display: grid; gap: .5rem; align-items: start; }
.curves { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.previews { grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); max-width: 60rem; }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; border-radius: .25rem; }
figcaption { font-size: .85rem; color: var(--quiet); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .92rem; margin: .5rem 0; }
.legend i { display: inline-block; width: 2rem; height: 0; border-top: 3px solid; vertical-align: middle;
  margin-right: .4rem; }
.legend i.dashed { border-top-style: dashed; }
.key { background: #30363d; color: #fff; display: inline-flex; align-items: center;
  border-radius: .3rem; padding: .2rem .7rem; }
details > summary { cursor: pointer; }
svg.strip { display: block; min-width: 9rem; width: 10rem; height: 1.6rem; }
@media screen and (max-width: 37.5rem) {
  body { padding: .75rem; }
  .cards { grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
  th, td { padding: .3rem .45rem; }
  td.text, td.long { white-space: normal; }
  td.long { min-width: 6.5rem; }
  .wide img { min-width: 36rem; }
  td.name > span { max-width: 8rem; }
  .scroll thead + tbody td:first-child, .scroll thead th:first-child { position: sticky; left: 0; background: #fff; }
  .scroll thead th:first-child { background: var(--soft); z-index: 2; }
  .curves { grid-template-columns: 1fr; }
  .previews { grid-template-columns: 1fr; }
  .previews > div { display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem; align-items: center; }
  .previews > div > p { grid-column: 1 / -1; } }
@media print {
  .tall { max-height: none; }
  nav { display: none; }
  h2 { break-after: avoid; } .case { break-inside: avoid; } }
"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. Children are escaped unless they are `Markup`; None is left out, lists are flattened.

    Args:
        name: of the element.
        children: text, numbers, `Markup`, or lists of these.
        attributes: `class_` stands for `class`, other underscores for hyphens; None is left out.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "meta", "br"):
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{join(children)}</{name}>")


def join(children: object) -> Markup:
    """Escape and join, see `tag`."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, (list, tuple)):
        return Markup("".join(join(child) for child in children))
    return Markup(_escaped(children))


def _escaped(value: object) -> str:
    """As text of HTML; also without what browsers do not show but act upon, such as a turned direction of writing."""
    return escape(printable(str(value)), quote=True)


def name_cell(name: str) -> Markup:
    """A table cell for a name of any length."""
    return tag("td", tag("span", name), class_="name")


def table(header: list[object], rows: list[Markup], *, tall: bool = False) -> Markup:
    """A table that scrolls sideways on a narrow screen.

    Args:
        header: texts or ready `th` elements; empty for none.
        rows: from `row`.
        tall: many rows: scroll inside, with the header in view.
    """
    cells = [cell if isinstance(cell, Markup) else tag("th", cell, scope="col") for cell in header]
    head = tag("thead", tag("tr", cells)) if cells else None
    told = tag("table", head, tag("tbody", rows))
    return tag("div", told, class_="scroll tall" if tall else "scroll", tabindex="0")


def row(*cells: object, class_: str | None = None) -> Markup:
    """A table row; cells may be texts or ready `td` elements."""
    ready = [c if isinstance(c, Markup) and c.startswith("<td") else tag("td", c) for c in cells]
    return tag("tr", ready, class_=class_)


def picture(
    data: bytes, alt: str, caption: object = None, *, kind: str = "png", aspect: float | None = None
) -> Markup:
    """A figure with the picture inside the page.

    Args:
        data: PNG or SVG file content.
        alt: what it shows, for those who do not see it.
        caption: text or `Markup` under it.
        kind: "png" or "svg".
        aspect: width by height; pictures in one row that have it get the same height.
    """
    mime = {"png": "image/png", "svg": "image/svg+xml"}[kind]
    source = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
    style = None
    if aspect is not None:
        style = f"flex:{aspect:.3f} 1 {11 * aspect:.2f}rem;max-width:{24 * aspect:.2f}rem"
    caption = tag("figcaption", caption) if caption else None
    return tag("figure", tag("img", src=source, alt=alt), caption, style=style)


def notice(sentences: list[str]) -> Markup | None:
    """A box of things to know; None if there are none."""
    if not sentences:
        return None
    return tag("div", tag("ul", [tag("li", sentence) for sentence in sentences]), class_="notice", role="note")


def card(name: str, value: str, detail: str = "") -> Markup:
    """One headline number."""
    return tag("div", tag("small", name), tag("b", value), tag("small", detail), class_="card")


def page(title: str, body: list[object]) -> str:
    """A complete HTML document."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", title),
        Markup(f"<style>{_STYLE}</style>"),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", tag("main", body)), lang="en") + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading; a dash where it is not defined."""
    if value is None or value != value:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
