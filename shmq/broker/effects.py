"""Effects: what a control handler wants done beside its answer.

A handler appends them to `Metadata.effects`; the conductor's role drains the list after each handler and
performs them in order, before it sends the answer: once a client has its answer, every worker knows what it
says.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TypeAlias

from shmq.broker.outcome import Channel
from shmq.broker.updates import Update
from shmq.wire.command import Command


class DocumentName(StrEnum):
    """The conductor's documents, by their file names under `config/`."""

    TOPICS = "topics.json"
    GROUPS = "subscriptionGroup.json"
    CONSUMER_OFFSETS = "consumerOffset.json"
    DELAY_OFFSETS = "delayOffset.json"
    TRANSACTIONS = "transactions.json"
    FILTERS = "consumerFilter.json"
    TIMER_METRICS = "timermetrics"
    REQUEST_MODES = "messageRequestMode.json"


@dataclass(frozen=True, slots=True)
class Publish:
    """Bring the replica of every network worker up to date."""

    update: Update


@dataclass(frozen=True, slots=True)
class Push:
    """Send a request of the broker's own on a client's connection."""

    channel: Channel
    command: Command


@dataclass(frozen=True, slots=True)
class Persist:
    """Save a document, as `Metadata.documents` renders it."""

    document: DocumentName


@dataclass(frozen=True, slots=True)
class RegisterTopics:
    """Register with the name servers at once: these topics, or all of them where names is None."""

    names: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """Close a client's connection."""

    channel: Channel


class Cleaning(Enum):
    """What is to be deleted of the store: expired files of the log, of queues what is gone, topics that are gone."""

    EXPIRED = auto()
    QUEUES = auto()
    TOPICS = auto()


@dataclass(frozen=True, slots=True)
class Clean:
    """Have retention delete something now."""

    what: Cleaning


Effect: TypeAlias = Publish | Push | Persist | RegisterTopics | CloseChannel | Clean
