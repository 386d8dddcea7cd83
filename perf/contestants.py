"""Who is measured: shmq, RocketMQ's own broker, and a compiled server that does nothing else (`perf/peers.py`: others).

Each runs on a new store below the directory it is given, listens on free ports of loopback, and is ended by its own
process id.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from perf.harness import OURS, ROOT, kernel_cache
from perf.load.greetings import create_topics
from tests.support.java import JavaBroker, JavaNameServer
from tests.support.java_build import build
from tests.support.processes import Process
from tests.support.shmq_process import ShmqBroker

REACTOR: Final = "echo reactor"
JAVA: Final = "RocketMQ (Java)"

ASYNC_FLUSH: Final = "page cache, then disk within 500 ms"
SYNC_FLUSH: Final = "disk"
NOTHING: Final = "none"

SEND_WAIT_MS: Final = 20_000  # both brokers: on a loaded machine a refused send would end the measurement
_LISTEN_DEADLINE_S: Final = 60.0
_SERVER_LINE: Final = "listening on "


@dataclass
class Contestant:
    """A running server.

    Attributes:
        name: as it appears in the figures.
        address: where it takes messages.
        roots: its processes; what they have started is part of it.
        protocol: what the load speaks with it.
        durability: what its acknowledgement promises.
        prepare: makes topics of so many queues, before the first message.
        forget: lets go of what was sent, where that is cheap; between turns.
        name_server: where clients of RocketMQ find it.
    """

    name: str
    address: str
    roots: list[Process]
    protocol: str = "remoting"
    durability: str = ASYNC_FLUSH
    prepare: Callable[[str, Sequence[str], int], None] = create_topics
    forget: Callable[[], object] = bool
    name_server: str = ""
    broker: ShmqBroker | None = None

    def processes(self) -> list[psutil.Process]:
        """Every process of it that takes part in a message."""
        return [each for root in self.roots for each in (psutil.Process(root.pid), *root.descendants())]

    def stop(self) -> None:
        """End it; only shmq is asked to, and judged by how it ends."""
        if self.broker is not None:
            self.broker.stop()
        self.kill()

    def kill(self) -> None:
        """End it at once, and leave nothing in shared memory."""
        if self.broker is not None:
            self.broker.discard()
        for root in self.roots:
            root.kill()


def start_shmq(directory: Path, settings: Mapping[str, str | int] | None = None) -> Contestant:
    """Our broker with its embedded name server, as it comes but for patience with the machine."""
    broker = ShmqBroker(directory / "shmq", settings={"send_wait_ms_max": SEND_WAIT_MS, **(settings or {})})
    return Contestant(
        OURS, broker.address, [broker.process], name_server=broker.namesrv_address, broker=broker
    )


def start_shmq_sync(directory: Path) -> Contestant:
    """Our broker, acknowledging when a message is on disk."""
    found = start_shmq(directory / "sync", {"flush_disk_type": "SYNC_FLUSH"})
    found.durability = SYNC_FLUSH
    return found


def start_reactor(directory: Path) -> Contestant:
    """A server that stores nothing (see `perf/echo_reactor.py`)."""
    command: list[str | Path] = [sys.executable, "-m", "perf.echo_reactor"]
    process = Process(
        command,
        log_path=directory / "reactor.log",
        directory=ROOT,
        environment={"NUMBA_CACHE_DIR": kernel_cache()},
    )
    line = process.wait_line(lambda line: line.startswith(_SERVER_LINE), _LISTEN_DEADLINE_S)
    address = f"127.0.0.1:{line.removeprefix(_SERVER_LINE)}"
    return Contestant(REACTOR, address, [process], durability=NOTHING, prepare=_prepare_nothing)


def start_java(directory: Path, overrides: Mapping[str, str] | None = None) -> Contestant:
    """RocketMQ's broker and its name server, with files of the sizes that shmq has by default."""
    build()
    name_server = JavaNameServer(directory / "java")
    try:
        broker = start_java_broker(directory / "java", name_server, overrides)
    except BaseException:
        name_server.process.kill()
        raise
    return Contestant(
        JAVA,
        broker.address,
        [broker.process, name_server.process],
        name_server=name_server.address,
    )


def start_java_sync(directory: Path) -> Contestant:
    """RocketMQ's broker, acknowledging when a message is on disk."""
    found = start_java(directory / "sync", {"flushDiskType": "SYNC_FLUSH"})
    found.durability = SYNC_FLUSH
    return found


def start_java_broker(
    directory: Path, name_server: JavaNameServer, overrides: Mapping[str, str] | None = None
) -> JavaBroker:
    """RocketMQ's broker alone."""
    chosen = {
        "mappedFileSizeCommitLog": str(1 << 30),
        "mappedFileSizeConsumeQueue": "6000000",
        "waitTimeMillsInSendQueue": str(SEND_WAIT_MS),
        "autoCreateTopicEnable": "true",
        **(overrides or {}),
    }
    return JavaBroker(
        directory,
        namesrv_address=name_server.address,
        store_root=directory / "store",
        broker_name="perf-java",
        overrides=chosen,
    )


def _prepare_nothing(_address: str, _topics: Sequence[str], _queues: int) -> None:
    """Every topic is known to who reads none."""
