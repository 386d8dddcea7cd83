"""How many messages a second does one process hand to another through a broker of the host, and who else can?

Workload: bodies of 128 B (also 1, 4 and 64 KiB) from one Python process, by `send()` in a plain loop, by `send_many` of
lists of bytes, by `send_array` of arrays. A turn of shmq ends when all messages are committed to the log and
dispatched: consumers can read them; its broker's processes run beside the producer. A turn of a peer ends when its
consumer, a process of its own, has the last message, since none of them keeps anything; so does one of `consumed`. Peers send one message a call;
`, by 64` has 64 bodies in one message of the peer's, cut apart again by its consumer. Units: messages a second; CPU
seconds of the broker's process tree, and of the load, per million messages.
Machine: see the sheet's first lines; all processes share its cores.

Peers: pyzmq over ipc, multiprocessing's Queue and Pipe, POSIX message queues, iceoryx2; and memcpy of records as the
log has them, the bound of whatever copies a message once.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest

from perf.colocated_names import ICEORYX2, NOTHING_KEPT, PYZMQ
from perf.colocated_pair import Pair, PeerCarrier, pair
from perf.colocated_peers import PEERS, Peer
from perf.colocated_shmq import SEND, SEND_ARRAY, SEND_MANY, ShmqCarrier
from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import OURS, Contest, Measured, Options, Turn
from perf.idle import scheduled
from perf.limits import copy_bytes_per_s
from perf.scaling_model import RECORD_OVERHEAD_BYTES

MEMCPY: Final = "memcpy"
BATCH: Final = 64
QUEUES: Final = 4
TURN_BYTES: Final = 500_000_000
MESSAGES: Final = {SEND: 2_000_000, SEND_MANY: 3_000_000, SEND_ARRAY: 3_000_000}
PEER_MESSAGES: Final = 200_000
PEER_BYTES: Final = 200_000_000
LARGE: Final = (1024, 4096, 65536)
LARGE_PEERS: Final = (PYZMQ, ICEORYX2)


@dataclass(frozen=True)
class Question:
    """What is sent, by which call, beside whom, and the target that it speaks for."""

    call: str
    body_bytes: int
    peers: list[Peer]
    target: str = ""

    @property
    def workload(self) -> str:
        """Its name."""
        size = self.body_bytes
        return f"colocated {self.call} {f'{size} B' if size < 1024 else f'{size // 1024} KiB'}"


@pytest.mark.parametrize("call", [SEND, SEND_MANY, SEND_ARRAY])
def test_small_messages(contest: Contest, arena: Arena, kept: ExitStack, call: str) -> None:
    peers = [kind(128, batch) for kind in PEERS for batch in (1, BATCH)]
    run(contest, arena, kept, Question(call, 128, peers, "P4"))


@pytest.mark.parametrize("body_bytes", LARGE)
def test_larger_messages(contest: Contest, arena: Arena, kept: ExitStack, body_bytes: int) -> None:
    peers = [kind(body_bytes) for kind in PEERS if kind.name in LARGE_PEERS]
    run(contest, arena, kept, Question(SEND_ARRAY, body_bytes, peers))


def run(contest: Contest, arena: Arena, kept: ExitStack, question: Question) -> None:
    """Every peer, then shmq by one of its calls."""
    server = arena.enter(start_shmq)
    assert server.broker is not None
    size = question.body_bytes
    record_bytes = size + RECORD_OVERHEAD_BYTES
    turns: dict[str, Turn] = {MEMCPY: lambda: {"messages/s": copy_bytes_per_s(record_bytes) / record_bytes}}
    for peer in question.peers:
        made = kept.enter_context(pair(PeerCarrier(peer)))
        turns[peer.title] = partial(peer_turn, made, peer, contest.options)
    messages = contest.options.messages(min(MESSAGES[question.call], TURN_BYTES // size))
    ours = kept.enter_context(
        pair(ShmqCarrier(server.broker.broker_name, ("perf",), size, question.call), consumes=False)
    )
    turns[OURS] = partial(our_turn, ours, server, messages)
    promises = {**dict.fromkeys(turns, NOTHING_KEPT), OURS: server.durability}
    contest.run(question.workload, turns, durability=promises, target=question.target)


def test_consumed(contest: Contest, arena: Arena, kept: ExitStack) -> None:
    server = arena.enter(start_shmq)
    assert server.broker is not None
    server.prepare(server.address, ["perf"], QUEUES)
    turns: dict[str, Turn] = {}
    for kind in PEERS:
        peer = kind(128, BATCH)
        turns[peer.title] = partial(
            peer_turn, kept.enter_context(pair(PeerCarrier(peer))), peer, contest.options
        )
    ours = kept.enter_context(pair(ShmqCarrier(server.broker.broker_name, ("perf",), 128, SEND_ARRAY)))
    turns[OURS] = partial(our_turn, ours, server, contest.options.messages(MESSAGES[SEND_ARRAY]))
    promises = {**dict.fromkeys(turns, NOTHING_KEPT), OURS: server.durability}
    contest.run("colocated send_array 128 B, consumed", turns, durability=promises)


def peer_turn(made: Pair, peer: Peer, options: Options) -> Measured:
    """Send through a peer, whole batches of its."""
    messages = options.messages(min(PEER_MESSAGES * peer.batch, PEER_BYTES // peer.body_bytes))
    return made.send(max(peer.batch, messages // peer.batch * peer.batch))


def our_turn(made: Pair, server: Contestant, messages: int) -> Measured:
    """Send through shmq.

    What was sent in the turns before stays: memory that its pages gave back would go to the host, and would be dear to
    come by again (see `page_cache.py`).
    """
    before_ns, _ = scheduled(server.processes())
    measured = made.send(messages)
    after_ns, _ = scheduled(server.processes())
    measured.figures["CPU s/million messages"] = (after_ns - before_ns) / messages / 1000
    return measured
