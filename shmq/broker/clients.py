"""Clients: who is connected, in which producer and consumer groups, and what each consumer group subscribes to.

A client is known by its channel, not by its id: one that comes back under the same id is there twice until its
old connection is closed. What a heartbeat says of a group's subscriptions replaces what was said before, whoever
said it; but an expression only gives way to one with a higher version.

Each change of a group's subscriptions is published to the network workers, and those consumers who must share
the queues anew are told so. All of this lives in memory: after a restart the clients' next heartbeats bring it
back, and so do the workers, who announce the heartbeats that they have seen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from shmq.broker.effects import CloseChannel, Effect, Publish, Push
from shmq.broker.outcome import Channel
from shmq.broker.updates import SubscriptionUpdate
from shmq.wire.codes import Language, RequestCode
from shmq.wire.command import FLAG_ONEWAY, Command
from shmq.wire.consume_headers import NotifyConsumerIdsChangedHeader
from shmq.wire.fields import write_header
from shmq.wire.heartbeat_bodies import (
    ConsumeFromWhere,
    ConsumerData,
    ConsumeType,
    MessageModel,
    SubscriptionData,
)


@dataclass(slots=True)
class Client:
    """A client on one connection.

    Attributes:
        channel: its connection.
        client_id: what it calls itself.
        language: its library.
        version: its library's release.
        address: `host:port` that it came from.
        seen_ms: when its last heartbeat came.
    """

    channel: Channel
    client_id: str
    language: Language
    version: int
    address: str
    seen_ms: int


@dataclass(slots=True)
class ConsumerGroup:
    """A consumer group that has somebody online.

    Attributes:
        name: the group.
        consume_type: as the last heartbeat had it, like the two after it.
        message_model: whether members share the messages.
        consume_from_where: where members start in a queue that is new to them.
        fingerprint: of the last heartbeat, 0 from a client that sends none; None before the first.
        published: what the workers know of the group.
        clients: by channel.
        subscriptions: by topic.
    """

    name: str
    consume_type: ConsumeType
    message_model: MessageModel
    consume_from_where: ConsumeFromWhere
    fingerprint: int | None = None
    published: SubscriptionUpdate | None = None
    clients: dict[Channel, Client] = field(default_factory=dict)
    subscriptions: dict[str, SubscriptionData] = field(default_factory=dict)


class Clients:
    """Everybody who is online.

    Attributes:
        consumers: consumer groups by name; none is empty.
        producers: producer groups by name, their clients by channel; none is empty.
    """

    def __init__(self, effects: list[Effect]) -> None:
        self.consumers: dict[str, ConsumerGroup] = {}
        self.producers: dict[str, dict[Channel, Client]] = {}
        self._effects = effects
        self._opaques = count()

    def hear_producer(self, group: str, client: Client) -> None:
        """Note that a client produces in a group."""
        self.producers.setdefault(group, {})[client.channel] = client

    def hear_consumer(self, client: Client, data: ConsumerData, fingerprint: int, *, notify: bool) -> bool:
        """Note that a client consumes in a group, and what it subscribes to.

        Args:
            client: who.
            data: the group, as the heartbeat has it.
            fingerprint: of the heartbeat.
            notify: whether the group's members want to know about each other.

        Returns:
            Whether the last heartbeat of the group had another fingerprint.
        """
        group, is_new = self._join(client, data)
        is_changed = _replace_subscriptions(group.subscriptions, data.subscriptions)
        self._publish(group)
        if notify and (is_new or is_changed):
            self._notify(group)
        return _take_fingerprint(group, fingerprint)

    def hear_again(self, client: Client, data: ConsumerData, fingerprint: int, *, notify: bool) -> bool:
        """Note that a client still consumes in a group, as it last said; return whether it must say all again."""
        group, is_new = self._join(client, data)
        self._publish(group)
        if notify and is_new:
            self._notify(group)
        return _take_fingerprint(group, fingerprint) or not group.subscriptions

    def leave_producers(self, name: str, channel: Channel) -> None:
        """Note that the client on a channel produces in a group no longer."""
        clients = self.producers.get(name)
        if clients is not None and clients.pop(channel, None) is not None and not clients:
            del self.producers[name]

    def leave_consumers(self, name: str, channel: Channel, *, notify: bool) -> None:
        """Note that the client on a channel consumes in a group no longer, and tell the others."""
        group = self.consumers.get(name)
        if group is None or group.clients.pop(channel, None) is None:
            return
        self._drop_if_empty(group)
        if notify:
            self._notify(group)

    def close(self, channel: Channel) -> None:
        """Note that a connection is closed."""
        for name in list(self.producers):
            self.leave_producers(name, channel)
        for name in list(self.consumers):
            self.leave_consumers(name, channel, notify=True)

    def close_worker(self, worker: int, epoch: int) -> None:
        """Note that a network worker has begun a new life: the connections of its earlier ones are closed."""
        for channel in {client.channel for client in self._everybody()}:
            if channel.worker == worker and channel.epoch != epoch:
                self.close(channel)

    def expire(self, before_ms: int) -> None:
        """Forget those who were not heard since, and close their connections.

        Nobody is told: the others find out at their next round, as with RocketMQ.
        """
        silent = {client.channel for client in self._everybody() if client.seen_ms < before_ms}
        for name, clients in list(self.producers.items()):
            for channel in [each.channel for each in clients.values() if each.seen_ms < before_ms]:
                self.leave_producers(name, channel)
        for name, group in list(self.consumers.items()):
            for channel in [each.channel for each in group.clients.values() if each.seen_ms < before_ms]:
                self.leave_consumers(name, channel, notify=False)
        self._effects += [CloseChannel(channel) for channel in sorted(silent)]

    def find_consumer(self, name: str, client_id: str) -> Client | None:
        """Return a member of a consumer group by its id; the one heard last where it is there twice."""
        group = self.consumers.get(name)
        return None if group is None else _heard_last(group.clients.values(), client_id)

    def find_producer(self, client_id: str) -> Client | None:
        """Return a producer by its id, whatever its groups; the one heard last where it is there twice."""
        return _heard_last((each for group in self.producers.values() for each in group.values()), client_id)

    def client_ids(self, name: str) -> tuple[str, ...]:
        """Return the ids of a consumer group's members, each once."""
        group = self.consumers.get(name)
        clients = () if group is None else group.clients.values()
        return tuple(dict.fromkeys(client.client_id for client in clients))

    def snapshot(self) -> list[SubscriptionUpdate]:
        """Return an update for each group that has somebody online."""
        return [_update(group) for group in self.consumers.values()]

    def _everybody(self) -> Iterator[Client]:
        for clients in self.producers.values():
            yield from clients.values()
        for group in self.consumers.values():
            yield from group.clients.values()

    def _join(self, client: Client, data: ConsumerData) -> tuple[ConsumerGroup, bool]:
        """Return the client's group, and whether the client is new there."""
        group = self.consumers.get(data.group_name)
        if group is None:
            group = ConsumerGroup(
                data.group_name, data.consume_type, data.message_model, data.consume_from_where
            )
            self.consumers[data.group_name] = group
        group.consume_type = data.consume_type
        group.message_model = data.message_model
        group.consume_from_where = data.consume_from_where
        is_new = client.channel not in group.clients
        group.clients[client.channel] = client
        return group, is_new

    def _publish(self, group: ConsumerGroup) -> None:
        """Tell the workers what is new of a group."""
        update = _update(group)
        if update != group.published:
            group.published = update
            self._effects.append(Publish(update))

    def _drop_if_empty(self, group: ConsumerGroup) -> None:
        if group.clients:
            return
        del self.consumers[group.name]
        nobody = SubscriptionUpdate(group.name, group.message_model, group.consume_type, None)
        self._effects.append(Publish(nobody))

    def _notify(self, group: ConsumerGroup) -> None:
        """Tell a group's members to share its queues anew; who all get every message share nothing."""
        if group.message_model == MessageModel.BROADCASTING:
            return
        for channel in group.clients:
            command = Command(
                RequestCode.NOTIFY_CONSUMER_IDS_CHANGED,
                opaque=next(self._opaques) & 0x7FFF_FFFF,
                flag=FLAG_ONEWAY,
                fields=write_header(NotifyConsumerIdsChangedHeader(consumer_group=group.name)),
            )
            self._effects.append(Push(channel, command))


def _heard_last(clients: Iterable[Client], client_id: str) -> Client | None:
    mine = (client for client in clients if client.client_id == client_id)
    return max(mine, key=lambda client: client.seen_ms, default=None)


def _replace_subscriptions(known: dict[str, SubscriptionData], said: tuple[SubscriptionData, ...]) -> bool:
    """Bring what is known of a group's subscriptions up to date; return whether the set of topics has changed."""
    is_changed = False
    for subscription in said:
        old = known.get(subscription.topic)
        if old is None or subscription.version > old.version:
            known[subscription.topic] = subscription
        is_changed |= old is None
    topics = {subscription.topic for subscription in said}
    for topic in [topic for topic in known if topic not in topics]:
        del known[topic]
        is_changed = True
    return is_changed


def _take_fingerprint(group: ConsumerGroup, fingerprint: int) -> bool:
    """Note the fingerprint of a heartbeat; return whether the last one had another."""
    is_other = group.fingerprint is not None and group.fingerprint != fingerprint
    group.fingerprint = fingerprint
    return is_other


def _update(group: ConsumerGroup) -> SubscriptionUpdate:
    subscriptions = tuple(group.subscriptions.values())
    return SubscriptionUpdate(group.name, group.message_model, group.consume_type, subscriptions)
