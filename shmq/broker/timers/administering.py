"""What tools and replicas ask of timers: how far they have come, and how many messages of each topic wait."""

import orjson

from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.wire.command import Command


def handle_timer_check(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """60: what the check file says, as its bytes."""
    return Reply(request.reply(body=state.timer_report.check.to_bytes()))


def handle_timer_metrics(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """61: how many messages of each topic wait."""
    return Reply(request.reply(body=orjson.dumps(state.timer_report.to_json())))
