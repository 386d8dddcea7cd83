"""How many messages a second does a broker take in batches?

Workload: messages of 128 bytes in batches of 32. To shmq, RocketMQ's broker and a compiled server that keeps nothing:
SEND_BATCH_MESSAGE (320) as RocketMQ's Java client writes it, 8 connections × 4 batches in flight, from one compiled
process. To Kafka: its own ProducerPerformance with batches of at most 16 KiB (some 120 such messages), `acks=1`, up to 5
batches in flight, warmed up with as many messages as are measured; its rate is that which it prints. Unit: messages
a second; CPU seconds of the broker's process tree per million messages, warm-up included for Kafka.
Machine: see the sheet's first lines; the Java driver costs much more of the shared cores than the compiled load does.

Peers: as said.
"""

import re
import subprocess

from perf.conftest import Arena
from perf.contestants import Contestant, start_reactor, start_shmq
from perf.harness import Contest, Figures, Options, Turn, cpu_seconds, memory
from perf.peers import KAFKA, kafka_command
from perf.sending import Work, sender

WORK = Work(8, 4, {"body_bytes": 128, "kind": "batch", "messages": 32}, messages_max=8_000_000)
WARM_UP_TURNS = 2
KAFKA_RECORDS = 2_000_000
KAFKA_DEADLINE_S = 600.0

_RATE = re.compile(
    r"^\d+ steady state records sent, ([\d.]+) records/sec.*? ([\d.]+) ms 50th.*? ([\d.]+) ms 99th",
    re.MULTILINE,
)


def test_batches(contest: Contest, arena: Arena) -> None:
    servers = [arena.enter(start_reactor), *arena.enter_peers("java", "kafka"), arena.enter(start_shmq)]
    turns: dict[str, Turn] = {}
    for server in servers:
        if server.name == KAFKA:
            turns[server.name] = kafka_producer(server, contest.options)
        else:
            turns[server.name] = sender(server, arena.load(), WORK, contest.options)
    contest.run(
        "send 128 B in batches",
        turns,
        warm_up_turns=WARM_UP_TURNS,
        durability={server.name: server.durability for server in servers},
    )


def kafka_producer(server: Contestant, options: Options) -> Turn:
    """Return what lets Kafka's own driver send."""
    records = options.messages(KAFKA_RECORDS)
    settings = [f"bootstrap.servers={server.address}", "acks=1", "linger.ms=5", "batch.size=16384"]
    command = kafka_command(
        "org.apache.kafka.tools.ProducerPerformance",
        *("--topic", "perf", "--num-records", str(2 * records), "--warmup-records", str(records)),
        *("--record-size", "128", "--throughput", "-1"),
        *("--command-property", *settings),
    )

    def take_turn() -> Figures:
        cpu_begin = cpu_seconds(server.processes())
        ran = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=KAFKA_DEADLINE_S,
            check=True,
        )
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        found = _RATE.search(ran.stdout)
        assert found is not None, f"no rate in what Kafka's driver printed:\n{ran.stdout}"
        rate, p50_ms, p99_ms = found.groups()
        return {
            "messages/s": float(rate),
            "p50 µs": float(p50_ms) * 1000,
            "p99 µs": float(p99_ms) * 1000,
            "CPU s/million messages": cpu_server / (2 * records) * 1e6,
            **memory(server.processes()),
        }

    return take_turn
