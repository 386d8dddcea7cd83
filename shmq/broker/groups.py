"""Groups: the conductor's table of consumer groups, and which topics each is forbidden to read.

A group that nobody made is made when it is first asked for, if the broker may make groups. As with topics, a
change is noted in the version, then published and saved.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from shmq.broker.attributes import GROUP_ATTRIBUTES, alter_attributes
from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName, Effect, Persist, Publish
from shmq.broker.names import SYSTEM_GROUP_PREFIX, SYSTEM_GROUPS, group_problem
from shmq.broker.updates import GroupUpdate
from shmq.config.settings import Config
from shmq.errors import RequestError, StoreError
from shmq.store.name_table import NameTable
from shmq.wire.bodies import DataVersion, data_version_of
from shmq.wire.codes import ResponseCode
from shmq.wire.members import as_integer, as_object, object_of
from shmq.wire.topic_bodies import SubscriptionGroupConfig

_READ_BIT: Final = 1 << 2  # of a mask of what is forbidden: the only one that RocketMQ's requests set


class Groups:
    """The consumer groups of this broker.

    Attributes:
        version: noted in `subscriptionGroup.json`.
        forbidden: group -> topic -> mask of what is forbidden.
    """

    def __init__(self, names: NameTable, settings: Config, effects: list[Effect], now_ms: int) -> None:
        self.version = DataVersion(timestamp_ms=now_ms)
        self.forbidden: dict[str, dict[str, int]] = {}
        self._names = names
        self._settings = settings
        self._effects = effects
        self._configs: dict[str, SubscriptionGroupConfig] = {}

    def load(self, document: Any) -> None:
        """Take what `subscriptionGroup.json` holds, then add the system groups that it lacks.

        Raises:
            StoreError: the table of names is too small, or the document is not what it must be.
        """
        if document is not None:
            with reading(DocumentName.GROUPS):
                self._take(as_object(document, "the document"))
        for name in SYSTEM_GROUPS:
            if name not in self._configs:
                self._install(SubscriptionGroupConfig(name))

    def __contains__(self, name: str) -> bool:
        return name in self._configs

    def __iter__(self) -> Iterator[SubscriptionGroupConfig]:
        return iter(self._configs.values())

    def __len__(self) -> int:
        return len(self._configs)

    def get(self, name: str) -> SubscriptionGroupConfig | None:
        """Return a group's config; None where there is no such group."""
        return self._configs.get(name)

    def find(self, name: str, now_ms: int) -> SubscriptionGroupConfig | None:
        """Return a group's config, making the group if the broker may; None where it may not.

        Raises:
            RequestError: SYSTEM_ERROR: the broker has no room for another group.
        """
        existing = self._configs.get(name)
        if existing is not None:
            return existing
        may_make = self._settings.auto_create_group_enable or name.startswith(SYSTEM_GROUP_PREFIX)
        if not may_make or group_problem(name) is not None:
            return None
        config = SubscriptionGroupConfig(name)
        self._put(config, now_ms)
        return config

    def alter(self, config: SubscriptionGroupConfig, now_ms: int) -> None:
        """Make or change a group as an administrator wants it; its attributes are changes with a sign.

        Raises:
            RequestError: an attribute cannot be changed like this, or there is no room.
        """
        existing = self._configs.get(config.group_name)
        current = None if existing is None else existing.attributes
        attributes = alter_attributes(GROUP_ATTRIBUTES, current, config.attributes)
        self._put(replace(config, attributes=attributes), now_ms)

    def delete(self, name: str, now_ms: int) -> bool:
        """Forget a group; return whether there was one."""
        self.forbidden.pop(name, None)
        if self._configs.pop(name, None) is None:
            return False
        self.version = self.version.next(now_ms)
        update = GroupUpdate(name, self._names.find(name.encode()), None)
        self._effects += (Publish(update), Persist(DocumentName.GROUPS))
        return True

    def forbid_read(self, group: str, topic: str, now_ms: int, *, forbid: bool) -> None:
        """Forbid a group to read a topic, or allow it again."""
        masks = dict(self.forbidden.get(group, {}))
        mask = masks.get(topic, 0)
        masks[topic] = mask | _READ_BIT if forbid else mask & ~_READ_BIT
        self.forbidden[group] = {each: mask for each, mask in masks.items() if mask}
        if not self.forbidden[group]:
            del self.forbidden[group]
        self.version = self.version.next(now_ms)
        config = self._configs.get(group)
        if config is not None:
            self._effects.append(Publish(self._update(config)))
        self._effects.append(Persist(DocumentName.GROUPS))

    def is_read_forbidden(self, group: str, topic: str) -> bool:
        """Whether a group may not read a topic."""
        return self.forbidden.get(group, {}).get(topic, 0) & _READ_BIT != 0

    def snapshot(self) -> list[GroupUpdate]:
        """Return an update for each group."""
        return [self._update(config) for config in self._configs.values()]

    def to_json(self, names: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Return the content of `subscriptionGroup.json`, or that part of it which is about these groups."""
        chosen = tuple(self._configs) if names is None else names
        return {
            "dataVersion": self.version.to_json(),
            "forbiddenTable": {name: self.forbidden[name] for name in chosen if name in self.forbidden},
            "subscriptionGroupTable": {name: self._configs[name].to_json() for name in chosen},
        }

    def _take(self, document: dict[str, Any]) -> None:
        self.version = data_version_of(document, "dataVersion")
        for name, read in object_of(document, "subscriptionGroupTable").items():
            config = SubscriptionGroupConfig.from_json({"groupName": name} | as_object(read, name))
            self._install(replace(config, group_name=name))
        for name, topics in object_of(document, "forbiddenTable").items():
            masks = as_object(topics, name)
            self.forbidden[name] = {topic: as_integer(mask, topic) for topic, mask in masks.items()}

    def _put(self, config: SubscriptionGroupConfig, now_ms: int) -> None:
        try:
            self._install(config)
        except StoreError as error:
            raise RequestError(ResponseCode.SYSTEM_ERROR, f"group[{config.group_name}]: {error}") from error
        self.version = self.version.next(now_ms)
        self._effects += (Publish(self._update(config)), Persist(DocumentName.GROUPS))

    def _install(self, config: SubscriptionGroupConfig) -> None:
        self._names.add(config.group_name.encode())
        self._configs[config.group_name] = config

    def _update(self, config: SubscriptionGroupConfig) -> GroupUpdate:
        name = config.group_name
        forbidden = tuple(
            topic for topic in self.forbidden.get(name, {}) if self.is_read_forbidden(name, topic)
        )
        return GroupUpdate(name, self._names.find(name.encode()), config, forbidden)
