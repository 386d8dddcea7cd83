"""Brokers that others made: Redis Streams, NATS JetStream, Kafka. `make perf-peers` installs them.

A peer that is not installed takes no part, and the run says so. Settings are those that a careful operator chooses for
the durability named; where a default would have cost the peer time it does not need here (rewriting Redis' log while
it is measured), it is off.
"""

import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from perf.contestants import JAVA, Contestant, start_java
from perf.harness import ROOT
from perf.load.greetings import create_nats_stream, purge_nats_stream, say_to_redis
from tests.support.ports import HOST, free_port
from tests.support.processes import Process
from tests.support.waiting import eventually

REDIS: Final = "Redis Streams"
REDIS_ALWAYS: Final = "Redis Streams, fsync always"
NATS: Final = "NATS JetStream"
KAFKA: Final = "Kafka"

KAFKA_LIBRARIES: Final = ROOT / "perf" / "java" / "kafka" / "target" / "lib"
NATS_BUILT: Final = ROOT / "perf" / "build" / "bin" / "nats-server"

_UP_DEADLINE_S: Final = 60.0
_KAFKA_HEAP: Final = ("-Xms512m", "-Xmx512m")
_KAFKA_CLUSTER: Final = "c2htcS1wZXJmLWthZmthMQ"


def nats_program() -> str | None:
    """Where the NATS server is: built by `make perf-peers`, or on the PATH."""
    return str(NATS_BUILT) if NATS_BUILT.exists() else shutil.which("nats-server")


def _lacks_redis() -> str:
    return "" if shutil.which("redis-server") else "redis-server is not on the PATH"


def _lacks_nats() -> str:
    return "" if nats_program() else "nats-server is neither built nor on the PATH"


def _lacks_java() -> str:
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not on the PATH" if missing else ""


def _lacks_kafka() -> str:
    return _lacks_java() or ("" if KAFKA_LIBRARIES.exists() else "Kafka's libraries are not there")


LACKS: Final[dict[str, Callable[[], str]]] = {
    "java": _lacks_java,
    "redis": _lacks_redis,
    "nats": _lacks_nats,
    "kafka": _lacks_kafka,
}
"""By the name of a peer on the command line: what is missing for it, or "" where nothing is."""


def start_redis(directory: Path) -> Contestant:
    """Redis with its log on, made durable once a second."""
    return _start_redis(directory, REDIS, "everysec", "page cache, then disk within 1 s")


def start_redis_always(directory: Path) -> Contestant:
    """Redis with its log on, made durable before each answer."""
    return _start_redis(directory, REDIS_ALWAYS, "always", "disk")


def start_nats(directory: Path) -> Contestant:
    """NATS with a JetStream stream in files."""
    program = nats_program()
    assert program is not None, "LACKS says so first"
    port = free_port()
    home = directory / "nats"
    home.mkdir(parents=True)
    configuration = home / "nats.conf"
    configuration.write_text(
        f'host: "{HOST}"\nport: {port}\nping_interval: "10m"\n'
        f'jetstream {{ store_dir: "{home}/store", max_memory_store: 1GB, max_file_store: 40GB }}\n'
    )
    process = Process([program, "-c", configuration], log_path=home / "output.log", directory=home)
    _wait_listening(process, port)
    address = f"{HOST}:{port}"
    create_nats_stream(address)
    return Contestant(
        NATS,
        address,
        [process],
        protocol="nats",
        durability="page cache, then disk within 2 min",
        prepare=_prepare_nothing,
        forget=partial(purge_nats_stream, address),
    )


def start_kafka(directory: Path) -> Contestant:
    """Kafka alone: broker and controller in one process."""
    port, controller = free_port(), free_port()
    home = directory / "kafka"
    home.mkdir(parents=True)
    properties = home / "server.properties"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": f"{home}/logs",
        "num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    format_log = kafka_command(
        "kafka.tools.StorageTool", "format", "-t", _KAFKA_CLUSTER, "-c", str(properties)
    )
    subprocess.run(format_log, cwd=home, check=True, capture_output=True)
    process = Process(
        kafka_command("kafka.Kafka", str(properties)), log_path=home / "output.log", directory=home
    )
    _wait_listening(process, port)
    return Contestant(
        KAFKA,
        f"{HOST}:{port}",
        [process],
        protocol="kafka",
        durability="page cache, flushed when the kernel likes",
        prepare=_prepare_nothing,
    )


def kafka_command(main: str, *arguments: str) -> list[str | Path]:
    """The command of one of Kafka's own programs."""
    return ["java", *_KAFKA_HEAP, "-XX:+UseG1GC", "-cp", f"{KAFKA_LIBRARIES}/*", main, *arguments]


STARTERS: Final[dict[str, tuple[str, Callable[[Path], Contestant]]]] = {
    "java": (JAVA, start_java),
    "redis": (REDIS, start_redis),
    "nats": (NATS, start_nats),
    "kafka": (KAFKA, start_kafka),
}
"""By the name of a peer on the command line: its name in the figures, and what starts it."""


def _start_redis(directory: Path, name: str, fsync: str, durability: str) -> Contestant:
    port = free_port()
    home = directory / f"redis-{fsync}"
    home.mkdir(parents=True)
    options = {
        "port": str(port),
        "bind": HOST,
        "dir": str(home),
        "appendonly": "yes",
        "appendfsync": fsync,
        "auto-aof-rewrite-percentage": "0",
        "save": "",
        "maxclients": "4000",
    }
    command: list[str | Path] = ["redis-server"]
    for key, value in options.items():
        command += [f"--{key}", value]
    process = Process(command, log_path=home / "output.log", directory=home)
    _wait_listening(process, port)
    address = f"{HOST}:{port}"
    return Contestant(
        name,
        address,
        [process],
        protocol="redis",
        durability=durability,
        prepare=_prepare_nothing,
        forget=partial(say_to_redis, address, "FLUSHALL"),
    )


def _wait_listening(process: Process, port: int) -> None:
    def connects() -> bool:
        if not process.is_running:
            raise process.failure("ended before it listened")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    try:
        eventually(connects, _UP_DEADLINE_S)
    except BaseException:
        process.kill()
        raise


def _prepare_nothing(_address: str, _topics: Sequence[str], _queues: int) -> None:
    """Streams and partitions come with their first message."""
