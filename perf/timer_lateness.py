"""How late do messages with a moment of their own come under load, and what does one that waits cost in memory?

Workload: a million messages of 128 B (less with `--scale`) that wait for an hour from now on, sent by 4 connections ×
64 in flight; then 20,000 that are due one by one over ten seconds, while 4 × 16 plain ones of 128 B are kept in flight.
Unit: milliseconds from the moment that a message asked for to the store time of its delivery; bytes of the conductor's
own memory (that of no file), and of all that it maps (resident set size, pages of files included), for each message
that waits. A moment is never too early: a negative lateness fails. Machine: see the sheet's first lines.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import OURS, Contest, Figures
from perf.histogram import Histogram
from shmq.config.addresses import split_address
from shmq.wire.bodies import KVTable
from shmq.wire.codes import RequestCode
from shmq.wire.command import Command, encode
from shmq.wire.frame import FrameReader
from tests.support.remote import Remote, send_request

WAITING: Final = 1_000_000
DUE: Final = 20_000
SPREAD_MS: Final = 10_000
LEAD_MS: Final = 5_000
HOUR_MS: Final = 3_600_000
BODY: Final = bytes(range(128))
CONNECTIONS: Final = 4
IN_FLIGHT: Final = 64
PLAIN_IN_FLIGHT: Final = 16
DEADLINE_S: Final = 600.0
_NS_PER_MS: Final = 1_000_000


def test_lateness(contest: Contest, arena: Arena) -> None:
    server = arena.enter(start_shmq)
    assert server.broker is not None
    conductor = server.broker.worker("conductor")
    waiting = contest.options.messages(WAITING)
    due = contest.options.messages(DUE)
    turns = iter(range(1000))

    def take_turn() -> Figures:
        memory = memory_of_waiting(server, conductor, waiting)
        with plain_load(server.address):
            histogram = lateness_of(server.address, f"late-{next(turns)}", due)
        parts = {f"late {name} ms": value / _NS_PER_MS for name, value in named(histogram).items()}
        return {**parts, **memory}

    contest.run(
        f"{due} due in {SPREAD_MS // 1000} s under load, {waiting} waiting",
        {OURS: take_turn},
        warm_up_turns=0,
        durability=server.durability,
    )


def named(histogram: Histogram) -> dict[str, float]:
    """Percentiles of a histogram, ns."""
    return {f"p{part:g}": float(histogram.percentile(part)) for part in (50, 99, 99.9, 100)}


def memory_of_waiting(server: Contestant, conductor: psutil.Process, count: int) -> Figures:
    """Send messages that wait for long; return what each costs the conductor."""
    send_timed(server.address, "waiting", now_ms() + HOUR_MS, 1, 0)  # what the first one costs is not theirs
    settle(server.address)
    own, mapped = anonymous_bytes(conductor), conductor.memory_info().rss
    send_timed(server.address, "waiting", now_ms() + HOUR_MS, count, HOUR_MS)
    settle(server.address)
    return {
        "own B a timer": (anonymous_bytes(conductor) - own) / count,
        "mapped B a timer": (conductor.memory_info().rss - mapped) / count,
    }


def anonymous_bytes(process: psutil.Process) -> int:
    """The memory of a process that is of no file."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def lateness_of(address: str, topic: str, count: int) -> Histogram:
    """Have messages delivered one by one over some seconds; return how late each was."""
    begin_ms = now_ms() + LEAD_MS + count // 4
    send_timed(address, topic, begin_ms, count, SPREAD_MS)
    with Remote(address) as remote:
        messages = remote.read_queue(topic, 0, count)
    late_ms = [
        message.store_timestamp_ms - int(message.properties["TIMER_DELIVER_MS"]) for message in messages
    ]
    assert len(late_ms) == count
    assert min(late_ms) >= 0, "one came too early"
    histogram = Histogram()
    histogram.record_all(np.array(late_ms, dtype=np.int64) * _NS_PER_MS)
    return histogram


def send_timed(address: str, topic: str, begin_ms: int, count: int, spread_ms: int) -> None:
    """Send messages whose moments lie one behind the other."""
    parts = [range(first, count, CONNECTIONS) for first in range(CONNECTIONS)]
    threads = [
        threading.Thread(target=_send, args=(address, topic, part, begin_ms, spread_ms / count))
        for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def settle(address: str) -> None:
    """Wait until every message that waits is in its slot."""
    give_up_at = time.monotonic() + DEADLINE_S
    with Remote(address) as remote:
        while time.monotonic() < give_up_at:
            before_ms = now_ms()
            while now_ms() < before_ms + 1100:  # what is told is a second old
                remote.call(Command(code=RequestCode.GET_BROKER_RUNTIME_INFO))
                time.sleep(0.2)
            answer = remote.call(Command(code=RequestCode.GET_BROKER_RUNTIME_INFO))
            if KVTable.from_bytes(answer.body).table["timerOffsetBehind"] == "0":
                return
    raise TimeoutError("messages did not come into their slots")


@contextmanager
def plain_load(address: str) -> Iterator[None]:
    """While the block runs, plain messages are sent as fast as they are answered."""
    ended = threading.Event()
    threads = [threading.Thread(target=_send_plain, args=(address, ended)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // _NS_PER_MS


def _send(address: str, topic: str, numbers: range, begin_ms: int, step_ms: float) -> None:
    with socket.create_connection(split_address(address), 60) as connection:
        reader = FrameReader()
        frames = []
        for number in numbers:
            text = f"TIMER_DELIVER_MS\x01{begin_ms + int(number * step_ms)}\x02"
            frames.append(_frame(topic, text, number))
            if len(frames) == IN_FLIGHT:
                _exchange_all(connection, reader, frames)
                frames = []
        _exchange_all(connection, reader, frames)


def _send_plain(address: str, ended: threading.Event) -> None:
    frames = [_frame("plain", "", number) for number in range(PLAIN_IN_FLIGHT)]
    with socket.create_connection(split_address(address), 60) as connection:
        reader = FrameReader()
        while not ended.is_set():
            _exchange_all(connection, reader, frames)


def _exchange_all(connection: socket.socket, reader: FrameReader, frames: list[bytes]) -> None:
    """Send frames, and wait for as many answers."""
    connection.sendall(b"".join(frames))
    left = len(frames)
    while left:
        received = connection.recv(1 << 16)
        assert received, "the broker closed the connection"
        left -= len(reader.feed(received))


def _frame(topic: str, properties: str, number: int) -> bytes:
    command = send_request(topic, BODY, 0, properties)
    command.opaque = number & 0x7FFF_FFFF
    return encode(command)
