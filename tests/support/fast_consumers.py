"""The fast path beside the Python path, over one small broker: what consumers ask is served by both, and compared."""

import ctypes
import struct
from dataclasses import dataclass

import numpy as np

from shmq.broker.outcome import Answered, Ask, Park, Peer, Reply
from shmq.broker.requests import REQUESTS
from shmq.broker.updates import GroupUpdate, SubscriptionUpdate, TopicUpdate
from shmq.errors import RequestError
from shmq.fastpath import connections, desk, request, topics
from shmq.fastpath.groups import FastGroups
from shmq.fastpath.parked import forget_row, look_at_parked
from shmq.fastpath.parked_rows import (
    CONNECTION,
    FRAME,
    FRAME_BYTES,
    ParkedRows,
    drop_handed_up,
    first_handed_up,
)
from shmq.fastpath.reading import Reading
from shmq.fastpath.serve import serve
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.words import store_word
from shmq.store import watermarks
from shmq.store.host import Host
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Encoding, decode, encode, encode_head
from shmq.wire.frame import FrameReader
from shmq.wire.heartbeat_bodies import ConsumeType, MessageModel
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.small_broker import NOW_MS, SmallBroker
from tests.support.small_store import SLOTS, new_topics

PEER = Peer(Host(b"\x7f\x00\x00\x01", 50000), Host(b"\x7f\x00\x00\x01", 10911))


@dataclass
class Waiting:
    """A pull that waits in Python."""

    command: object
    park: Park


