"""From sources to a Config: which value wins, where it came from, and what was wrong.

Sources in rising order: default, TOML file, broker.conf, environment, command line. Within one source the later
wins. A key may be a setting's name or one of its Java keys. A key that nobody knows is a warning; a Java key that
has no meaning here is a note; a value that cannot be is a ConfigError that names its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final

from shmq.config.addresses import PORT_MAX, is_host, join_address, split_address
from shmq.config.java_keys import RELIED_ON, WITHOUT_EFFECT
from shmq.config.setting import SettingError, allowed_words, setting_of
from shmq.config.settings import Config
from shmq.config.sources import (
    DEFAULT,
    ENVIRONMENT_PREFIX,
    Given,
    Origin,
    read_assignments,
    read_broker_conf,
    read_environment,
    read_toml,
)
from shmq.config.values import read_value, scale_java
from shmq.errors import ConfigError

SETTINGS: Final[Mapping[str, Field[Any]]] = {declared.name: declared for declared in fields(Config)}
JAVA_KEYS: Final[Mapping[str, str]] = {
    key: declared.name for declared in fields(Config) for key in setting_of(declared).java
}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What to load from; an empty path is no file."""

    toml_file: str = ""
    broker_conf: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    options: tuple[Given, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A Config, where each of its values came from, and what its owner should hear."""

    config: Config
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load(sources: Sources) -> Loaded:
    """Load a Config from all sources; raise ConfigError at the first value that cannot be."""
    loading = _Loading()
    if sources.toml_file:
        loading.take(read_toml(sources.toml_file))
    if sources.broker_conf:
        loading.take(read_broker_conf(sources.broker_conf))
    loading.take(read_environment(sources.environment), prefix=ENVIRONMENT_PREFIX)
    loading.take(read_assignments(sources.assignments))
    loading.take(sources.options)
    return loading.finish()


class _Loading:
    """The values gathered so far."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._givens: dict[str, Given] = {}
        self._warnings: list[str] = []
        self._notes: list[str] = []

    def take(self, givens: Iterable[Given], *, prefix: str = "") -> None:
        for given in givens:
            name = (
                JAVA_KEYS.get(given.key, given.key) if not prefix else given.key.removeprefix(prefix).lower()
            )
            if name in SETTINGS:
                self._values[name] = self._read(name, given)
                self._givens[name] = given
            elif given.key in WITHOUT_EFFECT:
                self._pass_over(given)
            else:
                self._warnings.append(_unknown(given, _known_keys(prefix)))

    def finish(self) -> Loaded:
        try:
            config = Config(**self._values)
        except SettingError as error:
            name = next((name for name in error.names if name in self._givens), error.names[0])
            given = self._givens.get(name, Given(name, error.value, DEFAULT))
            blamed = "" if name == error.names[0] else f"{error.names[0]} = {error.value!r} "
            raise _refusal(given, f"{blamed}must be {error.allowed}") from error
        origins = {name: self._givens[name].origin if name in self._givens else DEFAULT for name in SETTINGS}
        return Loaded(
            config=config, origins=origins, warnings=tuple(self._warnings), notes=tuple(self._notes)
        )

    def _read(self, name: str, given: Given) -> object:
        if given.key == "listenPort":
            return join_address(split_address(self._listen())[0], _port(given))
        if given.key == "bindAddress":
            return join_address(_host(given), split_address(self._listen())[1])
        declared = SETTINGS[name]
        written = given.value
        if given.key != name and isinstance(written, str):
            written = scale_java(given.key, written)
        try:
            value = read_value(declared, written)
        except (TypeError, ValueError) as error:
            raise _refusal(given, f"must be {allowed_words(declared)}") from error
        if not setting_of(declared).rule.holds(value):
            raise _refusal(given, f"must be {allowed_words(declared)}")
        return value

    def _listen(self) -> str:
        return str(self._values.get("listen", SETTINGS["listen"].default))

    def _pass_over(self, given: Given) -> None:
        if given.key in RELIED_ON and str(given.value).strip().lower() == "true":
            self._warnings.append(f"{given.origin}: {given.key} is not supported here; it stays off")
        else:
            self._notes.append(f"{given.origin}: {given.key} is known to RocketMQ and has no effect here")


def _port(given: Given) -> int:
    text = str(given.value).strip()
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= PORT_MAX):
        raise _refusal(given, f"must be a port, from 1 to {PORT_MAX}")
    return int(text)


def _host(given: Given) -> str:
    text = str(given.value).strip()
    if not is_host(text):
        raise _refusal(given, "must be a host name or an address of this machine")
    return text


def _refusal(given: Given, complaint: str) -> ConfigError:
    return ConfigError(f"{given.origin}: {given.key} = {given.value!r}: {complaint}")


def _known_keys(prefix: str) -> list[str]:
    if prefix:
        return [prefix + name.upper() for name in SETTINGS]
    return [*SETTINGS, *JAVA_KEYS, *sorted(WITHOUT_EFFECT)]


def _unknown(given: Given, known: list[str]) -> str:
    by_lower = {key.lower(): key for key in known}
    nearest = get_close_matches(given.key.lower(), by_lower, n=1, cutoff=0.0)
    return f"{given.origin}: unknown key {given.key!r} is ignored; the nearest known one is {by_lower[nearest[0]]!r}"
