"""Request modes: whether a group pulls or pops a topic, where the broker assigns its queues."""

from typing import Any

from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName, Effect, Persist
from shmq.broker.names import RETRY_PREFIX
from shmq.config.settings import Config
from shmq.wire.assignment_bodies import ModeSetting, RequestMode
from shmq.wire.members import as_object, object_of


class RequestModes:
    """What was set for topics and groups."""

    def __init__(self, settings: Config, effects: list[Effect]) -> None:
        """Begin with nothing set."""
        self._settings = settings
        self._effects = effects
        self._set: dict[tuple[str, str], ModeSetting] = {}

    def load(self, document: Any) -> None:
        """Take what `messageRequestMode.json` holds.

        Raises:
            StoreError: the document is not what it must be.
        """
        if document is None:
            return
        with reading(DocumentName.REQUEST_MODES):
            for topic, groups in object_of(
                as_object(document, "the document"), "messageRequestModeMap"
            ).items():
                for group, written in as_object(groups, topic).items():
                    self._set[topic, group] = ModeSetting.from_json(as_object(written, group))

    def set(self, setting: ModeSetting) -> None:
        """Set how a group asks for the messages of a topic."""
        self._set[setting.topic, setting.consumer_group] = setting
        self._effects.append(Persist(DocumentName.REQUEST_MODES))

    def find(self, topic: str, group: str) -> ModeSetting:
        """Return how a group asks for the messages of a topic: as set, or by default."""
        found = self._set.get((topic, group))
        if found is not None:
            return found
        mode = RequestMode(self._settings.request_mode)
        if topic.startswith(RETRY_PREFIX):
            mode = RequestMode.PULL  # what is to be popped again comes with the topic itself
        share_count = self._settings.pop_share_count if mode is RequestMode.POP else 0
        return ModeSetting(topic, group, mode, share_count)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `messageRequestMode.json`."""
        by_topic: dict[str, dict[str, Any]] = {}
        for (topic, group), setting in self._set.items():
            by_topic.setdefault(topic, {})[group] = setting.to_json()
        return {"messageRequestModeMap": by_topic}
