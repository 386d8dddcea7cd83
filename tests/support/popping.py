"""Pop consumption by hand, over a plain remoting connection: what was popped, and each message's receipt."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.message import ReceivedMessage, decode_messages
from shmq.wire.pop_bodies import BatchAck, BatchAckBody
from tests.support.remote import Remote


@dataclass(frozen=True)
class Popped:
    """A message, and what a client hands back to say that it is meant.

    Attributes:
        message: as it was received.
        topic: where it was popped from: its retry topic, where it was tried again.
        queue_id: its queue there.
        offset: its number in that queue.
        receipt: of this delivery.
        count: how often it was popped before, where it was popped in order.
    """

    message: ReceivedMessage
    topic: str
    queue_id: int
    offset: int
    receipt: str
    count: int = 0

    @property
    def body(self) -> bytes:
        return bytes(self.message.body)


def pop_request(topic: str, group: str, **given: Any) -> Command:
    """A POP_MESSAGE: of any queue, from the beginning, not waiting, unless told otherwise."""
    fields = {
        "consumerGroup": group,
        "topic": topic,
        "queueId": -1,
        "maxMsgNums": 32,
        "invisibleTime": 60_000,
        "pollTime": 0,
        "bornTime": time.time_ns() // 1_000_000,
        "initMode": 0,
    } | given
    return Command(RequestCode.POP_MESSAGE, fields={name: str(value) for name, value in fields.items()})


def pop(remote: Remote, topic: str, group: str, **given: Any) -> list[Popped]:
    """Pop messages; none where there is none."""
    return popped(remote.call(pop_request(topic, group, **given)), topic, group)


def popped(answer: Command, topic: str, group: str) -> list[Popped]:
    """The messages of an answer to a pop, with the receipts that a client makes of it."""
    if answer.code in (ResponseCode.POLLING_TIMEOUT, ResponseCode.POLLING_FULL):
        assert not answer.body
        return []
    assert answer.code == ResponseCode.SUCCESS, (answer.code, answer.remark)
    fields = answer.fields
    starts = {tuple(part.split(" ")[:2]): part.split(" ")[2] for part in fields["startOffsetInfo"].split(";")}
    counts = {}
    for part in fields.get("orderCountInfo", "").split(";"):
        if part:
            kind, name, count = part.split(" ")
            counts[kind, name] = int(count)
    waiting = []
    for part in fields["msgOffsetInfo"].split(";"):
        kind, queue_id, offsets = part.split(" ")
        waiting += [(kind, queue_id, int(offset)) for offset in offsets.split(",")]
    result = []
    for message, (kind, queue_id, offset) in zip(decode_messages(answer.body), waiting, strict=True):
        assert (message.queue_id, message.queue_offset) == (int(queue_id), offset)
        times = f"{fields['popTime']} {fields['invisibleTime']} {fields['reviveQid']}"
        made = f"{starts[kind, queue_id]} {times} {kind} B {queue_id} {offset}"
        given = message.properties.get("POP_CK")
        receipt = given or made
        if given:
            assert given.split(" ")[:5] == made.split(" ")[:5]
        real = {"0": topic, "1": f"%RETRY%{group}_{topic}", "2": f"%RETRY%{group}+{topic}"}[kind]
        count = counts.get((kind, f"qo{queue_id}%{offset}"), counts.get((kind, queue_id), 0))
        result.append(Popped(message, real, int(queue_id), offset, receipt, count))
    return result


def ack(remote: Remote, group: str, message: Popped) -> Command:
    """ACK_MESSAGE."""
    return remote.call(Command(RequestCode.ACK_MESSAGE, fields=_fields(group, message)))


def change_invisible(remote: Remote, group: str, message: Popped, invisible_ms: int) -> Command:
    """CHANGE_MESSAGE_INVISIBLETIME."""
    fields = _fields(group, message) | {"invisibleTime": str(invisible_ms)}
    return remote.call(Command(RequestCode.CHANGE_MESSAGE_INVISIBLETIME, fields=fields))


def batch_ack(remote: Remote, topic: str, group: str, messages: Sequence[Popped]) -> Command:
    """BATCH_ACK_MESSAGE: one entry for each start offset of each queue."""
    entries: dict[tuple[str, ...], list[int]] = {}
    for message in messages:
        start, *times, _, _, _ = message.receipt.split(" ")
        entries.setdefault((start, *times, str(message.queue_id)), []).append(message.offset)
    acks = tuple(
        BatchAck(
            *(group, topic, kind, int(queue_id), int(revive), int(start), int(pop_ms), int(invisible_ms)),
            tuple(offsets),
        )
        for (start, pop_ms, invisible_ms, revive, kind, queue_id), offsets in entries.items()
    )
    body = BatchAckBody("B", acks).to_bytes()
    return remote.call(Command(RequestCode.BATCH_ACK_MESSAGE, body=body))


def _fields(group: str, message: Popped) -> dict[str, str]:
    return {
        "consumerGroup": group,
        "topic": message.topic,
        "queueId": str(message.queue_id),
        "extraInfo": message.receipt,
        "offset": str(message.offset),
    }
