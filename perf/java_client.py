"""What does RocketMQ's own Java client get from either broker?

Workload: an unmodified `DefaultMQProducer` (5.3.3, `perf/java/client`) sends messages of 1 KiB with a tag to a topic
of 8 queues: 32 threads that send synchronously; and one thread that sends asynchronously, with at most 1,024 messages
unanswered. The same program, in a process of its own for each broker, drives them in turn; a send that is not
answered SEND_OK ends the run. Broker and client share the machine's cores, as in the project's target P3: the client
alone costs most of them. Units: messages a second; microseconds from a call to its return; CPU seconds of the
broker's process tree per million messages, and of the client.
Machine: see the sheet's first lines.

Peer: RocketMQ's own broker. Both brokers and both clients have three turns to warm up the clients' compiler.
"""

import json
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import ROOT, Contest, Figures, Options, Turn, cpu_seconds, memory
from tests.support.processes import Process

CLASSES: Final = ROOT / "perf" / "java" / "client" / "target"
TOPIC: Final = "perf-java-client"
QUEUES: Final = 8
BODY_BYTES: Final = 1024
WARM_UP_TURNS: Final = 3
IN_FLIGHT: Final = 1024
QUESTIONS: Final = {
    "Java client, sync, 32 threads, 1 KiB": ("P3", 32, "sync"),
    "Java client, async, 1 KiB": ("", 1, "async"),
}

_FLAGS: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseParallelGC")
_READY_DEADLINE_S: Final = 60.0
_TURN_DEADLINE_S: Final = 120.0

pytestmark = pytest.mark.skipif(
    not (CLASSES / "classes").exists(), reason="the Java driver is not built: make perf-peers"
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_java_client(contest: Contest, arena: Arena, tmp_path: Path, question: str) -> None:
    target, threads, mode = QUESTIONS[question]
    servers = [*arena.enter_peers("java"), arena.enter(start_shmq)]
    drivers = {server.name: start_driver(server, arena, tmp_path, threads, mode) for server in servers}
    contest.run(
        question,
        {server.name: driven(server, drivers[server.name], contest.options) for server in servers},
        warm_up_turns=WARM_UP_TURNS,
        durability={server.name: server.durability for server in servers},
        target=target,
    )


def start_driver(server: Contestant, arena: Arena, directory: Path, threads: int, mode: str) -> Process:
    """Start a client of the broker that is ready to send."""
    server.prepare(server.address, [TOPIC], QUEUES)
    home = directory / f"client-of-{server.address.rpartition(':')[2]}"
    home.mkdir()
    command: list[str | Path] = [
        "java",
        *_FLAGS,
        f"-Duser.home={home}",
        f"-Drocketmq.client.logRoot={home}/logs",
        *("-cp", f"{CLASSES}/classes:{CLASSES}/lib/*", "shmq.perf.Driver"),
        *(server.name_server, TOPIC, str(threads), str(BODY_BYTES), mode, str(IN_FLIGHT)),
    ]
    driver = Process(command, log_path=home / "output.log", directory=home)
    arena.end_with(driver.kill)
    driver.wait_line(lambda line: line == "ready", _READY_DEADLINE_S)
    return driver


def driven(server: Contestant, driver: Process, options: Options) -> Turn:
    """Return what lets the client send."""
    client = [psutil.Process(driver.pid)]

    def take_turn() -> Figures:
        cpu_begin, cpu_client_begin = cpu_seconds(server.processes()), cpu_seconds(client)
        driver.say(str(options.seconds))
        sent: dict[str, Any] = json.loads(
            driver.wait_line(lambda line: line.startswith("{"), options.seconds + _TURN_DEADLINE_S)
        )
        assert "failed" not in sent, f"{server.name}: {sent['failed']}"
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        cpu_client = cpu_seconds(client) - cpu_client_begin
        latencies = {"p50": sent["p50"], "p99": sent["p99"], "p99.9": sent["p999"]}
        return {
            "messages/s": sent["messages"] / sent["seconds"],
            **{f"{name} µs": nanoseconds / 1000 for name, nanoseconds in latencies.items() if nanoseconds},
            "CPU s/million messages": cpu_server / sent["messages"] * 1e6,
            "load CPU s/million messages": cpu_client / sent["messages"] * 1e6,
            **memory(server.processes()),
        }

    return take_turn
