"""Updates: what the conductor tells every network worker, so that each keeps a replica of its tables.

An update holds a whole entry as it is from now on, never a difference, so that the same one applied twice
changes nothing and the last one wins. A worker that says hello gets a snapshot: an update for each entry.
They travel as JSON objects; the member `update` names the kind.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from shmq.store.position import NONE
from shmq.wire.heartbeat_bodies import ConsumeType, MessageModel, SubscriptionData
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig


@dataclass(frozen=True, slots=True)
class TopicUpdate:
    """A topic as it is from now on.

    Attributes:
        name: the topic.
        topic_id: its id in the name table.
        config: None where the topic is deleted.
        slots: the slot of each queue, by queue id; empty where the topic is deleted.
    """

    name: str
    topic_id: int
    config: TopicConfig | None
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupUpdate:
    """A consumer group as it is from now on.

    Attributes:
        name: the group.
        group_id: its id in the name table.
        config: None where the group is deleted.
        forbidden: topics that the group may not read.
    """

    name: str
    group_id: int
    config: SubscriptionGroupConfig | None
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscriptionUpdate:
    """What the online members of a group have subscribed to.

    Attributes:
        group: the group.
        message_model: of the group's members.
        consume_type: of the group's members.
        subscriptions: None where nobody is online.
    """

    group: str
    message_model: MessageModel
    consume_type: ConsumeType
    subscriptions: tuple[SubscriptionData, ...] | None


@dataclass(frozen=True, slots=True)
class FilterUpdate:
    """The SQL92 expression of a group for a topic.

    Attributes:
        topic: the topic.
        group: the group.
        expression: one that compiles; None where there is none any more.
        version: of the subscription that brought it.
        live_from: bit maps of messages from this position of the log on know it; NONE: those of none do.
        generation: how often the table of expressions had changed when this was said; 0 where nobody counts.
    """

    topic: str
    group: str
    expression: str | None
    version: int
    live_from: int = NONE
    generation: int = 0


@dataclass(frozen=True, slots=True)
class PopFreedUpdate:
    """Queues of a topic that a group pops in order may be free again; news rather than an entry, for who waits."""

    group: str
    topic: str


Update: TypeAlias = TopicUpdate | GroupUpdate | SubscriptionUpdate | FilterUpdate | PopFreedUpdate


def encode(update: Update) -> bytes:
    """Return an update as bytes."""
    return orjson.dumps(_to_object(update))


def decode(encoded: bytes) -> Update:
    """Return the update that `encode` made these bytes of."""
    read = orjson.loads(encoded)
    kind = read["update"]
    if kind == "topic":
        config = None if read["config"] is None else TopicConfig.from_json(read["config"])
        return TopicUpdate(read["name"], read["id"], config, tuple(read["slots"]))
    if kind == "group":
        group = None if read["config"] is None else SubscriptionGroupConfig.from_json(read["config"])
        return GroupUpdate(read["name"], read["id"], group, tuple(read["forbidden"]))
    if kind == "filter":
        return FilterUpdate(
            read["topic"],
            read["group"],
            read["expression"],
            read["version"],
            read["live_from"],
            read["generation"],
        )
    if kind == "pop_freed":
        return PopFreedUpdate(read["group"], read["topic"])
    assert kind == "subscription", f"no update is a {kind}"
    given = read["subscriptions"]
    return SubscriptionUpdate(
        read["group"],
        MessageModel[read["model"]],
        ConsumeType[read["type"]],
        None if given is None else tuple(SubscriptionData.from_json(each) for each in given),
    )


def _to_object(update: Update) -> dict[str, Any]:
    match update:
        case TopicUpdate(name, topic_id, config, slots):
            return {
                "update": "topic",
                "name": name,
                "id": topic_id,
                "config": None if config is None else config.to_json(),
                "slots": slots,
            }
        case GroupUpdate(name, group_id, config, forbidden):
            written = None if config is None else config.to_json()
            return {
                "update": "group",
                "name": name,
                "id": group_id,
                "config": written,
                "forbidden": forbidden,
            }
        case SubscriptionUpdate(group, model, consume_type, subscriptions):
            given = None if subscriptions is None else [each.to_json() for each in subscriptions]
            return {
                "update": "subscription",
                "group": group,
                "model": model.name,
                "type": consume_type.name,
                "subscriptions": given,
            }
        case FilterUpdate():
            return {
                "update": "filter",
                "topic": update.topic,
                "group": update.group,
                "expression": update.expression,
                "version": update.version,
                "live_from": update.live_from,
                "generation": update.generation,
            }
        case PopFreedUpdate(group, topic):
            return {"update": "pop_freed", "group": group, "topic": topic}
