"""A client that does everything right, on connections that it opens once: whatever others do, it must not notice."""

from itertools import count
from types import TracebackType
from typing import Self

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.message import decode_messages
from tests.support.remote import Remote, pull_request
from tests.support.shmq_process import ShmqBroker

SUSPEND_MS = 15_000


class Healthy:
    """A producer, a consumer that waits, and a client of the name server, for the time of a `with` block."""

    def __init__(self, broker: ShmqBroker, topic: str) -> None:
        self._topic = topic
        self._numbers = count()
        self._producer = Remote(broker.address)
        self._consumer = Remote(broker.address)
        self._asking = Remote(broker.namesrv_address)
        sent = self._producer.send(topic, b"first")
        assert sent.code == ResponseCode.SUCCESS, sent
        first = int(sent.fields["queueOffset"])
        assert self._producer.pull(topic, 0, first, suspend_ms=SUSPEND_MS).code == ResponseCode.SUCCESS
        self._offset = first + 1
        self._waiting = self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for remote in (self._producer, self._consumer, self._asking):
            remote.close()

    def check(self) -> None:
        """Wake the pull that has waited since the last check by a message, and ask for the route."""
        body = b"message %d" % next(self._numbers)
        sent = self._producer.send(self._topic, body)
        assert sent.code == ResponseCode.SUCCESS, sent
        self._offset = int(sent.fields["queueOffset"]) + 1
        pulled = self._consumer.answer_to(self._waiting)
        while pulled.code == ResponseCode.PULL_NOT_FOUND:  # the last check was long ago
            pulled = self._consumer.answer_to(self._wait(int(pulled.fields["nextBeginOffset"])))
        assert pulled.code == ResponseCode.SUCCESS, pulled
        assert bytes(decode_messages(pulled.body)[-1].body) == body
        self._waiting = self._wait()
        route = self._asking.call(Command(RequestCode.GET_ROUTEINFO_BY_TOPIC, fields={"topic": self._topic}))
        assert route.code == ResponseCode.SUCCESS, route

    def _wait(self, offset: int | None = None) -> int:
        begin = self._offset if offset is None else offset
        return self._consumer.post(pull_request(self._topic, 0, begin, suspend_ms=SUSPEND_MS))
