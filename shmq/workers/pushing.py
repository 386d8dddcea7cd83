"""What the registrar tells brokers by itself: one request each, that wants no answer, on a connection of its own."""

from collections.abc import Iterable
from typing import Any, Final

from shmq.naming.naming import Push
from shmq.workers.link import Link, Watcher

PATIENCE_MS: Final = 3000
PUSHES_MAX: Final = 256  # at once; brokers ask for themselves too


class _Errand:
    """One push under way."""

    def __init__(self, push: Push, link: Link, deadline_ms: int) -> None:
        self.push = push
        self.link = link
        self.deadline_ms = deadline_ms
        self.is_sent = False


class Pusher:
    """Dials, sends and hangs up."""

    def __init__(self, watcher: Watcher, log: Any) -> None:
        self._watcher = watcher
        self._log = log
        self._errands: list[_Errand] = []

    @property
    def due_ms(self) -> int:
        """When push() has something to do though nothing is ready."""
        return min((min(errand.deadline_ms, errand.link.due_ms) for errand in self._errands), default=2**62)

    def offer(self, pushes: Iterable[Push], now_ms: int) -> None:
        """Take on pushes; those that are too many are dropped."""
        for push in pushes:
            if len(self._errands) >= PUSHES_MAX:
                self._log.warning("push dropped, too many are under way", peer=push.address)
                continue
            link = Link(push.address, self._watcher, self._log)
            self._errands.append(_Errand(push, link, now_ms + PATIENCE_MS))

    def push(self, now_ms: int) -> None:
        """Go on with what is under way."""
        for errand in self._errands:
            errand.link.tick(now_ms)
            if errand.link.is_connected and not errand.is_sent:
                errand.is_sent = errand.link.send(errand.push.command)
        self._errands = [errand for errand in self._errands if not self._is_over(errand, now_ms)]

    def close(self) -> None:
        """Give up what is under way."""
        for errand in self._errands:
            errand.link.close()
        self._errands.clear()

    def _is_over(self, errand: _Errand, now_ms: int) -> bool:
        is_sent = errand.is_sent and not errand.link.output_bytes
        if not is_sent and now_ms < errand.deadline_ms:
            return False
        errand.link.close()
        return True
