"""All scenarios by name, in the order in which they are played."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import kills
import rivals
import storage
import trouble
import workers
from records import Fault, Left
from world import World

SCENARIOS: dict[str, Callable[[World], Iterator[Fault | Left]]] = {
    "random kills": kills.at_random_moments,
    "real kills": kills.of_the_command_line,
    "kills around writes": kills.around_writes,
    "kills in each phase": kills.in_each_phase,
    "full disk": storage.full_disk,
    "limited files": storage.limited_files,
    "read-only folder": storage.read_only_folder,
    "damaged checkpoints": storage.damaged_checkpoints,
    "two on one folder": rivals.two_on_one_folder,
    "locks left behind": rivals.locks_left_behind,
    "frozen process": rivals.frozen_while_another_took_over,
    "parents that die": rivals.parents_that_die,
    "clocks that jump": rivals.clocks_that_jump,
    "no numbers": trouble.no_numbers,
    "no memory": trouble.no_memory,
    "data that change": trouble.data_that_vanish_or_change,
    "worker": workers.worker,
}
