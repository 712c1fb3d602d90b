"""The parts of the report about a training run: facts, plan, curves, previews."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topomae.data.plan import Normalization, Plan
from topomae.reporting.figures import curve_picture, group_curves, key_point_picture
from topomae.reporting.html import Markup, join, notice, number, picture, row, table, tag
from topomae.reporting.run_folder import Preview, RunFacts
from topomae.reporting.slices import preview_pictures

_MOST_WARNINGS = 20
_MOST_CURVES = 24
_MOST_HIDDEN_CURVES = 100  # of a damaged or malicious table, which would take for ever to draw
_VOXELS = ("crop_size", "patch_size", "stem_stride")


def run_section(title: str, run: RunFacts) -> Markup:
    """Facts, curves and previews of one run."""
    facts = [row(tag("td", name, class_="text"), tag("td", value, class_="long")) for name, value in run.facts]
    warnings = list(run.warnings[:_MOST_WARNINGS])
    if len(run.warnings) > _MOST_WARNINGS:
        warnings.append(f"... and {len(run.warnings) - _MOST_WARNINGS} more, see events.jsonl")
    return join(
        [
            tag("h2", title, id=title.lower()),
            tag("p", f"Run folder: {run.folder.name}", class_="quiet"),
            notice(warnings),
            table([], facts) if facts else None,
            _curves(run),
            _previews(run.previews),
        ]
    )


def plan_section(plan: Plan) -> Markup:
    """Every choice of the plan with its reason."""
    rows = [
        row(
            tag("td", name.replace("_", " "), class_="text"),
            tag("td", _shown(name, value), class_="long"),
            tag("td", plan.reasons.get(name, ""), class_="long"),
        )
        for name, value in plan
        if name not in ("reasons", "version")
    ]
    header = ["Setting", tag("th", "Value", class_="text"), tag("th", "Why", class_="text")]
    return join([tag("h2", "Plan", id="plan"), table(header, rows)])


def _shown(name: str, value: object) -> str:
    if name == "labels":
        return ", ".join(f"{number}: {label}" for number, label in value.items())
    if name == "normalization":
        return "; ".join(_normalization(one) for one in value)
    if name == "mirror_axes":
        return ", ".join(("left-right", "posterior-anterior", "foot-head")[axis] for axis in value) or "none"
    if name == "spacing":
        return " × ".join(f"{v:.4g}" for v in value) + " mm"
    if name in _VOXELS:
        return " × ".join(str(v) for v in value) + " voxels"
    return ", ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)


def _normalization(one: Normalization) -> str:
    if one.kind == "ct":
        return f"CT: {one.lower:g} to {one.upper:g} HU, mean {one.mean:.4g}, sd {one.sd:.4g}"
    return "robust, per volume"


def _curves(run: RunFacts) -> Markup:
    if not run.curves:
        return tag("p", "No curves yet.", class_="quiet")
    panels = list(group_curves(run.curves).items())
    left_out = len(panels) - _MOST_CURVES - _MOST_HIDDEN_CURVES
    panels = panels[: _MOST_CURVES + _MOST_HIDDEN_CURVES]
    figures = [
        picture(curve_picture(title.replace("_", " "), curves), _curve_alt(title, curves), kind="svg")
        for title, curves in panels
    ]
    first, rest = figures[:_MOST_CURVES], figures[_MOST_CURVES:]
    more = tag("details", tag("summary", f"{len(rest)} more"), tag("div", rest, class_="curves")) if rest else None
    told = tag("p", f"{left_out} more: see metrics.csv.", class_="quiet") if left_out > 0 else None
    return join([tag("h3", "Curves"), tag("div", first, class_="curves"), more, told])


def _curve_alt(title: str, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    told = ", ".join(f"{name or title} from {v[0]:.4g} to {v[-1]:.4g}" for name, (_, v) in curves.items() if len(v))
    return f"{title} over training steps: {told}"


def _previews(previews: Sequence[Preview]) -> Markup | None:
    """The newest preview, then for comparison one from the middle and the first."""
    if not previews:
        return None
    chosen = dict.fromkeys((len(previews) - 1, (len(previews) - 1) // 2, 0))
    parts = []
    for preview in (previews[n] for n in chosen):
        parts += [tag("h3", f"Preview at step {preview.step}")]
        pictures = preview_pictures(preview)
        parts += [tag("div", pictures, class_="previews") if pictures else notice(["Its volumes cannot be read."])]
        parts += [_key_points(preview)]
    return join(parts)


def _key_points(preview: Preview) -> Markup | None:
    if not preview.key_points:
        return None
    errors = []
    for name, told in (("vit", "ViT"), ("unetrpp", "UNETR++")):
        if {"true", name} <= preview.key_points.keys():
            apart = np.linalg.norm(preview.key_points[name] - preview.key_points["true"], axis=1).mean()
            errors.append(f"{told} {number(float(apart), 1)} mm off on average")
    caption = "Nine key points of the crop (centre and corners): " + ", ".join(errors)
    figure = picture(key_point_picture(preview.key_points), caption, caption, kind="svg")
    return tag("div", figure, class_="scroll wide", tabindex="0")
