"""Committed offsets, their resets, and locks of queues: whatever members and administrators do, in whatever order.

A broker of both planes over the same tables: what workers answer and what the conductor answers is compared with a
plain model; and so is what is left after the conductor, or the whole broker, starts anew.
"""

import random
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shmq.broker.answering import handle_question
from shmq.broker.effects import Publish
from shmq.broker.membership import handle_lock, handle_unlock
from shmq.broker.metadata import Metadata
from shmq.broker.offsets_requests import handle_query_offset, handle_update_offset
from shmq.broker.outcome import Ask
from shmq.broker.pulling import handle_pull
from shmq.broker.replica import Replica
from shmq.broker.resetting import handle_clone_offset, handle_reset_offset
from shmq.errors import RequestError
from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.store import watermarks
from shmq.store.key_query import KeyIndexReader
from shmq.store.store_files import StoreSizes
from shmq.store.watermarks import Watermarks
from shmq.wire.bodies import LockBatchRequest, LockBatchResponse, MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.reset_bodies import ResetOffsets
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, PEER, SmallMetadata

QUEUES = 2
LOCK_LIFE_MS = 100
GROUPS = ("g", "h")
CLIENTS = ("x", "y", "z")
SUBSCRIPTION, SUSPEND, COMMIT = 4, 2, 1

groups = st.sampled_from(GROUPS)
queues = st.integers(0, QUEUES - 1)
offsets = st.integers(0, 12)


class Broker:
    """Both planes of a broker over one set of tables."""

    def __init__(self, small):
        self.small = small
        self.store = small.store
        self.reader = small.state.reader._queues
        words = np.zeros(watermarks.SIZE, dtype=np.uint8)
        self.words = words
        marks = Watermarks(address_of(words), is_sync_flush=False)
        keys = KeyIndexReader(
            Path(small.settings.store_root) / "index", StoreSizes.of(small.settings).key_index, self.store.log
        )
        source = random.Random(7)
        self.replica = Replica(small.settings, small.tables.offsets, self.reader, keys, marks, source)
        for update in small.state.snapshot():
            self.replica.apply(update)
        self.publish()

    def publish(self):
        for effect in self.small.state.drain():
            if isinstance(effect, Publish):
                self.replica.apply(effect.update)

    def control(self, handler, code, fields=None, body=b"", now_ms=NOW_MS):
        command = self.small.call(handler, code, fields, body, now_ms=now_ms).command
        self.publish()
        return command

    def data(self, handler, code, fields):
        texts = {name: str(value) for name, value in fields.items()}
        store_word(self.replica.watermarks.address + watermarks.APPENDED, self.store.end)
        request = Command(code, 7, fields=texts)
        try:
            outcome = handler(self.replica, request, PEER, NOW_MS)
            while isinstance(outcome, Ask):
                answered = handle_question(self.small.state, outcome.question, NOW_MS)
                self.publish()
                outcome = outcome.then(answered)
        except RequestError as error:
            return request.reply(error.code, error.remark)
        return outcome.command


