"""Structured logs: one JSON object a line in `shmq.log`, and the same for people on standard error.

Every process of a broker appends to the same file. A line is one write() to a descriptor opened with O_APPEND, so
lines of several processes never mix, no lock is held across a fork, and nothing is buffered when a process is
killed. `start()` once in each process, again after a fork; `reopen()` when a rotator has moved the file (SIGHUP).
Logging never stops a broker: where the file cannot be written, standard error says so and goes on.

structlog is imported by the first call, not with this module: it takes longer than the rest of a short command.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from shmq.errors import ConfigError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LOG_FILE_NAME: Final = "shmq.log"
LOG_FILE_MODE: Final = 0o640
LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_STANDARD_FIELDS: Final = ("timestamp", "level", "process", "module", "event")
_STDERR: Final = 2


def start(process_name: str, directory: str = "", level: str = "info", form: str = "console") -> None:
    """Send the logs of this process to `directory`/shmq.log and to standard error.

    Args:
        process_name: what the lines name as their process, such as `net-0`.
        directory: where shmq.log is; made where it is missing; empty: standard error alone.
        level: the least severe level to log, a key of LEVELS.
        form: `console` or `json`, for standard error; the file is always JSON.

    Raises:
        ConfigError: the file cannot be opened.
    """
    import structlog  # noqa: PLC0415  (see the module docstring)

    path = str(Path(directory) / LOG_FILE_NAME) if directory else ""
    fd = _open(path) if path else None
    if _sink.fd is not None:
        os.close(_sink.fd)
    _sink.process_name, _sink.path, _sink.fd, _sink.json_to_stderr = process_name, path, fd, form == "json"
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _complete],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _sink,
        cache_logger_on_first_use=False,  # a logger made before start() must follow it
    )


def reopen() -> None:
    """Open the file anew by its path; on failure keep the old one and say so."""
    if not _sink.path:
        return
    try:
        fd = _open(_sink.path)
    except ConfigError as error:
        get(__name__).error("log file not reopened", reason=str(error))
        return
    before, _sink.fd = _sink.fd, fd
    if before is not None:
        os.close(before)


def get(name: str) -> "FilteringBoundLogger":
    """Return the logger of a module; before start() it writes to standard error alone."""
    import structlog  # noqa: PLC0415  (see the module docstring)

    if not structlog.is_configured():
        start(Path(sys.argv[0]).name or "python")
    return cast("FilteringBoundLogger", structlog.get_logger(module=name.removeprefix("shmq.")))


@dataclass(slots=True)
class _Sink:
    """Where lines go; what structlog takes for the logger that it wraps."""

    process_name: str = ""
    path: str = ""
    fd: int | None = None
    json_to_stderr: bool = False

    def write(self, line: dict[str, Any]) -> None:
        as_json = _to_json(line)
        if self.fd is not None:
            try:
                os.write(self.fd, as_json)
            except OSError as error:
                complaint = f"{self.path}: cannot be written: {error.strerror}\n"
                _write_to_stderr(complaint.encode())
        _write_to_stderr(as_json if self.json_to_stderr else _to_text(line))

    debug = info = warning = error = critical = write


_sink: Final = _Sink()


def _open(path: str) -> int:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, LOG_FILE_MODE)
    except OSError as error:
        raise ConfigError(f"log_directory: {path}: cannot be opened: {error.strerror}") from error


def _complete(
    _: object, level: str, event: MutableMapping[str, Any]
) -> tuple[tuple[dict[str, Any]], dict[str, Any]]:
    """Add what every line has, in the order in which it is read; the last processor."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    line = {"timestamp": moment, "level": level, "process": _sink.process_name}
    for name in ("module", "event"):
        if name in event:
            line[name] = event.pop(name)
    line.update((name, value) for name, value in event.items() if name not in line)
    return (line,), {}


def _to_json(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a lone surrogate, or an integer beyond 64 bits: both can come from a peer
        return json.dumps(line, default=str).encode() + b"\n"


def _to_text(line: dict[str, Any]) -> bytes:
    """Write a line for people; text that could pass for another line or field is quoted."""
    extra = [
        f"{name}={_quoted(value)}"
        for name, value in line.items()
        if name not in _STANDARD_FIELDS and name != "exception"
    ]
    head = (
        f"{line['timestamp']} {line['level']:<7} {line['process']:<12} {_plain(str(line.get('event', '')))}"
    )
    text = " ".join([head, *extra])
    if "exception" in line:
        text += "\n    " + "\n    ".join(str(line["exception"]).splitlines())
    return text.encode(errors="backslashreplace") + b"\n"


def _plain(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text != "" and not any(character in ' "=' for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def _write_to_stderr(text: bytes) -> None:
    with contextlib.suppress(OSError):  # standard error is closed or full: nobody is left to tell
        os.write(_STDERR, text)
