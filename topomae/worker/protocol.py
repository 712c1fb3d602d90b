"""Lines in and answers out: one JSON object per line."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from topomae.errors import TopoMAEError
from topomae.events import to_plain
from topomae.worker.requests import REQUESTS, Identity, Request

PROTOCOL = 1
LONGEST_LINE = 1 << 20  # bytes
_PIECE = 1 << 16


class BadRequest(TopoMAEError):
    """A line that is no request, or a request with missing or wrong arguments.

    Attributes:
        identity: id of the request; None if it is not known, or belongs to another request.
    """

    def __init__(self, message: str, *, hint: str = "", identity: Identity | None = None):
        super().__init__(message, hint=hint)
        self.identity = identity


def parse(line: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: with the request's id, if the line has one.
    """
    try:
        content = json.loads(line)
    except RecursionError:
        raise BadRequest("the line is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, a number too long to read
        raise BadRequest(f"the line is not JSON: {error}", hint="Send one JSON object per line, in UTF-8.") from None
    if not isinstance(content, dict):
        raise BadRequest("the line is not a JSON object", hint='Send objects such as {"id": 1, "do": "hello"}.')
    identity = _identity(content.get("id"))
    kind = REQUESTS.get(content["do"]) if isinstance(content.get("do"), str) else None
    if kind is None:
        given = repr(content["do"])[:60] if "do" in content else "nothing"
        hint = f"Known requests: {', '.join(REQUESTS)}."
        raise BadRequest(f'"do" is {given}, which is no known request', hint=hint, identity=identity)
    try:
        request = kind.model_validate_json(line)
    except ValidationError as error:
        raise _wrong_argument(kind, error, identity) from None
    if request.id is None and kind.needs_id:
        raise BadRequest('"id" is missing', hint="Give every request a number of its own.")
    return request


def _identity(value: object) -> Identity | None:
    """The id, if it could be one."""
    fits = (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and len(value) <= 100)
    return value if fits else None


def _wrong_argument(kind: type[Request], error: ValidationError, identity: Identity | None) -> BadRequest:
    """Say what is wrong with the first argument that does not fit."""
    first = error.errors(include_url=False)[0]
    if first["loc"][:1] == ("id",):
        return BadRequest('"id" is neither a whole number nor a short text', hint="Give every request a number.")
    place = " > ".join(str(step) for step in first["loc"]) or "the request"
    known = [name for name in kind.model_fields if name not in ("id", "do")]
    hint = f"Arguments: {', '.join(known)}." if known else ""
    told = {"missing": "is missing", "extra_forbidden": "is no argument"}.get(first["type"])
    what = f'"{place}" {told}' if told else f'"{place}": {first["msg"].removeprefix("Value error, ")}'
    return BadRequest(what, hint=hint, identity=identity)


def read_lines(descriptor: int) -> Iterator[bytes | None]:
    """Lines of a pipe until it ends, without their newline; None stands for a line that is too long.

    Read by the system's call and not through `sys.stdin`, whose lock a thread that waits for input would
    hold for ever. What comes after the last newline is not a line.

    Args:
        descriptor: file descriptor to read from.
    """
    kept, skipping = bytearray(), False
    while True:
        try:
            piece = os.read(descriptor, _PIECE)
        except OSError:
            return
        if not piece:
            return
        *ends, rest = piece.split(b"\n")
        for end in ends:
            whole = bytes(kept + end)
            kept.clear()
            yield None if skipping or len(whole) > LONGEST_LINE else whole
            skipping = False
        if not skipping:
            kept += rest
        if len(kept) > LONGEST_LINE:
            kept.clear()
            skipping = True


class Answers:
    """Writes answers, whole lines from any thread. A reader that went away is no error.

    Args:
        descriptor: file descriptor to write to.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._open = True

    def send(self, event: str, identity: Identity | None, **fields: Any) -> None:
        """Write one answer; values become plain JSON, NaN and infinities null.

        Args:
            event: `progress`, `warning`, `result`, `error` or `cancelled`.
            identity: id of the request.
            fields: what else there is to say.
        """
        self._write({"id": identity, "event": event, **fields})

    def announce(self, **fields: Any) -> None:
        """Write the first line, which belongs to no request."""
        self._write({"event": "ready", **fields})

    def _write(self, answer: dict[str, Any]) -> None:
        line = (json.dumps(to_plain(answer), allow_nan=False) + "\n").encode("ascii")
        with self._lock:
            while line and self._open:
                try:
                    line = line[os.write(self._descriptor, line) :]
                except OSError:
                    self._open = False
