"""Query and update of committed offsets: how far a consumer group has come in a queue.

An offset is one word of the table in shared memory, and the last store wins, backwards too: that is what consumers
expect who reset themselves. The conductor only makes the word, for the first commit, and saves the table.
"""

from shmq.broker.outcome import Answered, Ask, Outcome, Peer, Reply
from shmq.broker.questions import ask_offset
from shmq.broker.replica import Replica
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.consume_headers import OffsetResponseHeader, QueryOffsetHeader, UpdateOffsetHeader
from shmq.wire.fields import read_header, write_header


def handle_query_offset(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """QUERY_CONSUMER_OFFSET: the committed offset, or 0 where a new group can still have the whole queue.

    Where the answer is that there is none, the client decides where to begin.
    """
    del peer, now_ms
    header = read_header(QueryOffsetHeader, request.fields)
    queue = broker.queue(header.topic, header.queue_id)
    offset = broker.committed_offset(header.consumer_group, queue.slot)
    if offset < 0:
        if not header.zero_if_not_found:
            raise RequestError(
                ResponseCode.QUERY_NOT_FOUND, "Not found, do not set to zero, maybe this group boot first"
            )
        if not broker.is_in_memory(queue, 0):
            raise RequestError(
                ResponseCode.QUERY_NOT_FOUND,
                "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
            )
        offset = 0
    return Reply(request.reply(fields=write_header(OffsetResponseHeader(offset=offset))))


def handle_update_offset(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """UPDATE_CONSUMER_OFFSET: commit an offset."""
    del peer, now_ms
    header = read_header(UpdateOffsetHeader, request.fields)
    group = broker.groups.get(header.consumer_group)
    if group is None:
        remark = f"Group {header.consumer_group} not exist!"
        raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    if header.topic not in broker.topics:
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, f"Topic {header.topic} not exist!")
    slot = broker.queue(header.topic, header.queue_id).slot
    if slot == NONE:
        remark = f"queueId[{header.queue_id}] is illegal, topic is {header.topic}"
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    if broker.is_reset(group.group_id, slot):
        return Reply(request.reply(remark="Offset has been previously reset"))
    if broker.commit_offset(group.group_id, slot, header.commit_offset):
        return Reply(request.reply())

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS:
            raise RequestError(answered.code, answered.remark)
        return Reply(request.reply())

    return Ask(ask_offset(group.name, header.topic, header.queue_id, header.commit_offset), then)
