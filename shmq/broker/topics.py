"""Topics: the conductor's table of topics, each with its queues and what they allow.

A change is noted in the table's version, then told as effects: to every worker's replica, to `topics.json`, to
the name servers. Slots in the queue table are made before a topic is published and are never taken back: a topic
that is deleted and made again has its old ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from shmq.broker.attributes import TOPIC_ATTRIBUTES, alter_attributes
from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName, Effect, Persist, Publish, RegisterTopics
from shmq.broker.names import (
    AUTO_CREATE_TOPIC,
    BENCHMARK_TOPIC,
    HALF_OPERATION_TOPIC,
    HALF_TOPIC,
    MEMBER_TOPIC_PREFIX,
    OFFSET_MOVED_TOPIC,
    REPLY_TOPIC_SUFFIX,
    REVIVE_TOPIC_PREFIX,
    SCHEDULE_TOPIC,
    SELF_TEST_TOPIC,
    SYSTEM_TOPIC_PREFIX,
    SYSTEM_TOPICS,
    TIMER_TOPIC,
)
from shmq.broker.updates import TopicUpdate
from shmq.config.settings import Config
from shmq.errors import RequestError, StoreError
from shmq.store.name_table import NameTable
from shmq.store.position import NONE
from shmq.store.queue_table import QueueTable
from shmq.wire.bodies import DataVersion
from shmq.wire.codes import ResponseCode
from shmq.wire.flags import PERM_INHERIT, PERM_READ, PERM_WRITE
from shmq.wire.members import as_object
from shmq.wire.topic_bodies import TopicConfig, TopicConfigSerializeWrapper

PERM_READ_WRITE: Final = PERM_READ | PERM_WRITE
SCHEDULE_QUEUES: Final = 18
REVIVE_QUEUES: Final = 8
BENCHMARK_QUEUES: Final = 1024
CLUSTER_QUEUES: Final = 16


class Topics:
    """The topics of this broker.

    Attributes:
        version: noted in `topics.json` and at the name servers.
    """

    def __init__(
        self, names: NameTable, queues: QueueTable, settings: Config, effects: list[Effect], now_ms: int
    ) -> None:
        self.version = DataVersion(timestamp_ms=now_ms)
        self._names = names
        self._queues = queues
        self._settings = settings
        self._effects = effects
        self._configs: dict[str, TopicConfig] = {}
        self._slots: dict[str, tuple[int, ...]] = {}
        self._own_system_topics: set[str] = set()

    def load(self, document: Any) -> None:
        """Take what `topics.json` holds, then add the system topics that it lacks.

        Raises:
            StoreError: the tables are too small, or the document is not what it must be.
        """
        if document is not None:
            with reading(DocumentName.TOPICS):
                given = TopicConfigSerializeWrapper.from_json(as_object(document, "the document"))
            self.version = given.data_version
            for name, config in given.topics.items():
                self._install(self._without_forbidden_inheritance(replace(config, topic=name)))
        for config in self._system_topics():
            self._own_system_topics.add(config.topic)
            if config.topic not in self._configs:
                self._install(config)

    def __contains__(self, name: str) -> bool:
        return name in self._configs

    def __iter__(self) -> Iterator[TopicConfig]:
        return iter(self._configs.values())

    def __len__(self) -> int:
        return len(self._configs)

    def get(self, name: str) -> TopicConfig | None:
        """Return a topic's config; None where there is no such topic."""
        return self._configs.get(name)

    def select(self, names: Iterable[str] | None) -> tuple[list[TopicConfig], DataVersion]:
        """Return those of some topics that there are, or all where names is None; and the table's version."""
        if names is None:
            return list(self), self.version
        return [config for config in map(self.get, names) if config is not None], self.version

    def slots(self, name: str) -> tuple[int, ...]:
        """Return the slot of each of a topic's queues, by queue id."""
        return self._slots.get(name, ())

    def is_system(self, name: str) -> bool:
        """Whether a topic is the broker's own business."""
        return (
            name in SYSTEM_TOPICS or name in self._own_system_topics or name.startswith(SYSTEM_TOPIC_PREFIX)
        )

    def system_names(self) -> list[str]:
        """Return the names of all system topics, whether or not they exist."""
        return sorted(SYSTEM_TOPICS | self._own_system_topics)

    def make_after(self, name: str, default_topic: str, queue_nums: int, sys_flag: int, now_ms: int) -> None:
        """Make a topic for its first message, after the default topic that the client names.

        Raises:
            RequestError: TOPIC_NOT_EXIST: the default topic does not exist, or may not be followed.
        """
        if name in self._configs:
            return
        model = self._configs.get(default_topic)
        if model is None or not model.permission & PERM_INHERIT:
            remark = f"topic[{name}] not exist, apply first please!"
            raise RequestError(ResponseCode.TOPIC_NOT_EXIST, remark)
        queues = max(min(queue_nums, model.write_queue_count), 0)
        config = TopicConfig(
            topic=name,
            read_queue_count=queues,
            write_queue_count=queues,
            permission=model.permission & ~PERM_INHERIT,
            topic_filter_type=model.topic_filter_type,
            topic_sys_flag=sys_flag,
        )
        self.put(config, now_ms)

    def make_if_absent(self, config: TopicConfig, now_ms: int) -> TopicConfig:
        """Return the topic as it is, made like this where there was none; the order flag is brought up to date."""
        existing = self._configs.get(config.topic)
        if existing is None:
            self.put(config, now_ms)
            return config
        if existing.order != config.order:
            existing = replace(existing, order=config.order)
            self._note(existing, now_ms)
        return existing

    def alter(self, config: TopicConfig, attribute_changes: dict[str, str], now_ms: int) -> None:
        """Make or change a topic as an administrator wants it; what changes nothing is no change.

        Raises:
            RequestError: an attribute cannot be changed like this, or there is no room.
        """
        existing = self._configs.get(config.topic)
        current = None if existing is None else existing.attributes
        config = replace(config, attributes=alter_attributes(TOPIC_ATTRIBUTES, current, attribute_changes))
        if config != existing:
            self.put(config, now_ms)

    def put(self, config: TopicConfig, now_ms: int) -> None:
        """Make or replace a topic, and register it at once.

        Raises:
            RequestError: SYSTEM_ERROR: the broker has no room for the topic or its queues.
        """
        self._note(config, now_ms)
        self._effects.append(RegisterTopics((config.topic,)))

    def delete(self, name: str, now_ms: int) -> bool:
        """Forget a topic; return whether there was one. What its queues hold is no longer to be seen."""
        if self._configs.pop(name, None) is None:
            return False
        for slot in self._slots.pop(name):
            self._queues.min[slot] = self._queues.max[slot]
        self.version = self.version.next(now_ms)
        update = TopicUpdate(name, self._names.find(name.encode()), None, ())
        self._effects += (Publish(update), Persist(DocumentName.TOPICS))
        return True

    def drop_unused(self) -> list[str]:
        """Give up the queues' files of topics that are gone; return their names.

        The dispatcher, which writes them, removes them if nothing has come to a queue since. The queue keeps its offset
        for as long as the broker runs.
        """
        dropped: set[str] = set()
        for slot in range(self._queues.count):
            topic_id, _ = self._queues.topic_and_queue(slot)
            name = self._names.name(topic_id).decode(errors="replace")
            if name not in self._configs and not self.is_system(name):
                self._queues.min[slot] = self._queues.dropped[slot] = self._queues.max[slot]
                dropped.add(name)
        return sorted(dropped)

    def snapshot(self) -> list[TopicUpdate]:
        """Return an update for each topic."""
        return [self._update(config) for config in self._configs.values()]

    def to_json(self, names: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Return the content of `topics.json`, or that part of it which is about these topics."""
        chosen = tuple(self._configs) if names is None else names
        table = {name: self._configs[name].to_json() for name in chosen}
        return {"dataVersion": self.version.to_json(), "topicConfigTable": table}

    def _note(self, config: TopicConfig, now_ms: int) -> None:
        try:
            self._install(config)
        except StoreError as error:
            raise RequestError(ResponseCode.SYSTEM_ERROR, f"topic[{config.topic}]: {error}") from error
        self.version = self.version.next(now_ms)
        self._effects += (Publish(self._update(config)), Persist(DocumentName.TOPICS))

    def _install(self, config: TopicConfig) -> None:
        """Give a topic its id and slots, then its place in the table."""
        queue_nums = max(config.read_queue_count, config.write_queue_count)
        if config.topic == SCHEDULE_TOPIC:  # one queue a delay level, whatever its config says
            queue_nums = max(queue_nums, len(self._settings.delay_levels_ms))
        room = self._queues.capacity - self._queues.count
        if queue_nums > self._queues.capacity or self._missing(config.topic, queue_nums) > room:
            raise StoreError(f"no room for {queue_nums} queues: the broker can have {self._queues.capacity}")
        topic_id = self._names.add(config.topic.encode())
        slots = tuple(self._queues.add(topic_id, queue_id) for queue_id in range(queue_nums))
        for slot in slots:
            self._queues.dropped[slot] = 0
        self._slots[config.topic] = slots
        self._configs[config.topic] = config

    def _missing(self, topic: str, queue_nums: int) -> int:
        """Return how many queues of a topic have no slot yet; a predecessor may have made some."""
        topic_id = self._names.find(topic.encode())
        if topic_id == NONE:
            return queue_nums
        return sum(self._queues.find(topic_id, queue_id) == NONE for queue_id in range(queue_nums))

    def _update(self, config: TopicConfig) -> TopicUpdate:
        topic_id = self._names.find(config.topic.encode())
        return TopicUpdate(config.topic, topic_id, config, self._slots[config.topic])

    def _without_forbidden_inheritance(self, config: TopicConfig) -> TopicConfig:
        """Return a loaded topic; the setting may have changed since TBW102 was saved."""
        if config.topic == AUTO_CREATE_TOPIC and not self._settings.auto_create_topic_enable:
            return replace(config, permission=config.permission & ~PERM_INHERIT)
        return config

    def _system_topics(self) -> list[TopicConfig]:
        """Return the topics that every start makes sure of; of two with one name the later counts."""
        settings = self._settings
        cluster, broker = settings.cluster_name, settings.broker_name
        cluster_perm = PERM_INHERIT | (PERM_READ_WRITE if settings.cluster_topic_enable else 0)
        broker_perm = PERM_INHERIT | (PERM_READ_WRITE if settings.broker_topic_enable else 0)
        wanted = [
            _system_topic(SELF_TEST_TOPIC),
            _system_topic(BENCHMARK_TOPIC, BENCHMARK_QUEUES),
            _system_topic(cluster, CLUSTER_QUEUES, cluster_perm),
            _system_topic(broker, 1, broker_perm),
            _system_topic(OFFSET_MOVED_TOPIC),
            _system_topic(SCHEDULE_TOPIC, SCHEDULE_QUEUES),
            _system_topic(cluster + REPLY_TOPIC_SUFFIX),
            _system_topic(REVIVE_TOPIC_PREFIX + cluster, REVIVE_QUEUES),
            _system_topic(MEMBER_TOPIC_PREFIX + broker, 1, PERM_INHERIT),
            _system_topic(HALF_TOPIC),
            _system_topic(HALF_OPERATION_TOPIC),
            _system_topic(TIMER_TOPIC),
        ]
        if settings.auto_create_topic_enable:
            queues = settings.default_topic_queue_nums
            wanted.append(_system_topic(AUTO_CREATE_TOPIC, queues, PERM_INHERIT | PERM_READ_WRITE))
        if settings.trace_topic_enable:
            wanted.append(_system_topic(settings.trace_topic_name))
        return list({config.topic: config for config in wanted}.values())


def _system_topic(name: str, queue_nums: int = 1, perm: int = PERM_READ_WRITE) -> TopicConfig:
    return TopicConfig(name, queue_nums, queue_nums, perm)
