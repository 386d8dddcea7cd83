"""The process in which an uploaded filter in Python runs: `python -I -m shmq.sandbox.python_jail MEMORY_BYTES`.

The source is compiled and run behind all that `confinement.py` and `seccomp.py` take away; it must define
`matches(message)`. Modules that were imported before are there; others cannot be, as no file can be opened. What the
source prints goes nowhere. An exception of a call is answered as a failure, and the filter goes on.
"""

import collections
import datetime  # noqa: ICN001 - under the name by which filters import it
import decimal
import encodings.idna
import encodings.latin_1
import functools
import hashlib
import io
import itertools
import json
import math
import os
import re
import string
import struct
import sys
import traceback
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from shmq.sandbox.confinement import give_up_calls, give_up_privileges
from shmq.sandbox.frames import OK, Parts, read_frame, split_messages, write_failure, write_frame

OFFERED: Final = (
    collections, datetime, decimal, encodings.idna, encodings.latin_1, functools, hashlib, io, itertools, json, math, re,
    string, struct, traceback, zlib,
)  # fmt: skip
"""What a filter can import."""

_COMPRESSED: Final = 0x1
_COMPRESSION_MASK: Final = 0x700
_ZLIB: Final = 0x300
_BODY_BYTES_MAX: Final = 64 << 20


@dataclass(slots=True)
class Message:
    """A message, as a filter in Python sees it.

    Attributes:
        topic: its topic.
        queue_id: its queue.
        queue_offset: its number there.
        born_ms: when its producer made it.
        store_ms: when the broker stored it.
        reconsume_times: how often it was sent back.
        properties: by name.
        body: decompressed where it was compressed by zlib.
    """

    topic: str
    queue_id: int
    queue_offset: int
    born_ms: int
    store_ms: int
    reconsume_times: int
    properties: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def tags(self) -> str:
        """Its tag, or nothing."""
        return self.properties.get("TAGS", "")

    @property
    def keys(self) -> list[str]:
        """Its keys."""
        return self.properties.get("KEYS", "").split()


def main() -> None:
    """Serve until the parent is gone."""
    source = read_frame()
    give_up_privileges(int(sys.argv[1]))
    sys.stdin = sys.stdout = sys.stderr = None  # what it reads and prints is nobody's
    sys.modules.pop("ctypes", None)
    give_up_calls()
    if source is None:
        return
    space: dict[str, Any] = {"__name__": "filter"}
    try:
        exec(compile(source, "<filter>", "exec"), space)  # noqa: S102 - that is what the jail is for
        matches = space["matches"]
    except KeyError:
        write_failure("the filter defines no function `matches`")
        return
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its own
        write_failure(_say(error))
        return
    write_frame(OK)
    while (payload := read_frame()) is not None:
        try:
            write_frame(OK + bytes(bool(matches(to_message(each))) for each in split_messages(payload)))
        except BaseException as error:  # noqa: BLE001 - whatever it raises is its own
            write_failure(_say(error))


def to_message(parts: Parts) -> Message:
    """Make the message that a filter sees."""
    facts = json.loads(parts.facts)
    flags = facts.pop("sys_flag")
    message = Message(**facts)
    for pair in parts.properties.decode("utf-8", "replace").split("\x02"):
        name, _, value = pair.partition("\x01")
        if name and value:
            message.properties[name] = value
    message.body = parts.body
    if flags & _COMPRESSED and flags & _COMPRESSION_MASK in (0, _ZLIB):
        message.body = zlib.decompressobj().decompress(parts.body, _BODY_BYTES_MAX)
    return message


def _say(error: BaseException) -> str:
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == "<filter>":
            place = f", line {line}"
    return f"{type(error).__name__}: {error}{place}"


if __name__ == "__main__":
    main()
    os._exit(0)  # the interpreter's own end makes calls that are not allowed any more
