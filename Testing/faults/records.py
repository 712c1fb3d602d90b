"""What was injected and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Fault:
    """One injected fault. The last three are empty if all is well, else they say what is wrong.

    Attributes:
        kind: what was done.
        target: what it was done to.
        where: at which point.
        lost: the work could not go on, or had lost more than the steps since the last checkpoint.
        different: the final result is not that of an undisturbed run.
        unclear: the user was not told, or not clearly.
        scenario: by which it was injected.
    """

    kind: str
    target: str
    where: str = ""
    lost: str = ""
    different: str = ""
    unclear: str = ""
    scenario: str = ""

    @property
    def survived(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.lost or self.different or self.unclear)

    @property
    def problem(self) -> str:
        """What is wrong, in one line."""
        parts = {"lost": self.lost, "different": self.different, "unclear": self.unclear}
        return "; ".join(f"{name}: {' '.join(text.split())}" for name, text in parts.items() if text)

    def plain(self) -> dict[str, Any]:
        """As JSON has it; what is empty is left out."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass
class Left:
    """What could not be injected here, and why."""

    what: str
    reason: str
    scenario: str = ""


def table(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """Faults counted by kind and target, in the order of their first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for fault in faults:
        row = rows.setdefault(
            (fault.kind, fault.target),
            {"kind": fault.kind, "target": fault.target, "faults": 0, "lost": 0, "different": 0, "unclear": 0},
        )
        row["faults"] += 1
        for name in ("lost", "different", "unclear"):
            row[name] += bool(getattr(fault, name))
    return list(rows.values())


def markdown(faults: list[Fault], left: list[Left], about: dict[str, Any]) -> str:
    """The page for `docs/results`."""
    rows = table(faults)
    total = {name: sum(row[name] for row in rows) for name in ("faults", "lost", "different", "unclear")}
    lines = [
        "# What faults do to a training",
        "",
        f"{total['faults']} faults injected; **runs lost: {total['lost']}**; **results different from an undisturbed "
        f"run: {total['different']}**; not told clearly: {total['unclear']}.",
        "",
        f"`{about['command']}`, {about['date']}, {about['system']}, {about['minutes']:.0f} minutes, "
        f"seed {about['seed']}.",
        "",
        "Tiny networks on phantom volumes, on a CPU. After each fault the same command is started again. The result "
        "is compared to the bit with that of a run that nothing disturbed: weights, `metrics.csv`, previews, the "
        "state of network, optimizer and random numbers in the last checkpoint; of a segmentation the label maps. "
        "Between fault and restart the folder is searched for anything half-written. Every fault is listed in "
        "[faults.json](faults.json).",
        "",
        "| Fault | Done to | Injected | Lost | Different | Not told clearly |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += ["| {kind} | {target} | {faults} | {lost} | {different} | {unclear} |".format(**row) for row in rows]
    lines += ["| **all** | | **{faults}** | **{lost}** | **{different}** | **{unclear}** |".format(**total)]
    if left:
        lines += ["", "Not done here: " + "; ".join(f"{one.what} ({one.reason})" for one in left) + "."]
    if bad := [fault for fault in faults if not fault.survived]:
        lines += ["", "## What went wrong", ""]
        lines += [f"- {fault.kind}, {fault.target}, {fault.where}: {fault.problem}" for fault in bad]
    return "\n".join(lines) + "\n"
