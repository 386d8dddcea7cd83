"""One setting: its default, what it means, its Java names, and the values it may have.

`setting()` makes a dataclass field whose metadata carries all of that, so that the parser, `--print-config` and
`docs/configuration.md` read the same source. The unit of a number is the one in its name.
"""

from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field
from typing import Any, Final, cast

from shmq.config.addresses import is_address, is_host
from shmq.config.units import INT32_MAX
from shmq.errors import ConfigError

OFF: Final = "off"
METADATA_KEY: Final = "setting"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value may be: in words, and as a test of a value that has the right type."""

    words: str
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting beside its name and type."""

    doc: str
    java: tuple[str, ...]
    rule: Rule
    shown: str


class SettingError(ConfigError):
    """A value breaks a rule; who loaded it knows the place.

    Args:
        names: the settings that are at odds, the one to blame first.
        value: the value of the first.
        allowed: what would have been allowed.
    """

    def __init__(self, names: tuple[str, ...], value: object, allowed: str) -> None:
        super().__init__(f"{names[0]} = {value!r}: must be {allowed}")
        self.names = names
        self.value = value
        self.allowed = allowed


def setting(
    default: object, doc: str, *, java: str = "", allowed: Rule | None = None, shown: str = ""
) -> Any:
    """Declare a field of Config.

    Args:
        default: the value, or a function that finds it on this machine.
        doc: what it is and when to change it.
        java: RocketMQ's keys for it, parted by blanks.
        allowed: the rule for its values; None allows every value of the type.
        shown: what the documentation shows for a default that differs between machines.
    """
    rule = allowed or _rule_of_type(default)
    metadata = {METADATA_KEY: Setting(doc, tuple(java.split()), rule, shown)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def setting_of(declared: Field[Any]) -> Setting:
    """Return what setting() attached to a field."""
    return cast("Setting", declared.metadata[METADATA_KEY])


def unit_of(name: str) -> str:
    """Return the unit in a setting's name: `bytes`, `ms`, `percent` or nothing."""
    words = name.split("_")
    return next((unit for unit in ("bytes", "ms", "percent") if unit in words), "")


def allowed_words(declared: Field[Any]) -> str:
    """Return in words what a setting may be, how its unit is written included."""
    words = setting_of(declared).rule.words
    if declared.type is not int:
        return words
    forms = {"bytes": "a size such as 65536 or 64KiB", "ms": "a duration such as 500ms or 5s"}
    form = forms.get(unit_of(declared.name), "a whole number")
    return f"{form}, {words}"


def one_of(*choices: str) -> Rule:
    """Allow exactly these words."""
    return Rule("one of " + ", ".join(choices), lambda value: value in choices, choices)


def between(least: int, most: int) -> Rule:
    """Allow the integers from least to most, both included."""
    return Rule(f"from {least} to {most}", lambda value: least <= value <= most)


def duration() -> Rule:
    """Allow the milliseconds from 1 to what fits a Java int."""
    return between(1, INT32_MAX)


def quantity() -> Rule:
    """Allow the counts and sizes from 1 to what fits a Java int."""
    return between(1, INT32_MAX)


def power_of_two(least: int, most: int) -> Rule:
    """Allow the powers of two from least to most, both included."""
    return Rule(
        f"a power of two from {least} to {most}",
        lambda value: least <= value <= most and value & (value - 1) == 0,
    )


def address() -> Rule:
    """Allow HOST:PORT."""
    return Rule("HOST:PORT with a port from 1 to 65535", is_address)


def address_or_off() -> Rule:
    """Allow HOST:PORT and `off`."""
    return Rule(f"HOST:PORT, or {OFF}", lambda value: value == OFF or is_address(value))


def host_or_address() -> Rule:
    """Allow HOST, HOST:PORT and nothing."""
    return Rule(
        "HOST, HOST:PORT, or empty",
        lambda value: value == "" or is_address(value) or is_host(value),
    )


def addresses(separator: str) -> Rule:
    """Allow a list of HOST:PORT."""
    return Rule(f"HOST:PORT{separator}HOST:PORT…, or empty", _all_addresses)


def satisfying(words: str, holds: Callable[[Any], bool]) -> Rule:
    """Allow what a test of its own lets pass."""
    return Rule(words, holds)


def _all_addresses(values: Iterable[str]) -> bool:
    return all(is_address(value) for value in values)


def _rule_of_type(default: object) -> Rule:
    words = "true or false" if isinstance(default, bool) else "any text"
    return Rule(words, lambda _: True)
