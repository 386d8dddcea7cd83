"""Who is measured: shmq, a bare asyncio server, RocketMQ's own broker; each on a new store, listening on loopback."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from perf.harness import OURS, ROOT
from tests.support.java import JavaBroker, JavaNameServer
from tests.support.java_build import build
from tests.support.processes import Process
from tests.support.shmq_process import ShmqBroker

ASYNCIO: Final = "asyncio echo"
JAVA: Final = "RocketMQ (Java)"

SEND_WAIT_MS: Final = 20_000  # both brokers: on a loaded machine a refused send would end the measurement
_LISTEN_DEADLINE_S: Final = 30.0
_SERVER_LINE: Final = "listening on "


@dataclass
class Contestant:
    """A running server.

    Attributes:
        name: as it appears in the figures.
        address: where it takes sends and pulls.
        roots: its processes; what they have started is part of it.
    """

    name: str
    address: str
    roots: list[Process]
    broker: ShmqBroker | None = None

    def processes(self) -> list[psutil.Process]:
        """Every process of it."""
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


def start_shmq(directory: Path) -> Contestant:
    """Our broker with its embedded name server, as it comes but for patience with the machine."""
    broker = ShmqBroker(directory, settings={"send_wait_ms_max": SEND_WAIT_MS})
    return Contestant(OURS, broker.address, [broker.process], broker)


def start_asyncio(directory: Path) -> Contestant:
    """A server that stores nothing (see `perf/echo_server.py`)."""
    command: list[str | Path] = [sys.executable, "-m", "perf.echo_server"]
    process = Process(command, log_path=directory / "echo.log", directory=ROOT)
    line = process.wait_line(lambda line: line.startswith(_SERVER_LINE), _LISTEN_DEADLINE_S)
    return Contestant(ASYNCIO, f"127.0.0.1:{line.removeprefix(_SERVER_LINE)}", [process])


def start_java(directory: Path) -> Contestant:
    """RocketMQ's name server and broker, with files of the sizes that shmq has by default."""
    build()
    name_server = JavaNameServer(directory / "java")
    try:
        broker = start_java_broker(directory / "java", name_server)
    except BaseException:
        name_server.process.kill()
        raise
    return Contestant(JAVA, broker.address, [broker.process, name_server.process])


def start_java_broker(directory: Path, name_server: JavaNameServer) -> JavaBroker:
    """RocketMQ's broker alone."""
    overrides = {
        "mappedFileSizeCommitLog": str(1 << 30),
        "mappedFileSizeConsumeQueue": "6000000",
        "waitTimeMillsInSendQueue": str(SEND_WAIT_MS),
        "autoCreateTopicEnable": "true",
    }
    return JavaBroker(
        directory,
        namesrv_address=name_server.address,
        store_root=directory / "store",
        broker_name="perf-java",
        overrides=overrides,
    )
