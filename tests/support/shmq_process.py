"""shmq's own servers as child processes: `shmq-supervisor` and `shmq-namesrv`.

A broker started here keeps everything in the directories it is given, and its end is checked: no child outlives it
and no segment of its name stays in /dev/shm.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from tests.support.ports import HOST, free_broker_port, free_port
from tests.support.processes import STOP_DEADLINE_S, Process, assert_gone
from tests.support.waiting import eventually

READY: Final = ("shmq ready", "shmq-namesrv ready", "shmq-filter-server ready")
READY_DEADLINE_S: Final = 280.0  # the first start compiles every kernel

_SHARED_MEMORY: Final = Path("/dev/shm")
_SCRIPTS: Final = Path(sys.executable).parent
SUPERVISOR: Final = _SCRIPTS / "shmq-supervisor"


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
        environment: Mapping[str, str] | None = None,
        listen_host: str = HOST,
        port: int | None = None,
        in_own_group: bool = False,
        launcher: Sequence[str | Path] = (),
    ) -> None:
        self.port = port = port or free_broker_port()
        self.namesrv_port = free_port()
        namesrv_listen = f"{HOST}:{self.namesrv_port}"
        self.directory = directory
        self.address = f"{HOST}:{port}"
        self.vip_address = f"{HOST}:{port - 2}"
        self.broker_name = broker_name or f"test-{os.getpid()}-{port}"
        self.store_root = store_root or directory / "store"
        self.namesrv_address = namesrv_addresses or namesrv_listen
        if namesrv_addresses is None:
            name_server = ["--namesrv-listen", f"{listen_host}:{self.namesrv_port}"]
        else:
            name_server = ["--namesrv-listen", "off", "--namesrv", namesrv_addresses]
        command: list[str | Path] = [
            *launcher,
            SUPERVISOR,
            *("--store-root", self.store_root),
            *("--listen", f"{listen_host}:{port}"),
            *("--broker-name", self.broker_name),
            *("--console-listen", "off"),
            *name_server,
            *(part for key, value in (settings or {}).items() for part in ("--set", f"{key}={value}")),
        ]
        self.process = _start(
            command, directory, "supervisor", environment=environment, in_own_group=in_own_group
        )

    @property
    def log_path(self) -> Path:
        """The log of all its processes, one JSON object a line."""
        return self.directory / "logs" / "shmq.log"

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what it has logged, whole lines only."""
        text = self.log_path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def worker(self, name: str) -> psutil.Process:
        """Return the child of that name, once there is one."""
        found: list[psutil.Process] = []

        def look() -> bool:
            found[:] = [each for each in self.workers() if _is_named(each, f"shmq-{name}")]
            return bool(found)

        eventually(look)
        return found[0]

    def kill_worker(self, name: str) -> psutil.Process:
        """Kill the child of that name, and wait until it is gone; return it."""
        victim = self.worker(name)
        victim.kill()
        psutil.wait_procs([victim], timeout=STOP_DEADLINE_S)
        return victim

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

    def discard(self) -> None:
        """Kill whatever of it still runs, and remove what lies in /dev/shm under its name."""
        self.kill()
        for segment in self.segments():
            segment.unlink()

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


class ShmqFilterServer:
    """A filter server of one broker."""

    def __init__(self, directory: Path, broker_address: str, *options: str) -> None:
        port = free_port()
        self.address = f"{HOST}:{port}"
        command: list[str | Path] = [
            _SCRIPTS / "shmq-filter-server",
            *("--broker", broker_address, "--listen", self.address),
            *options,
        ]
        self.process = _start(command, directory, "filter-server")

    def stop(self) -> None:
        """Stop it by SIGTERM."""
        filters = self.process.descendants()
        code = self.process.terminate(STOP_DEADLINE_S)
        if code != 0:
            raise self.process.failure(f"was asked to stop and ended with code {code}")
        assert_gone(filters)


def run_supervisor(directory: Path, *arguments: str | Path) -> tuple[int, str]:
    """Run a supervisor that is to end by itself; return its exit code and all that it printed."""
    directory.mkdir(parents=True, exist_ok=True)
    log_path = directory / "refused.log"
    log_path.unlink(missing_ok=True)
    command: list[str | Path] = [SUPERVISOR, "--console-listen", "off", *arguments]
    environment = {"SHMQ_LOG_DIRECTORY": str(directory / "logs")}
    with Process(command, log_path=log_path, environment=environment, directory=directory) as process:
        code = process.wait_exit(READY_DEADLINE_S)
    return code, log_path.read_text()


def _is_named(process: psutil.Process, name: str) -> bool:
    try:
        return bool(process.name() == name and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _start(
    command: list[str | Path],
    directory: Path,
    name: str,
    *,
    environment: Mapping[str, str] | None = None,
    in_own_group: bool = False,
) -> Process:
    directory.mkdir(parents=True, exist_ok=True)
    process = Process(
        command,
        log_path=directory / f"{name}.log",
        environment={"SHMQ_LOG_DIRECTORY": str(directory / "logs"), **(environment or {})},
        directory=directory,
        in_own_group=in_own_group,
    )
    try:
        process.wait_line(lambda line: line.startswith(READY), READY_DEADLINE_S)
    except BaseException:
        process.kill()
        raise
    return process
