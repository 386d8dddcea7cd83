"""What a client is pointed at: a name server and a broker, ours or RocketMQ's own.

Every scenario can run against both. Against RocketMQ's it shows that the scenario is right, against ours that shmq
is. `INTEROP_ENDPOINTS` says which are under test: `shmq` where nothing else is said, `java` after a change to a
scenario, or both with a comma.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.java import JavaBroker, JavaNameServer
from tests.support.shmq_process import ShmqBroker

JAVA: Final = "java"
SHMQ: Final = "shmq"

UNDER_TEST: Final = tuple(os.environ.get("INTEROP_ENDPOINTS", SHMQ).split(","))

# Small files: ten thousand messages roll the queues, and a large test the log.
COMMIT_LOG_FILE_BYTES: Final = 16 << 20
CONSUME_QUEUE_FILE_BYTES: Final = 20 * 300

# Tests kill processes one after the other: each is to be there again at once, and none of them is one too many.
QUICK_RESTARTS: Final = {"restart_delay_ms_min": "10", "restart_delay_ms_max": "50", "restarts_max": "100"}


def pairs_under_test(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep the pairs that judge an endpoint under test: two of RocketMQ's own judge the scenario alone."""
    return [pair for pair in pairs if (SHMQ if SHMQ in pair else JAVA) in UNDER_TEST]


@dataclass
class Endpoint:
    """One running broker and the name server that knows it."""

    namesrv_address: str
    broker: JavaBroker | ShmqBroker
    _name_server: JavaNameServer | None = None

    def stop(self) -> None:
        """Stop the broker in good order; the name server keeps nothing that would want one."""
        self.broker.stop()
        if self._name_server is not None:
            self._name_server.process.kill()

    def discard(self) -> None:
        """End what still runs, and leave nothing behind in shared memory."""
        self.kill()
        if isinstance(self.broker, ShmqBroker):
            self.broker.discard()

    def kill(self) -> None:
        """End both with no chance to tidy up."""
        self.broker.kill()
        if self._name_server is not None:
            self._name_server.process.kill()


def start_endpoint(
    kind: str,
    directory: Path,
    *,
    store_root: Path | None = None,
    broker_name: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Endpoint:
    """Start a broker of one kind with a name server of its kind, on a store that may hold messages already.

    Overrides have RocketMQ's names, whichever kind it is.
    """
    store = store_root or directory / "store"
    if kind == SHMQ:
        ours = start_shmq(directory, store_root=store, broker_name=broker_name, overrides=overrides)
        return Endpoint(ours.namesrv_address, ours)
    name_server = JavaNameServer(directory)
    try:
        broker = start_java(
            directory,
            name_server.address,
            store_root=store,
            broker_name=broker_name,
            overrides=overrides,
        )
    except BaseException:
        name_server.process.kill()
        raise
    return Endpoint(name_server.address, broker, name_server)


@contextmanager
def shared_endpoint(
    kind: str, directory: Path, overrides: Mapping[str, str] | None = None
) -> Iterator[Endpoint]:
    """Give tests an endpoint that they share, as `start_endpoint`; ours must also stop in good order."""
    started = start_endpoint(kind, directory, overrides=overrides)
    try:
        yield started
        if kind == SHMQ:  # the other one's end is not ours to judge, and slow
            started.stop()
    finally:
        started.discard()


def start_java(
    directory: Path,
    namesrv_address: str,
    *,
    store_root: Path | None = None,
    broker_name: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> JavaBroker:
    """Start RocketMQ's broker with small files."""
    sizes = {
        "mappedFileSizeCommitLog": str(COMMIT_LOG_FILE_BYTES),
        "mappedFileSizeConsumeQueue": str(CONSUME_QUEUE_FILE_BYTES),
    }
    return JavaBroker(
        directory,
        namesrv_address=namesrv_address,
        store_root=store_root or directory / "store",
        broker_name=broker_name or "java-broker",
        overrides=sizes | dict(overrides or {}),
    )


def start_shmq(
    directory: Path,
    namesrv_address: str | None = None,
    *,
    store_root: Path | None = None,
    broker_name: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> ShmqBroker:
    """Start our broker with files of the same sizes; what is killed of it is soon there again."""
    return ShmqBroker(
        directory,
        store_root=store_root,
        broker_name=broker_name,
        namesrv_addresses=namesrv_address,
        settings={
            "commit_log_file_bytes": COMMIT_LOG_FILE_BYTES,
            "consume_queue_file_bytes": CONSUME_QUEUE_FILE_BYTES,
            **QUICK_RESTARTS,
            **(overrides or {}),
        },
    )
