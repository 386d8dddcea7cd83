"""The body of message `number` of a run: who knows both can make it again and compare every byte.

The Java twin, byte for byte, is `Body.java` under `tests/interop/java/driver`, which says how a body is made. A test
holds the two against each other by letting one side send and the other compare.
"""

import itertools
import zlib
from typing import Final

_LONG_EVERY: Final = 500
_LONG_FILLER_BYTES: Final = 6000  # clients compress bodies beyond 4096 bytes
_TAGS: Final = 5
PROPERTY: Final = "number"


def body_of(run: str, number: int, *, binary: bool) -> bytes:
    """Return the body of one message."""
    is_long = number % _LONG_EVERY == _LONG_EVERY - 1
    filler_bytes = _LONG_FILLER_BYTES if is_long else 16 + number * 37 % 480
    filler = bytearray()
    for block in itertools.count():
        if len(filler) >= filler_bytes:
            break
        value = zlib.crc32(f"{run}:{number}:{block}".encode())
        filler += value.to_bytes(4, "big") if binary else b"%08x" % value
    return f"{run}:{number:08d}:".encode() + filler[:filler_bytes]


def head_of(body: bytes) -> tuple[str, int]:
    """Return the run and number that a body says it has; ValueError where it is none of ours."""
    run, number, _ = body.split(b":", 2)
    return run.decode(), int(number)


def keys_of(number: int) -> str:
    """Return the keys sent with a message."""
    return f"k{number}"


def tag_of(number: int) -> str:
    """Return the tag sent with a message."""
    return f"t{number % _TAGS}"


def property_of(number: int) -> str:
    """Return the value of the user property sent with a message."""
    return f"n-{number}"