class OffsetsAndLocks(RuleBasedStateMachine):
    """The model: offsets by (group, queue), resets that are pending, holders of locks and since when."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        small = SmallMetadata(Path(self.directory.name), queue_lock_life_ms=LOCK_LIFE_MS)
        small.state.topics.put(TopicConfig("T", QUEUES, QUEUES), NOW_MS)
        for group in GROUPS:
            small.state.groups.find(group, NOW_MS)
        self.broker = Broker(small)
        self.max = [0] * QUEUES
        self.committed = {}
        self.pending = {}
        self.locks = {}
        self.now_ms = NOW_MS

    def teardown(self):
        self.broker.reader.close()
        self.directory.cleanup()

    @rule(queue=queues, count=st.integers(1, 4))
    def store_messages(self, queue, count):
        for _ in range(count):
            self.broker.small.append("T", queue)
        self.max[queue] += count

    @rule(group=groups, queue=queues, offset=offsets)
    def commit(self, group, queue, offset):
        fields = {"consumerGroup": group, "topic": "T", "queueId": queue, "commitOffset": offset}
        answer = self.broker.data(handle_update_offset, RequestCode.UPDATE_CONSUMER_OFFSET, fields)
        assert answer.code == ResponseCode.SUCCESS
        if (group, queue) not in self.pending:
            self.committed[group, queue] = offset

    @rule(group=groups, queue=queues, data=st.data())
    def pull(self, group, queue, data):
        begin = data.draw(st.integers(0, self.max[queue]))
        offset = data.draw(offsets)
        fields = {
            "consumerGroup": group, "topic": "T", "queueId": queue, "queueOffset": begin, "maxMsgNums": 32,
            "sysFlag": SUBSCRIPTION | COMMIT, "commitOffset": offset, "suspendTimeoutMillis": 0, "subVersion": 0,
            "subscription": "*",
        }  # fmt: skip
        answer = self.broker.data(handle_pull, RequestCode.PULL_MESSAGE, fields)
        reset = self.pending.pop((group, queue), None)
        if reset is not None:
            assert (answer.code, answer.remark) == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_RESET")
            assert int(answer.fields["nextBeginOffset"]) == reset
            self.committed[group, queue] = reset
            return
        self.committed[group, queue] = offset
        assert int(answer.fields["nextBeginOffset"]) == self.max[queue]

    @rule(group=groups, to_end=st.booleans())
    def reset_all(self, group, to_end):
        self._reset({"group": group, "timestamp": -1 if to_end else 0})
        for queue in range(QUEUES):
            self._expect_reset(group, queue, self.max[queue] if to_end else 0)

    @rule(group=groups, queue=queues, data=st.data())
    def reset_one(self, group, queue, data):
        offset = data.draw(st.integers(0, self.max[queue] + 1))
        told = self._reset({"group": group, "timestamp": 0, "queueId": queue, "offset": offset})
        assert told == {MessageQueue("T", "b", queue): offset}
        self._expect_reset(group, queue, offset)

    @rule(source=groups, taker=groups)
    def clone(self, source, taker):
        fields = {"srcGroup": source, "destGroup": taker, "topic": "T"}
        self.broker.control(handle_clone_offset, RequestCode.CLONE_GROUP_OFFSET, fields)
        if source != taker:
            for queue in range(QUEUES):
                found = self._told(source, queue)
                if found is not None:
                    self.committed[taker, queue] = found
        else:
            self.committed.update({key: at for key, at in self.pending.items() if key[0] == source})

    @rule()
    def restart_the_conductor(self):
        small = self.broker.small
        documents = small.state.documents(NOW_MS)
        small.state = Metadata(small.settings, small.tables, documents, small.state.reader, NOW_MS)
        self.broker.publish()
        self.locks.clear()

    @precondition(lambda self: not any(self.max))
    @rule()
    def restart_the_broker(self):
        """What is pending counts as committed from then on; only with an empty store, which no test reads again."""
        self.broker.reader.close()
        self.broker = Broker(self.broker.small.again(queue_lock_life_ms=LOCK_LIFE_MS))
        self.committed.update(self.pending)
        self.pending.clear()
        self.locks.clear()

    @rule(group=groups, client=st.sampled_from(CLIENTS), wanted=st.sets(queues, min_size=1))
    def lock(self, group, client, wanted):
        body = LockBatchRequest(group, client, tuple(self._queue(each) for each in sorted(wanted))).to_bytes()
        answer = self.broker.control(handle_lock, RequestCode.LOCK_BATCH_MQ, None, body, self.now_ms)
        taken = {each.queue_id for each in LockBatchResponse.from_bytes(answer.body).queues}
        for queue in wanted:
            holder, since_ms = self.locks.get((group, queue), (client, 0))
            is_free = holder == client or self.now_ms - since_ms > LOCK_LIFE_MS
            assert (queue in taken) == is_free
            if is_free:
                self.locks[group, queue] = (client, self.now_ms)
        assert taken <= wanted

    @rule(group=groups, client=st.sampled_from(CLIENTS), queue=queues)
    def unlock(self, group, client, queue):
        body = LockBatchRequest(group, client, (self._queue(queue),)).to_bytes()
        self.broker.control(handle_unlock, RequestCode.UNLOCK_BATCH_MQ, None, body, self.now_ms)
        if self.locks.get((group, queue), (None, 0))[0] == client:
            del self.locks[group, queue]

    @rule(
        passed_ms=st.sampled_from((1, LOCK_LIFE_MS // 2, LOCK_LIFE_MS, LOCK_LIFE_MS + 1)), tidy=st.booleans()
    )
    def time_passes(self, passed_ms, tidy):
        self.now_ms += passed_ms
        if tidy:
            self.broker.small.state.locks.expire(self.now_ms)

    @invariant()
    def every_offset_is_told(self):
        for group in GROUPS:
            for queue in range(QUEUES):
                fields = {
                    "consumerGroup": group,
                    "topic": "T",
                    "queueId": queue,
                    "setZeroIfNotFound": "false",
                }
                answer = self.broker.data(handle_query_offset, RequestCode.QUERY_CONSUMER_OFFSET, fields)
                assert answer.code in (ResponseCode.SUCCESS, ResponseCode.QUERY_NOT_FOUND)
                told = None if answer.code else int(answer.fields["offset"])
                assert told == self._told(group, queue)

    @invariant()
    def every_offset_is_saved(self):
        saved = {(each.group, each.queue_id): each.offset for each in self.broker.small.state.offsets}
        assert saved == self.committed | self.pending

    def _queue(self, queue):
        return MessageQueue("T", "b", queue)

    def _told(self, group, queue):
        return self.pending.get((group, queue), self.committed.get((group, queue)))

    def _reset(self, fields):
        answer = self.broker.control(
            handle_reset_offset, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, {"topic": "T"} | fields
        )
        return dict(ResetOffsets.from_bytes(answer.body).offsets)

    def _expect_reset(self, group, queue, offset):
        self.pending[group, queue] = offset
        self.committed[group, queue] = offset


OffsetsAndLocks.TestCase.settings = settings(max_examples=8, stateful_step_count=60, deadline=None)
TestOffsetsAndLocks = OffsetsAndLocks.TestCase
