"""FilterTable: the SQL92 expressions of consumer groups, as RocketMQ keeps them in consumerFilter.json.

A heartbeat registers the expressions of a group, one for each topic; a higher version replaces what was there, and an
expression that makes no sense takes away what it should replace, so that its consumers are told so when they pull. An
expression outlives its group's last consumer by a day: it is then dead, and is forgotten.

Each change is published to the network workers. What is here comes back after a restart from the document, and from the
heartbeats that the workers announce.

Where bit maps are made, each change is counted before it is published (`count_changes`), and an expression knows from
which position of the log on every bit map knows it: `live_from`. What it says of RocketMQ's kind is `bornTime`, which is
not earlier than that, since a RocketMQ broker believes bit maps of messages that were stored later.
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from shmq.broker.bloom import BloomBits, bloom_of
from shmq.broker.effects import DocumentName, Effect, Persist, Publish
from shmq.broker.filters import is_tag_type
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.sql.tree import SqlError
from shmq.broker.updates import FilterUpdate
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.store.position import NONE
from shmq.wire.heartbeat_bodies import EXPRESSION_SQL92, SubscriptionData

_DEAD_BEFORE_LOAD_MS: Final = 30_000
"""Who was alive when the document was written is taken to have died so long before it is read."""


class Raised(NamedTuple):
    """A change that was counted.

    Attributes:
        generation: the count; 0 where none is kept.
        live_from: a position of the log: nothing at or behind it is dispatched by who has not seen the count.
        now_ms: the clock after that.
    """

    generation: int
    live_from: int
    now_ms: int


_NOT_COUNTED: Final = Raised(0, NONE, 0)


@dataclass(frozen=True, slots=True)
class FilterData:
    """The expression of a group for a topic.

    Attributes:
        topic: the topic.
        group: the group.
        expression: an SQL92 expression that compiles.
        version: of the subscription that brought it.
        born_ms: when it came.
        dead_ms: when its group's last consumer was gone; 0 while there is one.
        bits: its positions in bit maps.
        live_from: bit maps of messages from this position of the log on know it; NONE: those of none do.
    """

    topic: str
    group: str
    expression: str
    version: int
    born_ms: int
    dead_ms: int
    bits: BloomBits
    live_from: int = NONE

    @property
    def is_dead(self) -> bool:
        """Whether nobody of the group is there."""
        return self.dead_ms >= self.born_ms


class FilterTable:
    """The expressions of all groups.

    Attributes:
        generation: the count of changes; 0 where none is kept.
    """

    def __init__(self, settings: Config, effects: list[Effect]) -> None:
        self._bloom = bloom_of(settings)
        self._forget_after_ms = settings.filter_retention_ms
        self._effects = effects
        self._by_topic: dict[str, dict[str, FilterData]] = {}
        self._raise: Callable[[], Raised] = lambda: _NOT_COUNTED
        self.generation = 0

    def count_changes(self, raise_count: Callable[[], Raised]) -> None:
        """Count changes from now on; what is here already counts as one."""
        self._raise = raise_count
        live_from = self._count().live_from
        for data in list(self):
            self._by_topic[data.topic][data.group] = replace(data, live_from=live_from)

    def __iter__(self) -> Iterator[FilterData]:
        for groups in self._by_topic.values():
            yield from groups.values()

    def find(self, topic: str, group: str) -> FilterData | None:
        """The expression of a group for a topic."""
        return self._by_topic.get(topic, {}).get(group)

    def hear(self, group: str, subscriptions: tuple[SubscriptionData, ...], now_ms: int) -> None:
        """Register what a heartbeat says that a group subscribes to; what it no longer names dies."""
        for said in subscriptions:
            if not is_tag_type(said.expression_type) and said.expression:
                self._register(group, said, now_ms)
        topics = {said.topic for said in subscriptions}
        for data in [each for each in self if each.group == group and each.topic not in topics]:
            if not data.is_dead:
                self._put(replace(data, dead_ms=now_ms), is_news=False)

    def expire(self, online: Container[str], now_ms: int) -> None:
        """Note which groups have nobody left, and forget those that had nobody for long."""
        for data in list(self):
            if not data.is_dead and data.group not in online:
                self._put(replace(data, dead_ms=now_ms), is_news=False)
            elif data.is_dead and now_ms - data.dead_ms >= self._forget_after_ms:
                self._remove(data.topic, data.group)

    def snapshot(self) -> list[FilterUpdate]:
        """Return an update for each expression."""
        return [self._update(each) for each in self]

    def to_json(self) -> dict[str, Any]:
        """Return the document's content."""
        topics = {
            topic: {
                "groupFilterData": {each.group: _to_json(each) for each in groups.values()},
                "topic": topic,
            }
            for topic, groups in self._by_topic.items()
        }
        return {"filterDataByTopic": topics}

    def load(self, document: Any, now_ms: int) -> None:
        """Take over a document; one whose bit maps are of another kind than ours is passed over, as in RocketMQ.

        Raises:
            StoreError: it is not what it must be.
        """
        if document is None:
            return
        try:
            read = [
                _from_json(each)
                for topic in document["filterDataByTopic"].values()
                for each in topic["groupFilterData"].values()
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{DocumentName.FILTERS} is not what it must be: {error!r}") from error
        if any(each.bits.bit_count != self._bloom.bit_count for each in read):
            return
        for data in read:
            if not _compiles(data.expression):
                continue
            if data.dead_ms == 0:
                data = replace(data, dead_ms=max(data.born_ms, now_ms - _DEAD_BEFORE_LOAD_MS))  # noqa: PLW2901
            self._put(data, is_news=True)

    def _register(self, group: str, said: SubscriptionData, now_ms: int) -> None:
        old = self.find(said.topic, group)
        if old is not None and said.version <= old.version:
            if said.version == old.version and old.is_dead:
                self._put(replace(old, dead_ms=0), is_news=False)
            return
        if old is not None and said.expression == old.expression:
            self._put(replace(old, version=said.version, dead_ms=0), is_news=True)
            return
        if said.expression_type != EXPRESSION_SQL92 or not _compiles(said.expression):
            if old is not None:
                self._remove(said.topic, group)
            return
        bits = self._bloom.bits_of(group, said.topic)
        raised = self._count()
        born_ms = max(now_ms, raised.now_ms)
        new = FilterData(said.topic, group, said.expression, said.version, born_ms, 0, bits, raised.live_from)
        self._put(new, is_news=True)

    def _put(self, data: FilterData, *, is_news: bool) -> None:
        """Keep an expression; workers need not hear of one that only died or came back to life."""
        self._by_topic.setdefault(data.topic, {})[data.group] = data
        if is_news:
            self._effects.append(Publish(self._update(data)))
        self._effects.append(Persist(DocumentName.FILTERS))

    def _remove(self, topic: str, group: str) -> None:
        groups = self._by_topic[topic]
        version = groups.pop(group).version
        if not groups:
            del self._by_topic[topic]
        self._count()
        self._effects.append(Publish(FilterUpdate(topic, group, None, version, NONE, self.generation)))
        self._effects.append(Persist(DocumentName.FILTERS))

    def _count(self) -> Raised:
        raised = self._raise()
        self.generation = raised.generation
        return raised

    def _update(self, data: FilterData) -> FilterUpdate:
        return FilterUpdate(
            data.topic, data.group, data.expression, data.version, data.live_from, self.generation
        )


def _compiles(expression: str) -> bool:
    try:
        compile_sql(expression)
    except SqlError:
        return False
    return True


def _to_json(data: FilterData) -> dict[str, Any]:
    return {
        "bloomFilterData": {"bitNum": data.bits.bit_count, "bitPos": list(data.bits.positions)},
        "bornTime": data.born_ms,
        "clientVersion": data.version,
        "consumerGroup": data.group,
        "dead": data.is_dead,
        "deadTime": data.dead_ms,
        "expression": data.expression,
        "expressionType": EXPRESSION_SQL92,
        "topic": data.topic,
    }


def _from_json(read: dict[str, Any]) -> FilterData:
    bits = read["bloomFilterData"]
    return FilterData(
        topic=str(read["topic"]),
        group=str(read["consumerGroup"]),
        expression=str(read["expression"]),
        version=int(read["clientVersion"]),
        born_ms=int(read["bornTime"]),
        dead_ms=int(read["deadTime"]),
        bits=BloomBits(tuple(int(position) for position in bits["bitPos"]), int(bits["bitNum"])),
    )
