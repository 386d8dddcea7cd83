"""Why there is no route: what became of topics and brokers that were here, remembered for a while.

A client that finds no route has but one sentence to go by, the remark of the answer. So each topic that loses
its last broker is noted with the reason, and each broker that leaves. Both notes are bounded in number and age,
and a topic's note goes when the topic comes back.
"""

from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

TOPICS_MAX: Final = 10_000
BROKERS_MAX: Final = 100
REMEMBERED_MS: Final = 24 * 3600 * 1000
NAMES_MAX: Final = 5  # in one sentence


class Cause(StrEnum):
    """Why a topic left this table; each value completes the sentence `until its broker X ...`."""

    SILENT = "went silent"
    CLOSED = "closed its connection"
    UNREGISTERED = "unregistered, as one that stops does,"
    REPLACED = "registered without it"
    DELETED = "was told to forget it"


class Departure(NamedTuple):
    """Who left, why and when."""

    broker_name: str
    cause: Cause
    at_ms: int


class Absences:
    """What is remembered of topics and brokers that are gone."""

    def __init__(self) -> None:
        self._topics: OrderedDict[str, Departure] = OrderedDict()
        self._brokers: OrderedDict[str, Departure] = OrderedDict()

    def note_topic(self, topic: str, departure: Departure) -> None:
        """Note that a topic has lost its last broker."""
        _note(self._topics, topic, departure, TOPICS_MAX)

    def note_broker(self, departure: Departure) -> None:
        """Note that a broker has left."""
        _note(self._brokers, departure.broker_name, departure, BROKERS_MAX)

    def forget_topic(self, topic: str) -> None:
        """The topic is here again."""
        self._topics.pop(topic, None)

    def topic(self, topic: str, now_ms: int) -> Departure | None:
        """Return what became of a topic, if that is remembered."""
        departure = self._topics.get(topic)
        return None if departure is None or now_ms - departure.at_ms > REMEMBERED_MS else departure

    def last_broker(self, now_ms: int) -> Departure | None:
        """Return who left last."""
        if not self._brokers:
            return None
        departure = self._brokers[next(reversed(self._brokers))]
        return None if now_ms - departure.at_ms > REMEMBERED_MS else departure


def explain_lost_topic(departure: Departure, now_ms: int) -> str:
    """Say what became of a topic that was here."""
    ago = _ago(departure, now_ms)
    if departure.cause is Cause.DELETED:
        return f"It was deleted by an administrator {ago}."
    return f"It was here until its last broker {departure.broker_name} {departure.cause} {ago}."


def explain_no_broker(departure: Departure | None, now_ms: int) -> str:
    """Say that nobody is registered, and who was."""
    if departure is None:
        return "No broker has registered with this name server."
    return (
        f"No broker is registered with this name server any more: the last, {departure.broker_name}, "
        f"{departure.cause} {_ago(departure, now_ms)}."
    )


def explain_unknown_topic(broker_names: Iterable[str], creators: Iterable[str]) -> str:
    """Say that the brokers that are here do not have the topic, and whether one of them would create it."""
    here = f"None of the brokers here ({list_names(broker_names)}) has it"
    creators = tuple(creators)
    if creators:
        return f"{here}; a producer's first send creates it where TBW102 is: {list_names(creators)}."
    return f"{here}, and none creates topics by itself (TBW102 is not there): create it first."


def explain_zone(broker_names: Iterable[str], zone_name: str) -> str:
    """Say that the request's zone leaves no broker over."""
    return f"It is on {list_names(broker_names)}, outside the zone {zone_name} that the client asks for."


def list_names(names: Iterable[str]) -> str:
    """Return the names in one phrase, the first few and the number of the rest."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:NAMES_MAX])
    return shown if len(ordered) <= NAMES_MAX else f"{shown} and {len(ordered) - NAMES_MAX} more"


def _note(notes: OrderedDict[str, Departure], name: str, departure: Departure, count_max: int) -> None:
    notes.pop(name, None)
    notes[name] = departure
    while len(notes) > count_max:
        notes.popitem(last=False)


def _ago(departure: Departure, now_ms: int) -> str:
    return f"{max(0, now_ms - departure.at_ms) // 1000} s ago"
