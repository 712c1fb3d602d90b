"""Whether a target behaves, without atheris."""

from __future__ import annotations

import traceback

from fuzz import corpora, seeds
from fuzz.targets import Target


def misbehaviour(target: Target, inputs: list[bytes]) -> list[str]:
    """What leaves a target that should not, one text per input; empty if all is well."""
    told = []
    for content in inputs:
        try:
            target(content)
        except Exception as error:
            told.append(f"{content!r}\n{''.join(traceback.format_exception(error))}")
    return told


def inputs_of(name: str) -> list[bytes]:
    """The seeds of a target and what was kept of fuzzing it."""
    return [*seeds.seeds(name), *corpora.kept_inputs(name)]
