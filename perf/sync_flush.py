"""How near does SYNC_FLUSH come to what the disk allows?

Workload: sends of 128 bytes to brokers that acknowledge when the message is on disk: 64 waiters (64 connections with 1
request in flight each) and 512 (64 with 8), by one compiled process. The limit is a bare loop in compiled code, on the
same disk in the same round, which writes as many records of the same size at once, calls fdatasync, and counts them
(`perf/limits.py`). Units: messages a second; microseconds; CPU seconds of the process tree per million messages.
Machine: see the sheet's first lines; whether a virtual disk's host honours a flush cannot be seen from here.

Peers: the limit; RocketMQ's own broker (SYNC_FLUSH); Redis Streams with `appendfsync always`, which flushes once for
all that came in one turn of its loop, too.
"""

from pathlib import Path
from typing import Final

import pytest

from perf.conftest import Arena
from perf.contestants import start_java_sync, start_shmq_sync
from perf.harness import Contest, Figures, Turn
from perf.limits import GROUP_COMMIT, group_commits_per_s
from perf.peers import start_redis_always
from perf.sending import Work, sender

BODY_BYTES: Final = 128
RECORD_BYTES: Final = 296
"""Of a message of 128 bytes in the log, with its topic and properties."""
WARM_UP_TURNS: Final = 2
WAITERS: Final = {64: (64, 1), 512: (64, 8)}


@pytest.mark.parametrize("waiters", WAITERS)
def test_waiting_for_the_disk(contest: Contest, arena: Arena, tmp_path: Path, waiters: int) -> None:
    connections, window = WAITERS[waiters]
    work = Work(connections, window, {"body_bytes": BODY_BYTES})
    peers = [("redis", start_redis_always), ("java", start_java_sync)]
    servers = [arena.enter(start) for name, start in peers if name in contest.options.peers]
    servers.append(arena.enter(start_shmq_sync))
    turns: dict[str, Turn] = {GROUP_COMMIT: limit(tmp_path, waiters, contest.options.seconds)}
    turns |= {server.name: sender(server, arena.load(), work, contest.options) for server in servers}
    contest.run(
        f"send 128 B, sync flush, {waiters} waiters",
        turns,
        warm_up_turns=WARM_UP_TURNS,
        durability={GROUP_COMMIT: "disk", **{server.name: server.durability for server in servers}},
        target="P7",
    )


def limit(directory: Path, waiters: int, seconds: float) -> Turn:
    """Return what writes and flushes."""

    def take_turn() -> Figures:
        return {"messages/s": group_commits_per_s(directory, waiters, RECORD_BYTES, seconds)}

    return take_turn
