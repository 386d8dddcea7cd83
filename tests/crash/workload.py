"""A broker on a watched disk, with everybody at work who writes: producers, consumers' offsets, topics made."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from shmq.store.key_shape import KeyIndexShape
from shmq.store.store_files import StoreSizes
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from tests.crash.journal import Journal
from tests.crash.promises import Sent, body_of, properties_of
from tests.crash.watcher import Rule, Watcher, launched_under
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker

TOPIC: Final = "busy"
QUIET_TOPIC: Final = "quiet"
QUIET_MESSAGES: Final = 5
_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Plan:
    """What a run does; everything follows from the seed but the speed of the machine.

    Attributes:
        seed: of bodies, sizes, and how long syncs take.
        is_sync: SYNC_FLUSH.
        messages: how many are sent after the broker is ready.
        end: "stop", or "kill" of all processes.
        killed: names of the processes that are killed on the way, one after another.
    """

    seed: int
    is_sync: bool
    messages: int = 300
    end: str = "stop"
    killed: tuple[str, ...] = ()

    @property
    def sizes(self) -> StoreSizes:
        """Files so small that each kind is rolled often."""
        random = Random(self.seed)
        return StoreSizes(
            random.choice((8192, 16384, 65536)),
            20 * random.choice((10, 64, 300)),
            KeyIndexShape(100, random.choice((200, 1000))),
        )

    @property
    def settings(self) -> dict[str, str | int]:
        """For the broker."""
        random = Random(self.seed + 1)
        sizes = self.sizes
        return {
            "commit_log_file_bytes": sizes.commit_log_file_bytes,
            "consume_queue_file_bytes": sizes.consume_queue_file_bytes,
            "key_index_slots": sizes.key_index.slots,
            "key_index_entries": sizes.key_index.entries,
            "flush_disk_type": "SYNC_FLUSH" if self.is_sync else "ASYNC_FLUSH",
            "flush_interval_ms": random.choice((10, 50, 200)),
            "flush_least_pages": random.choice((1, 4)),
            "flush_thorough_interval_ms": random.choice((100, 1000)),
            "consume_queue_flush_interval_ms": random.choice((50, 200, 1000)),
            "consumer_offset_flush_interval_ms": 200,
            "network_workers": random.choice((1, 2)),
        }


@dataclass
class Run:
    """What was done and recorded.

    Attributes:
        plan: by which.
        journal: of the disk.
        attempted: the bodies of all that was sent, answered or not.
        is_closed: whether the broker said that it left the store closed.
    """

    plan: Plan
    journal: Journal
    attempted: set[bytes] = field(default_factory=set)
    is_closed: bool = False

    @property
    def acknowledged(self) -> list[tuple[int, Sent]]:
        """Moment and message of each answer that said it is stored."""
        return [(moment, what) for moment, what in self.journal.notes if isinstance(what, Sent)]


def record_run(
    directory: Path,
    plan: Plan,
    rule: Rule | None = None,
    on_ready: Callable[[ShmqBroker], None] | None = None,
) -> Run:
    """Run a broker in an empty directory, and write down what its disk was told."""
    store_root = directory / "store"
    watcher = Watcher(store_root, plan.seed, rule=rule)
    run = Run(plan, watcher.journal)
    with watcher:
        broker = ShmqBroker(
            directory,
            store_root=store_root,
            settings=plan.settings,
            launcher=launched_under(watcher.socket_path),
        )
        try:
            if on_ready is not None:
                on_ready(broker)
            _work(broker, plan, run, watcher)
            if plan.end == "stop":
                # Where one has just been killed, or a signal has met a call before the watcher saw it, it ends uncleanly.
                run.is_closed = broker.process.terminate() == 0
        finally:
            broker.discard()
    return run


def _work(broker: ShmqBroker, plan: Plan, run: Run, watcher: Watcher) -> None:
    queues = 4
    quota = iter(range(plan.messages))  # shared: next() is atomic
    failures: list[BaseException] = []

    def produce(queue_id: int) -> None:
        try:
            random = Random(plan.seed * 100 + queue_id)
            producer = _Producer(broker.address, run, watcher)
            for number in itertools.count():
                if next(quota, None) is None:
                    break
                producer.send(TOPIC, queue_id, number, random.choice((0, 200, 1000, 3500)))
            producer.close()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    quiet = _Producer(broker.address, run, watcher)
    for number in range(QUIET_MESSAGES):
        quiet.send(QUIET_TOPIC, 0, number, 100)
    quiet.close()
    threads = [threading.Thread(target=produce, args=(queue_id,)) for queue_id in range(queues)]
    for thread in threads:
        thread.start()
    administer = threading.Thread(target=_administer, args=(broker.address, threads, run.attempted, failures))
    administer.start()
    for name in plan.killed:
        threads[0].join(0.3)
        broker.worker(name).kill()
    for thread in (*threads, administer):
        thread.join()
    if failures:
        raise failures[0]


class _Producer:
    """Sends one message after another, and the same again until it has an answer that says yes or no."""

    def __init__(self, address: str, run: Run, watcher: Watcher) -> None:
        self._address = address
        self._run = run
        self._watcher = watcher
        self._remote: Remote | None = None

    def send(self, topic: str, queue_id: int, number: int, size: int) -> None:
        """Send it; note it where it is acknowledged."""
        body = body_of(topic, queue_id, number, size)
        self._run.attempted.add(body)
        try:
            if self._remote is None:
                self._remote = Remote(self._address, _TIMEOUT_S)
            answer = self._remote.send(topic, body, queue_id, properties_of(body).decode())
        except OSError:  # the process that served it was killed: it may be stored or not
            self.close()
            return
        if answer.code == ResponseCode.SUCCESS:
            fields = answer.fields
            place = int(fields["queueOffset"]), int(fields["msgId"][-16:], 16)
            self._watcher.note(Sent(topic, queue_id, number, body, *place))

    def close(self) -> None:
        """Close the connection."""
        if self._remote is not None:
            self._remote.close()
            self._remote = None


def _administer(
    address: str, busy: list[threading.Thread], attempted: set[bytes], failures: list[BaseException]
) -> None:
    """Commit offsets and make topics while others produce."""
    number = 0
    while any(thread.is_alive() for thread in busy):
        number += 1
        try:
            with Remote(address, _TIMEOUT_S) as remote:
                offset = remote.max_offset(TOPIC, number % 4)
                fields = {
                    "consumerGroup": f"group{number % 3}",
                    "topic": TOPIC,
                    "queueId": str(number % 4),
                    "commitOffset": str(offset),
                }
                remote.call(Command(RequestCode.UPDATE_CONSUMER_OFFSET, fields=fields))
                if number % 5 == 0:
                    topic = f"made{number}"
                    body = body_of(topic, 0, number, 0)
                    attempted.add(body)
                    remote.send(topic, body, 0, properties_of(body).decode())
        except OSError:
            continue
        except BaseException as error:  # noqa: BLE001 - raised again by who started it
            failures.append(error)
            return
        busy[0].join(0.05)
