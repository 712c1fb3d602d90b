"""What was found in files, kept in a database, so that starting anew does not read every volume again.

Two tables: the content (SHA-256) of each file by its path, which holds as long as the file's stamp does; and
what was found, by content. A file that was merely copied or touched is hashed again, but not judged again.

Several processes may use one database at a time. It is never needed: where it is damaged it is put aside and
made anew, and where it cannot be written, nothing is remembered. Both are told once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from topomae.data.fingerprint import sha256_of, stamp_of

FILE_NAME = "found.sqlite"
_VERSION = 1  # of the tables
_PATIENCE = 10.0  # seconds to wait for another process
_ROWS_BEFORE_WRITING, _SECONDS_BEFORE_WRITING = 500, 5.0
_TABLES = {"files": "path", "reports": "key"}


class Remembered:
    """A database of what was found; use it in a `with` block. Threads may share it, processes each open their own.

    Args:
        path: file of the database; made if need be.
        told: receives a sentence where something is wrong with the database.
    """

    def __init__(self, path: str | Path, told: Callable[[str], None] | None = None):
        self.path = Path(path)
        self._told = told or (lambda message: None)
        self._lock = threading.RLock()
        self._waiting: dict[str, dict[bytes, str]] = {table: {} for table in _TABLES}
        self._written = time.monotonic()
        self._held_up = False  # by another process at the last try
        self._assumed: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        self._made_anew = False
        self._guarded(self._open)

    def __enter__(self) -> Remembered:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def sha256(self, path: Path) -> str:
        """SHA-256 of a volume's content (see `sha256_of`); read only if the stamp of the file is a new one.

        Raises:
            OSError: the file cannot be read.
        """
        known = self.known_sha256(path)
        if known is not None:
            return known
        stamp = stamp_of(path)
        digest = sha256_of(path)
        if stamp_of(path) == stamp:  # else somebody is writing to it
            self._put("files", _key_of(path), [stamp, digest])
        return digest

    def known_sha256(self, path: Path) -> str | None:
        """The same without reading more than the first bytes; None if the file is new or has another stamp.

        Raises:
            OSError: the file cannot be read.
        """
        assumed = self._assumed.get(os.path.abspath(path))
        if assumed is not None:
            return assumed
        known = self._get("files", _key_of(path))
        fits = isinstance(known, list) and len(known) == 2 and isinstance(known[1], str)
        return known[1] if fits and known[0] == stamp_of(path) else None

    def assume(self, contents: dict[Path, str]) -> None:
        """Take the SHA-256 of files that cannot be read any more as given."""
        self._assumed |= {os.path.abspath(path): digest for path, digest in contents.items()}

    def report(self, key: str) -> Any:
        """What was kept under a key, as JSON values; None if nothing was."""
        return self._get("reports", key.encode())

    def keep_report(self, key: str, report: Any) -> None:
        """Keep JSON values under a key."""
        self._put("reports", key.encode(), report)

    def flush(self) -> None:
        """Write what has not been written yet."""
        with self._lock:
            self._guarded(self._write)
            self._held_up = any(self._waiting.values())
            self._written = time.monotonic()

    def close(self) -> None:
        """Write what has not been written yet and let go of the file."""
        self.flush()
        with self._lock:
            if self._database is not None and any(self._waiting.values()):
                self._stop("another process is using it all the time")
            self._give_up()

    def _get(self, table: str, key: bytes) -> Any:
        with self._lock:
            text = self._waiting[table].get(key)
            if text is None:
                row = self._guarded(lambda: self._select(table, key))
                if row is None or row[1] != _proof(key, row[0]):  # a flipped bit would be taken for a finding
                    return None
                text = row[0]
        with suppress(ValueError, RecursionError):
            return json.loads(text)
        return None

    def _put(self, table: str, key: bytes, value: Any) -> None:
        with self._lock:
            if self._database is None:
                return
            self._waiting[table][key] = json.dumps(value)
            due = time.monotonic() - self._written > _SECONDS_BEFORE_WRITING
            many = sum(map(len, self._waiting.values())) >= _ROWS_BEFORE_WRITING
            if due or (many and not self._held_up):
                self.flush()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Without write-ahead log, which does not work on network drives.
        self._database = sqlite3.connect(
            self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        self._database.text_factory = lambda stored: stored.decode("utf-8", "replace")
        self._database.execute("PRAGMA trusted_schema = OFF")  # the file may come from elsewhere
        if self._version() == _VERSION:
            return
        with self._transaction() as database:
            if self._version() == _VERSION:  # another process was quicker
                return
            for table, key in _TABLES.items():
                database.execute(f"DROP TABLE IF EXISTS {table}")
                database.execute(f"CREATE TABLE {table} ({key} BLOB PRIMARY KEY, content TEXT, proof TEXT)")
            database.execute(f"PRAGMA user_version = {_VERSION}")

    def _version(self) -> int:
        return self._database.execute("PRAGMA user_version").fetchone()[0]

    def _select(self, table: str, key: bytes) -> tuple[Any, Any] | None:
        query = f"SELECT content, proof FROM {table} WHERE {_TABLES[table]} = ?"
        return self._database.execute(query, (key,)).fetchone()

    def _write(self) -> None:
        if not any(self._waiting.values()):
            return
        with self._transaction() as database:
            for table, rows in self._waiting.items():
                proven = [(key, text, _proof(key, text)) for key, text in rows.items()]
                database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", proven)
        for rows in self._waiting.values():
            rows.clear()

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Do something with the database; None if it cannot be done, which is told once."""
        with self._lock:
            if self._database is None and action != self._open:
                return None
            try:
                return action()
            except sqlite3.DatabaseError as error:
                operational = isinstance(error, sqlite3.OperationalError) and "no such" not in str(error)
                if not operational:
                    self._replace(error)
                elif action == self._open or "locked" not in str(error):  # full, or not to be opened
                    self._stop(error)  # else another process is at it: the next try may have more luck
            except OSError as error:
                self._stop(error.strerror or error)
            return None

    def _replace(self, error: sqlite3.Error) -> None:
        """Put a damaged file aside (it might be somebody's only copy of something else) and begin a new one."""
        self._give_up()
        aside = self.path.with_name(self.path.name + ".damaged")
        try:
            if self._made_anew:
                raise OSError(str(error))
            os.replace(self.path, aside)
            with suppress(OSError):  # it belongs to the file that was put aside
                os.unlink(f"{self.path}-journal")
        except OSError as problem:
            self._stop(problem.strerror or problem)
            return
        self._made_anew = True
        self._told(f"{self.path} is damaged ({error}): it was put aside as {aside.name}, and the files are read again")
        self._guarded(self._open)

    def _stop(self, reason: object) -> None:
        self._give_up()
        self._told(f"what is found in the files cannot be kept in {self.path}: {reason}")

    def _give_up(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None


class _Transaction:
    """All of a block's changes or none, one process at a time."""

    def __init__(self, database: sqlite3.Connection):
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self._database.execute("COMMIT")
        with suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")


def _key_of(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _proof(key: bytes, text: Any) -> str:
    """Check digits of a row."""
    return hashlib.blake2b(key + b"\0" + str(text).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
