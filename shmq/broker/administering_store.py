"""Administering the store: have what is old or unused deleted now.

Each is answered at once; what it asks for is done beside other work.
"""

from shmq.broker.effects import Clean, Cleaning
from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.wire.command import Command


def handle_clean_queues(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """306: delete files of queues whose messages are gone from the log; the newest of each stays, and its offset."""
    state.effects.append(Clean(Cleaning.QUEUES))
    return Reply(request.reply())


def handle_clean_topics(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """316: delete the queue files of topics that were deleted."""
    state.topics.drop_unused()
    state.effects.append(Clean(Cleaning.TOPICS))
    return Reply(request.reply())


def handle_delete_expired(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """329: delete expired files of the log in the next looks at it, twenty of them, whatever the hour."""
    state.effects.append(Clean(Cleaning.EXPIRED))
    return Reply(request.reply())
