"""The fast path beside the Python path: what producers send is served by both, each on a ground of its own.

Both grounds begin alike and take the same messages, so their logs, their queues and their answers must stay alike.
"""

import ctypes
import random

import numpy as np

from shmq.broker.outcome import Append, Ask, Peer, Reply
from shmq.broker.replica import Replica, read_limits
from shmq.broker.sending import handle_send
from shmq.broker.updates import TopicUpdate
from shmq.errors import PeerError, RequestError
from shmq.fastpath import connections, desk
from shmq.fastpath.completing import collect, release_flushed
from shmq.fastpath.outcomes import DONE
from shmq.fastpath.serve import serve
from shmq.fastpath.tables import FastTables
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64, store_i32, store_native_i32, store_native_i64
from shmq.memory.words import load_word, store_word
from shmq.shared import commit
from shmq.store.host import Host
from shmq.store.key_query import KeyIndexReader
from shmq.store.log import LogReader
from shmq.store.read import QueueReader
from shmq.store.store_files import StoreSizes
from shmq.store.watermarks import FLUSHED
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import decode, encode
from shmq.wire.frame import FrameReader
from shmq.wire.topic_bodies import TopicConfig
from shmq.workers.appending import Appender, Waits
from tests.support.frames import Placed
from tests.support.writer_ground import WriterGround, bytes_at
from tests.support.writer_lives import NOW_MS, BareWriter

V4 = Peer(Host(b"\x0a\x01\x02\x03", 50000), Host(b"\x7f\x00\x00\x01", 10911))
V6 = Peer(Host(bytes(range(16)), 65535), Host(bytes(range(16, 32)), 1))
WAITS = Waits(ring_ms=200, flush_ms=5000)
TOPICS = {
    "T": TopicConfig("T", 4, 4),
    "TopicTest": TopicConfig("TopicTest", 2, 8),
    "Many": TopicConfig("Many", 4, 4, topic_filter_type="MULTI_TAG"),
    "%RETRY%G": TopicConfig("%RETRY%G", 1, 1),
    "%DLQ%G": TopicConfig("%DLQ%G", 1, 1),
    "SELF_TEST_TOPIC": TopicConfig("SELF_TEST_TOPIC", 1, 1),
}
SENDS = (RequestCode.SEND_MESSAGE_V2, RequestCode.SEND_BATCH_MESSAGE)


class SendGround(WriterGround):
    """A broker's memory, a bare writer, and a replica of its topics.

    Attributes:
        replica: what handlers get.
        bare_writer: the writer's kernels, turned by the test.
        topics: the configs of those that there are, by name.
    """

    def __init__(self, root, *, topics=TOPICS, **settings):
        super().__init__(root, **({"commit_log_file_bytes": 1 << 20} | settings))
        sizes = StoreSizes.of(self.config)
        log = LogReader(self.paths.commitlog, sizes.commit_log_file_bytes)
        self.replica = Replica(
            self.config,
            self.memory.offsets,
            QueueReader(self.paths.consumequeue, sizes, self.memory.queues, log, read_limits(self.config)),
            KeyIndexReader(self.paths.index, sizes.key_index, log),
            self.memory.watermarks,
            random.Random(7),
        )
        self.bare_writer = BareWriter(self)
        self.topics = topics
        for config in topics.values():
            self.apply(self.update(config))

    def update(self, config):
        """What the conductor says of a topic, its queues being made."""
        topic_id = self.memory.topic_names.add(config.topic.encode())
        count = max(config.read_queue_count, config.write_queue_count)
        slots = tuple(self.memory.queues.add(topic_id, queue_id) for queue_id in range(count))
        return TopicUpdate(config.topic, topic_id, config, slots)

    def apply(self, update):
        self.replica.apply(update)

    def turn(self):
        """Let the writer commit all there is."""
        while self.bare_writer.turn(now_ms=NOW_MS) != commit.IDLE:
            pass

    def flush_to(self, position):
        store_word(self.memory.place("watermarks") + FLUSHED, position)

    def log_between(self, begin, end):
        """The log's bytes."""
        content = b""
        while begin < end:
            start = begin - begin % self.log.file_bytes
            part = self.log.file(start).read_bytes()[begin - start : end - start]
            content += part
            begin += len(part)
        return content

    @property
    def appended(self):
        return self.memory.watermarks.appended


