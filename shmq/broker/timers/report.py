"""What is known of messages that wait for a moment of their own: how many of each topic, and how far they have come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName
from shmq.store.timer_check import TimerCheck
from shmq.wire.bodies import DataVersion, data_version_of
from shmq.wire.members import as_integer, as_object, object_of


@dataclass(slots=True)
class TopicCount:
    """How many messages of a topic wait, and when that last changed."""

    count: int = 0
    changed_ms: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the timers have come.

    Attributes:
        read_behind_s: how late delivery is.
        offset_behind: how many messages have come and are in no slot yet.
        waiting: how many wait.
        enqueued_per_s: how many were put into slots, of late.
        delivered_per_s: how many were delivered, of late.
    """

    read_behind_s: int = 0
    offset_behind: int = 0
    waiting: int = 0
    enqueued_per_s: float = 0.0
    delivered_per_s: float = 0.0


class TimerReport:
    """Told by whoever runs the timers, read by those who are asked.

    Attributes:
        version: noted in `timermetrics`.
        check: what the check file says.
        progress: how far the timers have come.
    """

    def __init__(self) -> None:
        self.version = DataVersion()
        self.check = TimerCheck()
        self.progress = Progress()
        self._counts: dict[str, TopicCount] = {}

    def load(self, document: Any) -> None:
        """Take what `timermetrics` holds.

        Raises:
            StoreError: the document is not what it must be.
        """
        if document is None:
            return
        with reading(DocumentName.TIMER_METRICS):
            read = as_object(document, "the document")
            self.version = data_version_of(read, "dataVersion")
            for topic, value in object_of(read, "timingCount").items():
                each = as_object(value, topic)
                self._counts[str(topic)] = TopicCount(
                    as_integer(each.get("count"), "count"), as_integer(each.get("timeStamp"), "timeStamp")
                )

    def add(self, changes: Mapping[str, int], now_ms: int) -> None:
        """Note that so many more messages of topics wait, or so many less."""
        for topic, change in changes.items():
            counted = self._counts.setdefault(topic, TopicCount())
            counted.count += change
            counted.changed_ms = now_ms
        if changes:
            self.version = self.version.next(now_ms)

    def count_of(self, topic: str) -> int:
        """How many messages of a topic wait."""
        counted = self._counts.get(topic)
        return 0 if counted is None else counted.count

    def describe(self) -> dict[str, str]:
        """The names and values of runtime information."""
        progress = self.progress
        return {
            "timerReadBehind": str(progress.read_behind_s),
            "timerOffsetBehind": str(progress.offset_behind),
            "timerCongestNum": str(progress.waiting),
            "timerEnqueueTps": f"{progress.enqueued_per_s:.1f}",
            "timerDequeueTps": f"{progress.delivered_per_s:.1f}",
        }

    def to_json(self) -> dict[str, Any]:
        """The content of `timermetrics`."""
        counts = {
            topic: {"count": each.count, "timeStamp": each.changed_ms} for topic, each in self._counts.items()
        }
        return {"dataVersion": self.version.to_json(), "timingCount": counts}
