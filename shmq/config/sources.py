"""Where settings come from: a TOML file, a RocketMQ broker.conf, the environment, the command line.

Each reader turns its source into `Given`s: a key as it was written, its value as it was written, and where that was.
No reader knows which keys exist; `shmq.config.loading` does.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from shmq.config import properties_file
from shmq.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "SHMQ_"
NOT_SETTINGS: Final = frozenset({"SHMQ_CACHE_DIR"})  # read by shmq.jit, which starts before any configuration


class Origin(NamedTuple):
    """Where a value was given; file and line only where there are any."""

    source: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Return `file:line`, or the name of the source."""
        if not self.file:
            return self.source
        return f"{self.file}:{self.line}" if self.line else self.file


DEFAULT: Final = Origin("default")


class Given(NamedTuple):
    """A key and a value as an operator wrote them."""

    key: str
    value: object
    origin: Origin


def read_toml(path: str) -> list[Given]:
    """Read a TOML file of `setting = value` lines."""
    text = _read_text(path, "utf-8")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        place = Origin("TOML file", path, int(found[1]) if found else text.count("\n") + 1)
        raise ConfigError(f"{place}: not TOML: {error}") from error
    lines = _toml_lines(text)
    return [Given(key, value, Origin("TOML file", path, lines.get(key, 0))) for key, value in table.items()]


def read_broker_conf(path: str) -> list[Given]:
    """Read a properties file as RocketMQ's broker does."""
    text = _read_text(path, properties_file.ENCODING)
    try:
        entries = properties_file.parse(text)
    except properties_file.PropertiesError as error:
        raise ConfigError(f"{Origin('broker.conf', path, error.line)}: {error}") from error
    return [Given(key, value, Origin("broker.conf", path, line)) for key, value, line in entries]


def read_environment(environment: Mapping[str, str]) -> list[Given]:
    """Take the variables SHMQ_<SETTING>."""
    return [
        Given(name, value, Origin("environment"))
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX) and name not in NOT_SETTINGS
    ]


def read_assignments(assignments: Iterable[str]) -> list[Given]:
    """Read the `key=value` texts of --set."""
    givens = []
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"command line: --set {text}: must be key=value")
        givens.append(Given(key.strip(), value, Origin("command line")))
    return givens


def _read_text(path: str, encoding: str) -> str:
    try:
        return Path(path).read_bytes().decode(encoding)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not {encoding}: {error}") from error


def _toml_lines(text: str) -> dict[str, int]:
    """Return the line of each top-level key or table, which tomllib does not tell."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        found = re.match(r"""\s*\[*\s*["']?([\w-]+)["']?\s*[=.\]]""", line)
        if found:
            lines.setdefault(found[1], number)
    return lines
