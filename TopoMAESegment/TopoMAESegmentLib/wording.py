"""What the panels say: progress in words, text that cannot be taken for HTML."""

from __future__ import annotations

from slicer.i18n import tr as _


def phaseText(phase: str) -> str:
    """What the worker is doing; a phase that is not known (the name of a volume in a batch) is shown as it is."""
    known = {
        "start": _("Starting"),
        "load": _("Loading the model"),
        "prepare": _("Preparing the images"),
        "segment": _("Segmenting"),
        "restore": _("Finishing"),
    }
    return known.get(phase, phase) + "…"


def timeLeftText(seconds: float | None) -> str:
    """Time left, rounded as one would say it; empty if not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return _("about {n} s left").format(n=max(1, round(seconds)))
    if seconds < 90 * 60:
        return _("about {n} min left").format(n=round(seconds / 60))
    return _("about {n} h left").format(n=f"{seconds / 3600:.1f}")


def toolTipText(text: str) -> str:
    """A name for a tool tip. Tool tips guess whether they hold HTML, so it must not look like it."""
    return text.replace("<", "‹")
