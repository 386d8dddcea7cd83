"""shmq's own servers as child processes: `shmq-supervisor` and `shmq-namesrv`.

A broker started here keeps everything in the directories it is given, and its end is checked: no child outlives it
and no segment of its name stays in /dev/shm.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from tests.support.ports import HOST, free_broker_port, free_port
from tests.support.processes import STOP_DEADLINE_S, Process, assert_gone

READY: Final = ("shmq ready", "shmq-namesrv ready")
READY_DEADLINE_S: Final = 180.0  # the first start compiles every kernel

_SHARED_MEMORY: Final = Path("/dev/shm")
_SCRIPTS: Final = Path(sys.executable).parent


class ShmqBroker:
    """A supervisor and its processes, with an embedded name server unless told of another one."""

    def __init__(
        self,
        directory: Path,
        *,
        store_root: Path | None = None,
        broker_name: str | None = None,
        namesrv_addresses: str | None = None,
        settings: Mapping[str, str | int] | None = None,
    ) -> None:
        port = free_broker_port()
        namesrv_listen = f"{HOST}:{free_port()}"
        self.address = f"{HOST}:{port}"
        self.broker_name = broker_name or f"test-{os.getpid()}-{port}"
        self.store_root = store_root or directory / "store"
        self.namesrv_address = namesrv_addresses or namesrv_listen
        if namesrv_addresses is None:
            name_server = ["--namesrv-listen", namesrv_listen]
        else:
            name_server = ["--namesrv-listen", "off", "--namesrv", namesrv_addresses]
        command: list[str | Path] = [
            _SCRIPTS / "shmq-supervisor",
            *("--store-root", self.store_root),
            *("--listen", self.address),
            *("--broker-name", self.broker_name),
            *("--console-listen", "off"),
            *name_server,
            *(part for key, value in (settings or {}).items() for part in ("--set", f"{key}={value}")),
        ]
        self.process = _start(command, directory, "supervisor")

    def workers(self) -> list[psutil.Process]:
        """Return every process below the supervisor."""
        return self.process.descendants()

    def stop(self) -> None:
        """Stop it by SIGTERM, and check that nothing of it is left."""
        workers = self.workers()
        code = self.process.terminate(STOP_DEADLINE_S)
        if code != 0:
            raise self.process.failure(f"was asked to stop and ended with code {code}")
        assert_gone(workers)
        left = self.segments()
        if left:
            raise self.process.failure(f"ended and left {left}")

    def kill(self) -> None:
        """End the supervisor and all its processes with no chance to tidy up."""
        self.process.kill()

    def segments(self) -> list[Path]:
        """Return what lies in /dev/shm under this broker's name."""
        return sorted(_SHARED_MEMORY.glob(f"shmq-{self.broker_name}*"))


class ShmqNameServer:
    """The name server alone."""

    def __init__(self, directory: Path) -> None:
        self.address = f"{HOST}:{free_port()}"
        self.process = _start([_SCRIPTS / "shmq-namesrv", "--listen", self.address], directory, "namesrv")

    def stop(self) -> None:
        """Stop it by SIGTERM."""
        code = self.process.terminate(STOP_DEADLINE_S)
        if code != 0:
            raise self.process.failure(f"was asked to stop and ended with code {code}")


def _start(command: list[str | Path], directory: Path, name: str) -> Process:
    directory.mkdir(parents=True, exist_ok=True)
    process = Process(
        command,
        log_path=directory / f"{name}.log",
        environment={"SHMQ_LOG_DIRECTORY": str(directory / "logs")},
        directory=directory,
    )
    try:
        process.wait_line(lambda line: line.startswith(READY), READY_DEADLINE_S)
    except BaseException:
        process.kill()
        raise
    return process
