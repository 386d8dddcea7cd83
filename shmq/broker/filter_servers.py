"""FilterServers: the filter servers that have registered, and the request with which they do.

RocketMQ's broker starts some by itself; ours is told of those that an operator runs (`shmq-filter-server`). Their
addresses go to the name servers with the broker's own, and so into routes, where consumers find them. One that is
silent, or whose connection ends, is forgotten.
"""

from dataclasses import dataclass
from typing import Final

from shmq.broker.effects import Effect, RegisterTopics
from shmq.broker.outcome import Channel

SILENT_MS_MAX: Final = 30_000


@dataclass(frozen=True, slots=True)
class _Registered:
    address: str
    seen_ms: int


class FilterServers:
    """Who has registered, by its connection."""

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._by_channel: dict[Channel, _Registered] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where they listen, each once."""
        return tuple(sorted({each.address for each in self._by_channel.values()}))

    def hear(self, channel: Channel, address: str, now_ms: int) -> None:
        """Note that one is there."""
        before = self.addresses
        self._by_channel[channel] = _Registered(address, now_ms)
        self._tell_unless(before)

    def close(self, channel: Channel) -> None:
        """Note that a connection is closed."""
        before = self.addresses
        self._by_channel.pop(channel, None)
        self._tell_unless(before)

    def close_worker(self, worker: int, epoch: int) -> None:
        """Note that a network worker has begun a new life."""
        for channel in [each for each in self._by_channel if each.worker == worker and each.epoch != epoch]:
            self.close(channel)

    def expire(self, now_ms: int) -> None:
        """Forget those that were not heard for too long."""
        for channel, found in list(self._by_channel.items()):
            if now_ms - found.seen_ms > SILENT_MS_MAX:
                self.close(channel)

    def _tell_unless(self, before: tuple[str, ...]) -> None:
        if self.addresses != before:
            self._effects.append(RegisterTopics(None))
