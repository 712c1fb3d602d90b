"""Draw docs/pictures/method.svg: how TopoMAE pre-trains, fine-tunes and segments.

    python docs/figures/method.py

Colours are Okabe and Ito's, some darker to be read on white. Nothing is told by colour alone.
"""

from html import escape
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "pictures" / "method.svg"
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#B84A00", "#00795a", "#5b6670"
WIDTH, HEIGHT = 1000, 668
BLOCK = 15  # pixels of a block of the mask
HIDDEN = ("1101", "1110", "0111", "1011")  # 12 of 16 blocks: 75 %


def main() -> None:
    """Draw the picture."""
    parts = [*frame(), *pretraining(), *finetuning(), *use()]
    style = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',Arial,sans-serif"
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{style}" role="img" '
        'aria-label="Pre-training with two branches, fine-tuning of both together, and use">\n'
        + "\n".join(parts)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def frame() -> list[str]:
    """White ground, tips of arrows, and the three panels."""
    tips = "".join(
        f'<marker id="tip{colour[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
        for colour in (BLUE, VERMILLION, GREEN, GREY)
    )
    return [
        f"<defs>{tips}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>',
        *panel(10, 10, 980, 388, "1  Pre-train: all your volumes, no labels"),
        *panel(10, 410, 484, 248, "2  Fine-tune: the few labelled volumes"),
        *panel(506, 410, 484, 248, "3  Segment, and look"),
    ]


def pretraining() -> list[str]:
    """A crop, masked, goes through both branches; what they say is compared with what is true."""
    return [
        *volume(40, 120, crop=True),
        text(85, 252, "volume"),
        text(85, 270, "and a crop of it", GREY),
        arrow(150, 180, 184, 180, GREY),
        *mask(190, 150),
        text(220, 252, "the crop,"),
        text(220, 270, "75 % hidden", GREY),
        arrow(256, 170, 306, 124, BLUE),
        arrow(256, 190, 306, 258, VERMILLION),
        *box(310, 79, 208, 74, BLUE, "Masked autoencoder", "ViT: sees visible blocks only"),
        *box(310, 229, 208, 74, VERMILLION, "UNETR++", "sees zeros in hidden blocks"),
        *outputs(116, BLUE, words_at=86),
        *outputs(266, VERMILLION, words_at=306),
        both(566, 150, 566, 230, GREEN),
        both(673, 150, 673, 230, GREEN),
        text(620, 186, "consistency:", GREEN),
        text(620, 204, "both agree", GREEN),
        arrow(712, 122, 748, 150, BLUE),
        arrow(712, 262, 748, 234, VERMILLION),
        *box(752, 72, 226, 62, GREEN, "Reconstruction loss", "hidden voxels, squared error"),
        *box(752, 150, 226, 82, GREEN, "Topological loss", "persistence diagrams of crop", "and reconstruction"),
        *box(752, 248, 226, 82, GREEN, "Spatial loss", "centre and 8 corners:", "where in the volume?"),
        text(500, 352, "Optional: alignment of two views of a crop, and of crops of different people", GREY),
        text(500, 372, "(modalities that look different, the same place in the body)", GREY),
    ]


def outputs(y: int, colour: str, words_at: int) -> list[str]:
    """What a branch says: a reconstruction and nine key points."""
    points = [(0, 0), (26, 0), (0, 26), (26, 26), (17, 9), (8, -8), (34, -8), (8, 18), (34, 18)]
    return [
        arrow(518, y, 540, y, colour),
        *blocks(546, y - 20, 10, filled=lambda row, column: True, colour=colour),
        *[f'<circle cx="{656 + x}" cy="{y - 9 + z}" r="3.4" fill="{colour}"/>' for x, z in points],
        text(566, words_at, "reconstruction", colour, 12),
        text(673, words_at, "9 key points", colour, 12),
    ]


def finetuning() -> list[str]:
    """Features of the ViT are added to those of UNETR++."""
    return [
        *volume(34, 500),
        text(79, 632, "labelled volume"),
        arrow(140, 530, 172, 498, BLUE),
        arrow(140, 560, 172, 590, VERMILLION),
        *box(176, 466, 134, 58, BLUE, "ViT encoder", "pre-trained"),
        *box(176, 560, 134, 58, VERMILLION, "UNETR++", "pre-trained"),
        f'<circle cx="341" cy="556" r="13" fill="#fff" stroke="{GREY}" stroke-width="2"/>',
        text(341, 562, "+", GREY, 18),
        arrow(310, 502, 334, 542, BLUE),
        arrow(310, 584, 329, 568, VERMILLION),
        arrow(355, 556, 374, 556, GREY),
        *box(378, 516, 108, 80, GREEN, "Labels", "Dice +", "cross-entropy"),
        text(243, 546, "added from zero on", GREY, 12),
    ]


