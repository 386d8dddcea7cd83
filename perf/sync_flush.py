"""How near does SYNC_FLUSH come to what the disk allows?

Workload: sends of 128 bytes to brokers that acknowledge when the message is on disk: 64 waiters (64 connections with 1
request in flight each) and 512 (64 with 8), by one compiled process; and by one process of the host through
`shmq.local`, which sends an array of 64 or 512 and waits until all are on disk. The limit is a bare loop in compiled code, on the
same disk in the same round, which writes as many records of the same size at once, calls fdatasync, and counts them
(`perf/limits.py`); beside it, the same into blocks that were never written, which is what a log does: each sync then has
the file system's journal to write as well. Units: messages a second; microseconds; CPU seconds of the process tree per million messages.
Machine: see the sheet's first lines; whether a virtual disk's host honours a flush cannot be seen from here.

Peers: the limit; RocketMQ's own broker (SYNC_FLUSH); Redis Streams with `appendfsync always`, which flushes once for
all that came in one turn of its loop, too.
"""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from perf.colocated_pair import pair
from perf.colocated_rate import our_turn
from perf.colocated_shmq import SEND_DURABLE, ShmqCarrier
from perf.conftest import Arena
from perf.contestants import start_java_sync, start_shmq_sync
from perf.harness import OURS, Contest, Figures, Turn
from perf.limits import GROUP_COMMIT, NEW_BLOCKS, group_commits_per_s
from perf.peers import start_redis_always
from perf.sending import Work, sender
from shmq.local.waiting import Wait

BODY_BYTES: Final = 128
RECORD_BYTES: Final = 296
"""Of a message of 128 bytes in the log, with its topic and properties."""
LOCAL_RECORD_BYTES: Final = 226
"""Of one that a local producer sends, without properties."""
LOCAL_GROUPS: Final = 4000
WARM_UP_TURNS: Final = 2
WAITERS: Final = {64: (64, 1), 512: (64, 8)}
LIMITS_KEEP: Final = {GROUP_COMMIT: "disk", NEW_BLOCKS: "disk"}


@pytest.mark.parametrize("waiters", WAITERS)
def test_waiting_for_the_disk(contest: Contest, arena: Arena, tmp_path: Path, waiters: int) -> None:
    connections, window = WAITERS[waiters]
    work = Work(connections, window, {"body_bytes": BODY_BYTES})
    peers = [("redis", start_redis_always), ("java", start_java_sync)]
    servers = [arena.enter(start) for name, start in peers if name in contest.options.peers]
    servers.append(arena.enter(start_shmq_sync))
    turns = limits(tmp_path, waiters, RECORD_BYTES, contest.options.seconds)
    turns |= {server.name: sender(server, arena.load(), work, contest.options) for server in servers}
    contest.run(
        f"send 128 B, sync flush, {waiters} waiters",
        turns,
        warm_up_turns=WARM_UP_TURNS,
        durability={**LIMITS_KEEP, **{server.name: server.durability for server in servers}},
        target="P7",
    )


@pytest.mark.parametrize("waiters", WAITERS)
def test_waiting_for_the_disk_colocated(
    contest: Contest, arena: Arena, kept: ExitStack, tmp_path: Path, waiters: int
) -> None:
    server = arena.enter(start_shmq_sync)
    assert server.broker is not None
    carrier = ShmqCarrier(
        server.broker.broker_name, ("perf",), BODY_BYTES, SEND_DURABLE, wait=Wait.YIELD, group=waiters
    )
    made = kept.enter_context(pair(carrier, consumes=False))
    turns = limits(tmp_path, waiters, LOCAL_RECORD_BYTES, contest.options.seconds)
    turns[OURS] = partial(our_turn, made, server, contest.options.messages(LOCAL_GROUPS) * waiters)
    contest.run(
        f"colocated {SEND_DURABLE} 128 B, {waiters} waiters",
        turns,
        warm_up_turns=WARM_UP_TURNS,
        durability={**LIMITS_KEEP, OURS: server.durability},
        target="P7",
    )


def limits(directory: Path, waiters: int, record_bytes: int, seconds: float) -> dict[str, Turn]:
    """What writes and flushes, and keeps nothing else."""

    def take_turn(is_new: bool) -> Figures:
        rate = group_commits_per_s(directory, waiters, record_bytes, seconds, is_new=is_new)
        return {"messages/s": rate}

    return {GROUP_COMMIT: partial(take_turn, False), NEW_BLOCKS: partial(take_turn, True)}
