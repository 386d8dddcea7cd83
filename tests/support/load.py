"""Producers that go on whatever happens to the broker, and remember what was acknowledged; bodies are the keys."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from shmq.wire.codes import ResponseCode
from tests.support.remote import Remote
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Acknowledged:
    """A message that the broker said it has."""

    body: bytes
    queue_id: int
    queue_offset: int
    position: int


class Load:
    """One thread a queue, one message in flight each; a broken connection is opened again."""

    def __init__(self, address: str, topic: str, queues: int, tag: str) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.refusals: list[tuple[int, str | None]] = []
        self._address = address
        self._topic = topic
        self._tag = tag
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._produce, args=(each,)) for each in range(queues)]
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, messages: int, deadline_s: float = 60.0) -> None:
        """Wait until so many more messages are acknowledged than now."""
        with self._news:
            wanted = len(self.acknowledged) + messages
            grew = self._news.wait_for(lambda: len(self.acknowledged) >= wanted, deadline_s)
        assert grew, f"{wanted - len(self.acknowledged)} of {messages} were not taken; {self.refusals[-3:]}"

    def stop(self) -> None:
        """End the producers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _produce(self, queue_id: int) -> None:
        numbers = count()
        while not self._stop.is_set():
            try:
                with Remote(self._address, timeout_s=10) as remote:
                    while not self._stop.is_set():
                        self._send(remote, queue_id, f"{self._tag}/{queue_id}/{next(numbers)}".encode())
            except OSError:
                self._stop.wait(0.01)  # the worker is being restarted: a pause, not a synchronisation

    def _send(self, remote: Remote, queue_id: int, body: bytes) -> None:
        answer = remote.send(self._topic, body, queue_id, f"KEYS\x01{body.decode()}\x02")
        if answer.code != ResponseCode.SUCCESS:
            self.refusals.append((answer.code, answer.remark))
            return
        fields = answer.fields
        position = int(fields["msgId"][-16:], 16)
        made = Acknowledged(body, int(fields["queueId"]), int(fields["queueOffset"]), position)
        with self._news:
            self.acknowledged.append(made)
            self._news.notify_all()


@contextmanager
def load_on(address: str, topic: str, queues: int = 4, tag: str = "") -> Iterator[Load]:
    """Produce while the block runs; bodies begin with the tag."""
    load = Load(address, topic, queues, tag)
    try:
        yield load
    finally:
        load.stop()


def assert_all_there(address: str, topic: str, acknowledged: list[Acknowledged], queues: int = 4) -> None:
    """Each acknowledged message is where it was said to be, once; queue offsets have no gap."""
    with Remote(address) as remote:
        stored = {
            queue_id: remote.read_queue(
                topic,
                queue_id,
                max((e.queue_offset + 1 for e in acknowledged if e.queue_id == queue_id), default=0),
            )
            for queue_id in range(queues)
        }
    for messages in stored.values():
        assert [message.queue_offset for message in messages] == list(range(len(messages)))
    for each in acknowledged:
        message = stored[each.queue_id][each.queue_offset]
        assert (bytes(message.body), message.position) == (each.body, each.position)
    counts: dict[bytes, int] = {}
    for messages in stored.values():
        for message in messages:
            counts[bytes(message.body)] = counts.get(bytes(message.body), 0) + 1
    doubled = [body for body, times in counts.items() if times > 1]
    assert not doubled, f"stored more than once: {doubled[:5]}"


def assert_all_found_by_key(address: str, topic: str, acknowledged: list[Acknowledged]) -> None:
    """Each acknowledged message is found by its key, once: soon, since the key index follows the log."""
    with Remote(address) as remote:
        for each in acknowledged:
            found: list[tuple[bytes, int]] = []

            def is_found(each: Acknowledged = each, found: list[tuple[bytes, int]] = found) -> bool:
                found[:] = [
                    (bytes(message.body), message.position)
                    for message in remote.query(topic, each.body.decode())
                    if message.body == each.body  # others may have the same hash
                ]
                return bool(found)

            eventually(is_found)
            assert found == [(each.body, each.position)]
