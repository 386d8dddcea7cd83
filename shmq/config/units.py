"""Units of sizes and times, and the text forms in which operators write them."""

import re
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB
SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
INT32_MAX: Final = 2**31 - 1  # RocketMQ keeps such numbers in a Java int

_BYTES_OF: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_MS_OF: Final = {"": 1, "ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


def read_bytes(text: str) -> int:
    """Read a size such as 4096, 64KiB, 16m or 1g; k, m, g and t are powers of 1024. ValueError if it is none."""
    found = re.fullmatch(r"(\d+)\s*(?:(b)|([kmgt])(?:i?b)?)?", text.strip().lower(), re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a size")
    return int(found[1]) * _BYTES_OF[found[3] or ""]


def read_ms(text: str) -> int:
    """Read a duration such as 500, 500ms, 5s, 2m, 1h or 1d; a bare number is milliseconds. ValueError if it is none."""
    found = re.fullmatch(r"(\d+)\s*(ms|[smhd])?", text.strip().lower(), re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return int(found[1]) * _MS_OF[found[2] or ""]


def show_bytes(count: int) -> str:
    """Write a size the short way, such as 64KiB."""
    for name, size in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count >= size and count % size == 0:
            return f"{count // size}{name}"
    return str(count)


def show_ms(duration_ms: int) -> str:
    """Write a duration the short way, such as 5s."""
    if duration_ms >= SECOND_MS and duration_ms % SECOND_MS == 0:
        return f"{duration_ms // SECOND_MS}s"
    return f"{duration_ms}ms"
