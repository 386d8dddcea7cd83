"""A setting's value: from what an operator wrote to its type, and back to text.

Sizes may be written 64KiB or 1g, durations 500ms or 5s, lists with `,` or `;` between. A TOML file gives typed
values; they must be of the right type.
"""

import json
import re
from dataclasses import Field
from typing import Any

from shmq.config.setting import setting_of, unit_of
from shmq.config.units import SECOND_MS, read_bytes, read_ms, show_bytes, show_ms


def read_value(declared: Field[Any], written: object) -> object:
    """Return the value that was written for a setting; raise TypeError or ValueError where it is none."""
    if declared.type is bool:
        return _read_bool(written)
    if declared.type is int:
        return _read_int(unit_of(declared.name), written)
    if declared.type is str:
        return _read_str(setting_of(declared).rule.choices, written)
    return _read_list(written)


def scale_java(key: str, written: str) -> str:
    """Give a value that RocketMQ counts in seconds its unit."""
    if key.endswith(("Seconds", "Sec")) and written.strip().isdecimal():
        return str(int(written) * SECOND_MS)
    return written


def write_value(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, tuple):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def show_value(declared: Field[Any], value: object) -> str:
    """Return a value as an operator would write it, with its unit."""
    unit = unit_of(declared.name)
    if isinstance(value, int) and unit == "bytes":
        return show_bytes(value)
    if isinstance(value, int) and unit == "ms":
        return show_ms(value)
    return write_value(value) if isinstance(value, bool | int | tuple) else str(value)


def _read_bool(written: object) -> bool:
    if isinstance(written, bool):
        return written
    if isinstance(written, str) and written.strip().lower() in ("true", "false"):
        return written.strip().lower() == "true"
    raise ValueError(f"{written!r} is neither true nor false")


def _read_int(unit: str, written: object) -> int:
    if isinstance(written, int) and not isinstance(written, bool):
        return written
    if not isinstance(written, str):
        raise TypeError(f"{written!r} is not a number")
    if unit == "bytes":
        return read_bytes(written)
    if unit == "ms":
        return read_ms(written)
    if not re.fullmatch(r"[+-]?\d+", written.strip(), re.ASCII):
        raise ValueError(f"{written!r} is not a number")
    return int(written)


def _read_str(choices: tuple[str, ...], written: object) -> str:
    if not isinstance(written, str):
        raise TypeError(f"{written!r} is not text")
    text = written.strip()
    return next((choice for choice in choices if choice.lower() == text.lower()), text)


def _read_list(written: object) -> tuple[str, ...]:
    if isinstance(written, str):
        written = re.split("[,;]", written)
    if not isinstance(written, list) or not all(isinstance(item, str) for item in written):
        raise TypeError(f"{written!r} is not a list of texts")
    return tuple(item.strip() for item in written if item.strip())
