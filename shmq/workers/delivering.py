"""Deliver delayed messages in time: what `broker/delays.py` says is due goes to the writer.

While any waits it is asked often; else not before the dispatcher says that another has come.
"""

from collections.abc import Callable
from typing import Final

from shmq.broker.delays import Delays, Delivery
from shmq.broker.outcome import Appended
from shmq.store.position import NONE
from shmq.workers.appending import Appender

LOOK_MS: Final = 100
QUIET_MS: Final = 60_000


class Delivering:
    """The conductor's part in delays."""

    def __init__(self, delays: Delays, appender: Appender, clock_ms: Callable[[], int]) -> None:
        self._delays = delays
        self._appender = appender
        self._clock_ms = clock_ms
        self._is_quiet = False
        self._is_stopped = False

    @property
    def is_roused(self) -> bool:
        """Whether something waits that was not there at the last look."""
        return self._is_quiet and self._delays.is_anything_waiting

    @property
    def is_waiting(self) -> bool:
        """Whether any message waits: delivering it moves offsets, whoever is there."""
        return self._delays.is_anything_waiting

    @property
    def needed(self) -> int:
        """No position of the log: retention does not wait for delay levels, as in RocketMQ."""
        return NONE

    def look(self, now_ms: int) -> int:
        """Deliver what is due; return after how many ms to look again, if nothing comes before."""
        self._deliver_due(now_ms)
        self._is_quiet = self._is_stopped or not self._delays.is_anything_waiting
        return QUIET_MS if self._is_quiet else LOOK_MS

    def stop(self) -> None:
        """Begin no more deliveries."""
        self._is_stopped = True

    def close(self) -> None:
        """There is nothing to let go of."""

    def _deliver_due(self, now_ms: int) -> None:
        if self._is_stopped:
            return
        for delivery in self._delays.due(now_ms):
            self._deliver(delivery, now_ms)

    def _deliver(self, delivery: Delivery, now_ms: int) -> None:
        def settle(appended: Appended) -> None:
            settled_ms = self._clock_ms()
            self._delays.settle(delivery, appended.status, settled_ms)
            self._deliver_due(settled_ms)  # the level may have more that is due

        self._appender.store(delivery.slot, delivery.records, settle, now_ms)