def use() -> list[str]:
    """One network segments; its result is looked at from several sides."""
    return [
        *volume(530, 500),
        text(575, 632, "new volume"),
        arrow(632, 546, 650, 546, GREY),
        *box(654, 510, 112, 72, GREY, "The model", "in your folder"),
        arrow(766, 546, 780, 546, GREY),
        *box(784, 452, 196, 44, GREEN, "Segmentation"),
        *box(784, 504, 196, 44, GREEN, "Persistence diagrams"),
        *box(784, 556, 196, 44, GREEN, "Betti numbers, islands"),
        *box(784, 608, 196, 40, GREEN, "Report"),
    ]


def panel(x: int, y: int, width: int, height: int, title: str) -> list[str]:
    """A rounded frame with a title."""
    return [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#f7f9fb" stroke="#d5dae0"/>',
        text(x + 18, y + 30, title, "#1d2329", 18, anchor="start", bold=True),
    ]


def box(x: int, y: int, width: int, height: int, colour: str, title: str, *lines: str) -> list[str]:
    """A rounded box with a title and further lines."""
    middle, rows = x + width / 2, 1 + len(lines)
    first = y + height / 2 - 9.5 * (rows - 1) + 5
    return [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="#fff" stroke="{colour}" '
        'stroke-width="2"/>',
        text(middle, first, title, colour, 14, bold=True),
        *[text(middle, first + 19 * (row + 1), line, "#1d2329", 13) for row, line in enumerate(lines)],
    ]


def text(
    x: float,
    y: float,
    words: str,
    colour: str = "#1d2329",
    size: float = 13.5,
    anchor: str = "middle",
    bold: bool = False,
) -> str:
    """One line of words."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(words)}</text>"
    )


def arrow(x1: int, y1: int, x2: int, y2: int, colour: str) -> str:
    """A line with a tip at its end."""
    return (
        f'<path d="M{x1} {y1} {x2} {y2}" stroke="{colour}" stroke-width="2" fill="none" '
        f'marker-end="url(#tip{colour[1:]})"/>'
    )


def both(x1: int, y1: int, x2: int, y2: int, colour: str) -> str:
    """A line with a tip at both ends."""
    return arrow(x1, y1, x2, y2, colour).replace("marker-end", f'marker-start="url(#tip{colour[1:]})" marker-end')


def volume(x: int, y: int, crop: bool = False) -> list[str]:
    """A box in perspective, with a smaller one in it."""
    parts = [prism(x, y + 24, 78, 76, 24, GREY, "#eef1f4")]
    if crop:
        parts.append(prism(x + 30, y + 46, 30, 30, 10, GREEN, "#d9f0e8"))
    return parts


def prism(x: int, y: int, width: int, height: int, depth: int, line: str, fill: str) -> str:
    """Front, top and side of a box."""
    front = f"M{x} {y}h{width}v{height}h-{width}z"
    top = f"M{x} {y}l{depth * 0.7:g}-{depth * 0.7:g}h{width}l-{depth * 0.7:g} {depth * 0.7:g}z"
    side = f"M{x + width} {y}l{depth * 0.7:g}-{depth * 0.7:g}v{height}l-{depth * 0.7:g} {depth * 0.7:g}z"
    return f'<path d="{front}{top}{side}" fill="{fill}" stroke="{line}" stroke-width="1.6" stroke-linejoin="round"/>'


def mask(x: int, y: int) -> list[str]:
    """A crop of 4 × 4 blocks, hidden ones hatched."""
    return blocks(x, y, BLOCK, filled=lambda row, column: HIDDEN[row][column] == "0", colour=GREEN)


def blocks(x: int, y: int, size: int, filled: object, colour: str) -> list[str]:
    """4 × 4 blocks, of which some are filled and the others grey."""
    return [
        f'<rect x="{x + column * size}" y="{y + row * size}" width="{size}" height="{size}" stroke="#fff" '
        f'fill="{colour if filled(row, column) else "#c9d0d6"}"/>'
        for row in range(4)
        for column in range(4)
    ]


if __name__ == "__main__":
    main()
