"""Training curves of a run: `metrics.csv` (one row per value) and a TensorBoard log."""

from __future__ import annotations

import csv
import io
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from topomae.files import drop_torn_line, told_as_run_error, write_text_atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_HEADER = "step,phase,name,value\n"
_NO_TAG = re.compile(r"[<>&\"'\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # of a label, in a browser


class Curves:
    """Appends values of steps, and takes back those of steps that are to be done again.

    Args:
        table: the CSV file; made if need be.
        board: folder of the TensorBoard log, or None for no such log.
    """

    def __init__(self, table: Path, board: Path | None = None):
        self._table = table
        self._board = board
        self._writer: SummaryWriter | None = None
        self._next_step: int | None = None
        drop_torn_line(table)
        self._open()

    def append(self, step: int, phase: str, values: dict[str, float]) -> None:
        """Add the values of a step. A kill cannot take them back any more; a power cut can until `flush`."""
        rows = io.StringIO()
        csv.writer(rows, lineterminator="\n").writerows(
            (step, phase, name, repr(float(value))) for name, value in values.items()
        )
        with told_as_run_error(self._table):
            self._file.write(rows.getvalue().encode("utf-8"))
        try:
            if writer := self._tensorboard():
                for name, value in values.items():
                    writer.add_scalar(_NO_TAG.sub("_", f"{phase}/{name}"), float(value), step)
        except OSError:
            self._board = self._writer = None  # a luxury; what matters is in the table

    def rewind(self, step: int) -> None:
        """Drop what was logged of steps after `step`."""
        self.close()
        with open(self._table, encoding="utf-8", errors="replace", newline="\n") as file:
            lines = list(file)
        kept = [_HEADER, *(line for line in lines[1:] if _step_of(line) <= step)]
        if kept != lines:
            write_text_atomic(self._table, "".join(kept))
        self._next_step = step + 1
        self._open()

    def flush(self) -> None:
        """Bring everything to the disk."""
        with told_as_run_error(self._table):
            os.fsync(self._file.fileno())
        if self._writer is not None:
            with suppress(OSError):
                self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._writer = None

    def _open(self) -> None:
        with told_as_run_error(self._table):
            # Unbuffered: one call of the system per step, so that only a power cut can lose what is logged.
            self._file = open(self._table, "ab", buffering=0)  # noqa: SIM115 (closed by close)
            if self._file.tell() == 0:
                self._file.write(_HEADER.encode())

    def _tensorboard(self) -> SummaryWriter | None:
        if self._board is not None and self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, so only when there is a value

            self._writer = SummaryWriter(str(self._board), purge_step=self._next_step)
        return self._writer


def _step_of(line: str) -> float:
    """The step of a row; infinity, hence to be dropped, if the row is damaged."""
    try:
        row = next(csv.reader([line]), [])
        return int(row[0]) if len(row) == 4 and row[0].isdecimal() else float("inf")
    except (csv.Error, ValueError):  # a line end inside of a field; a number of thousands of digits
        return float("inf")