class PythonSender(SendGround):
    """What the Python path makes of a request to send."""

    def __init__(self, root, **settings):
        super().__init__(root, **settings)
        is_sync = self.config.flush_disk_type == "SYNC_FLUSH"
        self.appender = Appender(self.memory, 0, 1, is_sync, WAITS)
        self.output = []

    def send(self, frame, peer=V4):
        """Take a frame on; whether its messages are submitted. Else it is refused, or asked for."""
        try:
            command = decode(FrameReader().feed(frame)[0])
            if command.code not in SENDS or command.is_response:
                return False
            outcome = handle_send(self.replica, command, peer, NOW_MS)
        except (PeerError, RequestError):
            return False
        if not isinstance(outcome, Append):
            assert isinstance(outcome, Ask | Reply)
            return False

        def then(appended):
            try:
                answer = outcome.then(appended).command
            except RequestError as error:
                answer = command.reply(ResponseCode(error.code), error.remark, error.fields)
            if not command.is_oneway:
                self.output.append(encode(answer))

        self.appender.submit(outcome, then, NOW_MS)
        return True

    def take(self, now_ms=NOW_MS):
        """Read completions; return what was answered."""
        self.appender.collect(now_ms)
        output, self.output = self.output, []
        return output


class FastSender(SendGround):
    """What the kernels make of it.

    Attributes:
        desk: its address.
        row: that of a connection.
        tables: what the kernels work with.
    """

    def __init__(self, root, *, epoch=1, **settings):
        self.tables = None
        super().__init__(root, **settings)
        self._desk = np.zeros(desk.SIZE, dtype=np.uint8)
        self._row = np.zeros(connections.SIZE, dtype=np.uint8)
        self.desk, self.row = address_of(self._desk), address_of(self._row)
        self.tables = FastTables(self.desk, self.memory, self.replica, 0, epoch)
        for config in self.topics.values():
            self.tables.apply(self.update(config))
        store_native_i64(self.row + connections.ID, 7)
        store_native_i64(self.row + connections.FLAGS, connections.OPEN)
        self.set_clock(NOW_MS)
        self.introduce(V4)

    def apply(self, update):
        super().apply(update)
        if self.tables is not None:
            self.tables.apply(update)

    def set_clock(self, now_ms):
        store_native_i64(self.desk + desk.NOW_MS, now_ms)

    def introduce(self, peer):
        """Say whose connection it is."""
        for host, at, bytes_at_ in (
            (peer.host, connections.BORN_HOST, connections.BORN_HOST_BYTES),
            (peer.advertised, connections.STORE_HOST, connections.STORE_HOST_BYTES),
        ):
            ctypes.memmove(self.row + at, host.address, len(host.address))
            store_i32(self.row + at + len(host.address), host.port)
            store_native_i32(self.row + bytes_at_, len(host.address) + 4)

    def send(self, frame):
        """Give a frame to the kernels; DONE or SLOW."""
        placed = Placed(frame)
        return serve(self.desk, self.row, placed.address, placed.size_bytes)

    def record_bytes(self, frame):
        """Store the message of a frame; return the length of its record."""
        begin = self.appended
        assert self.send(frame) == DONE
        self.turn()
        self.take()
        return self.appended - begin

    def take(self, now_ms=NOW_MS):
        """Read completions; return what was answered."""
        self.set_clock(now_ms)
        collect(self.desk)
        release_flushed(self.desk)
        begin, end = (
            load_native_i64(self.row + at) for at in (connections.OUTPUT_BEGIN, connections.OUTPUT_END)
        )
        output = bytes_at(load_native_i64(self.row + connections.OUTPUT) + begin, end - begin)
        store_native_i64(self.row + connections.OUTPUT_BEGIN, 0)
        store_native_i64(self.row + connections.OUTPUT_END, 0)
        return frames_of(output)

    def word(self, at):
        """A word of the desk."""
        return load_word(self.desk + at)


def frames_of(output):
    """Bytes cut into frames, each with its length words."""
    frames = []
    while output:
        size = 4 + int.from_bytes(output[:4])
        frames.append(output[:size])
        output = output[size:]
    return frames