class FastBroker(SmallBroker):
    """A small broker with a desk over the same tables.

    Attributes:
        desk: its address.
        row: that of a connection.
        now_ms: the clock of both paths.
    """

    def __init__(self, root, *, pulls_max=64, **settings):
        super().__init__(root, **settings)
        self.group_names = new_topics()
        self._memory = {
            "desk": np.zeros(desk.SIZE, dtype=np.uint8),
            "row": np.zeros(connections.SIZE, dtype=np.uint8),
            "request": np.zeros(request.SIZE, dtype=np.uint8),
        }
        self.desk, self.row, request_at = (address_of(each) for each in self._memory.values())
        self._topics = np.zeros(SLOTS, dtype=topics.LAYOUT)
        self.reading = Reading(self.desk, self.config, self.replica.reader)
        for word, address in {
            desk.REQUEST: request_at,
            desk.WATERMARKS: self.replica.watermarks.address,
            desk.TOPIC_NAMES: self.store.topics.address,
            desk.TOPICS: address_of(self._topics),
            desk.GROUP_NAMES: self.group_names.address,
            desk.QUEUES: self.store.queues.address,
            desk.OFFSETS: self.offsets.address,
        }.items():
            store_native_i64(self.desk + word, address)
        self.fast_groups = FastGroups(self.desk, self.group_names, self.store.topics)
        self.parked = ParkedRows(self.desk, SLOTS, pulls_max)
        store_native_i64(self.row + connections.ID, 7)
        store_native_i64(self.row + connections.FLAGS, connections.OPEN)
        self.set_clock(NOW_MS)

    def close(self):
        forget_row(self.desk, self.row)
        self.replica.reader.close()

    def set_clock(self, now_ms):
        self.now_ms = now_ms
        store_native_i64(self.desk + desk.NOW_MS, now_ms)

    def add_group(self, name, *, forbidden=(), **config):
        made = SubscriptionGroupConfig(name, **config)
        self.apply(GroupUpdate(name, self.group_names.add(name.encode()), made, forbidden))

    def add_topic(self, name, queues=4, **config):
        given = {"read_queue_count": queues, "write_queue_count": queues} | config
        slots = tuple(self.store.add_queue(name.encode(), queue_id) for queue_id in range(queues))
        topic_id = self.store.topics.find(name.encode())
        self.apply(TopicUpdate(name, topic_id, TopicConfig(name, **given), slots))

    def subscribe(self, group, *subscriptions, model=MessageModel.CLUSTERING):
        self.apply(SubscriptionUpdate(group, model, ConsumeType.CONSUME_PASSIVELY, subscriptions))

    def leave(self, group):
        """The last member of a group goes."""
        self.apply(SubscriptionUpdate(group, MessageModel.CLUSTERING, ConsumeType.CONSUME_PASSIVELY, None))

    def delete_group(self, name):
        self.apply(GroupUpdate(name, self.group_names.find(name.encode()), None))

    def delete_topic(self, name):
        self.apply(TopicUpdate(name, self.store.topics.find(name.encode()), None, ()))

    def apply(self, update):
        self.replica.apply(update)
        if isinstance(update, TopicUpdate):
            row, config = self._topics[update.topic_id], update.config
            row["flags"] = 0 if config is None else topics.EXISTS
            if config is not None:
                row["queue_count"] = len(update.slots)
                row["read_queue_count"] = config.read_queue_count
                row["permission"] = config.permission
                row["topic_sys_flag"] = config.topic_sys_flag
        self.fast_groups.apply(update)

    def dispatch(self):
        super().dispatch()
        store_word(self.replica.watermarks.address + watermarks.DISPATCHED, self.store.end)

    def serve_fast(self, frame):
        """Give a frame to the kernels; return whether they served it, and what they answered."""
        readable = np.frombuffer(frame + bytes(request.SPARE_BYTES), dtype=np.uint8)
        outcome = serve(self.desk, self.row, address_of(readable), len(frame))
        return outcome, self.take_output()

    def look(self):
        """Let the kernels look at what waits; return what they answered."""
        look_at_parked(self.desk)
        return self.take_output()

    def take_output(self):
        """Take what waits for the peer, as frames."""
        begin = load_native_i64(self.row + connections.OUTPUT_BEGIN)
        end = load_native_i64(self.row + connections.OUTPUT_END)
        output = ctypes.string_at(load_native_i64(self.row + connections.OUTPUT) + begin, end - begin)
        store_native_i64(self.row + connections.OUTPUT_BEGIN, end)
        return frames_of(output)

    def take_handed_up(self):
        """Take the frames that the kernels leave to Python, and whose they are."""
        taken = []
        while waiting := first_handed_up(self.desk):
            address, size_bytes = (load_native_i64(waiting + word) for word in (FRAME, FRAME_BYTES))
            taken.append((ctypes.string_at(address, size_bytes), load_native_i64(waiting + CONNECTION)))
            drop_handed_up(self.desk)
        return taken

    def serve_slow(self, frame):
        """Give a frame to the Python path; return its answer, None without one, or what waits."""
        return self.serve_command(decode(FrameReader().feed(frame)[0]))

    def serve_command(self, command):
        """As serve_slow, for a frame that is decoded."""
        row = REQUESTS[command.code]
        return self.settle(command, lambda: row.handler(self.replica, command, PEER, self.now_ms))

    def settle(self, command, step):
        """Do what an outcome asks, as a network worker does."""
        try:
            outcome = step()
        except RequestError as error:
            outcome = Reply(command.reply(ResponseCode(error.code), error.remark, error.fields))
        match outcome:
            case Park():
                return Waiting(command, outcome)
            case Ask():
                return self.settle(
                    command, lambda: outcome.then(Answered(ResponseCode.SYSTEM_ERROR, "asked"))
                )
            case Reply(answer, pieces):
                if command.is_oneway:
                    return None
                if pieces:
                    return b"".join((encode_head(answer, sum(map(len, pieces))), *pieces))
                return encode(answer)

    def again(self, waiting, *, is_last):
        """Look again at a pull that waits in Python."""
        return self.settle(waiting.command, lambda: waiting.park.again(self.now_ms, is_last))

    def committed(self):
        """All committed offsets."""
        return sorted(self.offsets)


def frames_of(stream):
    """Cut a stream of frames."""
    frames = []
    while stream:
        (size_bytes,) = struct.unpack_from(">i", stream)
        frames.append(stream[: 4 + size_bytes])
        stream = stream[4 + size_bytes :]
    return frames


JSON, BINARY = Encoding.JSON, Encoding.ROCKETMQ
