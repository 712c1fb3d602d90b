"""Changes JSON texts as trees, so that fuzzing gets past the syntax to the values."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

SEPARATOR = b"\n---\n"  # between the texts of one input

STRANGE: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    2**31,
    2**63,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    " ",
    "0",
    "1",
    "-1",
    "1.0",
    "²",
    "٣",
    "a",
    "ä",
    "../a",
    "/",
    "a\0b",
    "\ud800",
    "\u202e",
    "a\nb",
    "x" * 300,
    [],
    {},
    [[]],
    [1, 2, 3],
    ["a"],
    {"a": 1},
    {"0": "a"},
]


def mutate_json(data: bytes, longest: int, seed: int, plain: Callable[[bytes, int], bytes]) -> bytes:
    """Change one JSON text of an input in one place.

    Args:
        data: texts parted by `SEPARATOR`.
        longest: bytes that the result may have.
        seed: of this change.
        plain: what to do instead where the text is not JSON, and every third time: change bytes.
    """
    dice = random.Random(seed)
    texts = data.split(SEPARATOR)
    place = dice.randrange(len(texts))
    try:
        tree = json.loads(texts[place])
    except (ValueError, RecursionError):
        return plain(data, longest)
    if dice.random() < 0.33:
        return plain(data, longest)
    for _ in range(dice.choice((1, 1, 2, 4))):
        tree = _changed(tree, dice)
    try:
        texts[place] = json.dumps(tree, ensure_ascii=dice.random() < 0.7).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return plain(data, longest)
    changed = SEPARATOR.join(texts)
    return changed if len(changed) <= longest else plain(data, longest)


def _changed(tree: Any, dice: random.Random) -> Any:
    """The tree with one node replaced, removed, doubled, renamed or wrapped."""
    if not isinstance(tree, (dict, list)) or not tree or dice.random() < 0.1:
        return _replaced(tree, dice)
    tree = dict(tree) if isinstance(tree, dict) else list(tree)
    key = dice.choice(list(tree)) if isinstance(tree, dict) else dice.randrange(len(tree))
    what = dice.random()
    if what < 0.65:
        tree[key] = _changed(tree[key], dice)
    elif what < 0.75:
        del tree[key]
    elif isinstance(tree, list):
        tree.insert(key, dice.choice((tree[key], dice.choice(STRANGE))))
    elif what < 0.9:
        tree[str(dice.choice(STRANGE))[:40]] = dice.choice((tree[key], dice.choice(STRANGE)))
    else:
        tree[str(dice.choice(STRANGE))[:40]] = tree.pop(key)
    return tree


def _replaced(value: Any, dice: random.Random) -> Any:
    if isinstance(value, bool) or dice.random() < 0.6:
        return dice.choice(STRANGE)
    if isinstance(value, (int, float)):
        return dice.choice((value + 1, -value, value * 1000, str(value), [value]))
    if isinstance(value, str):
        return dice.choice((value + value, value.upper(), value[:-1], value + "\0", [value], {value: value}))
    return dice.choice(([value], {"a": value}, json.dumps(value)[:200]))
