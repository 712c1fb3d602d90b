"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topomae.errors import RunError
from topomae.files import told_as_run_error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, which becomes it when the block succeeds and is removed when it raises.

    Args:
        target: the folder to be; it must not exist yet, or be empty.
    Raises:
        RunError: something is there already, or the system refuses to write.
    """
    target = target.resolve()
    with told_as_run_error(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RunError("there is something already", hint="Choose a new folder.", path=target)
    new = target.with_name(f".tmp-{secrets.token_hex(6)}.{target.name}")
    try:
        with told_as_run_error(target):
            new.mkdir(parents=True)
            yield new
            if target.exists():
                target.rmdir()
            os.replace(new, target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
