"""Whatever consumers ask, the kernels answer as the Python path does, byte for byte, or leave it to that path."""

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.errors import PeerError
from shmq.fastpath import connections, desk, parked_rows
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.parked import next_deadline_ms, parked_count
from shmq.fastpath.parsing import parse
from shmq.fastpath.request import SPARE_BYTES
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import decode
from shmq.wire.frame import FrameReader
from shmq.wire.heartbeat_bodies import MessageModel, SubscriptionData
from tests.support.fast_consumers import FastBroker, Waiting
from tests.support.mutated_frames import mutated, written_frame

CODES = (
    RequestCode.PULL_MESSAGE, RequestCode.LITE_PULL_MESSAGE, RequestCode.QUERY_CONSUMER_OFFSET,
    RequestCode.UPDATE_CONSUMER_OFFSET,
)  # fmt: skip
SERVED = {
    ResponseCode.SUCCESS, ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY, ResponseCode.PULL_OFFSET_MOVED,
}  # fmt: skip
TAGS = ("a", "b", "标签", "😀", "")
TOPICS = ("T", "%RETRY%G", "话题")
GROUPS = ("G", "H", "组")


class Script:
    """Random steps: what clients ask, and what happens meanwhile."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def mostly(self, usual, unusual, rate=0.05):
        """One of the usual values, or now and then one of the others."""
        return self.chance.choice(unusual if self.chance.random() < rate else usual)

    def number(self):
        return self.mostly(tuple(map(str, range(12))), ("-1", "-3", "25"))

    def pull_fields(self):
        fields = {
            "consumerGroup": self.mostly(GROUPS, ("X",)),
            "topic": self.mostly(TOPICS, ("X",)),
            "queueId": self.mostly(("0", "0", "1"), ("+0", "7", "-1")),
            "queueOffset": self.mostly((self.number(), "0"), ("9", "10", "11"), 0.3),
            "maxMsgNums": self.mostly(("32", "1", "2"), ("0", "-1", "2147483647")),
            "sysFlag": self.mostly(
                ("2", "3", "6", "7"), ("0", "1", "4", "5", "15", "31", "+3", "003", "-1"), 0.2
            ),
            "commitOffset": self.number(),
            "suspendTimeoutMillis": self.mostly(
                ("9", "15000", "30000"), ("0", "015000", "-5", "99999999999", "9223372036854775807")
            ),
            "subVersion": self.mostly(("0", "5"), ("6",)),
        }
        extras = {
            "subscription": self.mostly(
                ("*", "a", "a||b", "标签||😀", "c"),
                ("", " b || ", "||", "a|||b", " ", "||".join(map(str, range(70)))),
                0.2,
            ),
            "expressionType": self.mostly(("TAG",), ("", "SQL92", "tag")),
            "maxMsgBytes": self.mostly(("262144",), ("", "x")),
            "requestSource": "-1",
            "bname": "broker-a",
            "somethingElse": "é",
        }
        fields |= {name: value for name, value in extras.items() if self.chance.random() < 0.5}
        return self.thinned(fields)

    def offset_fields(self):
        return self.thinned(
            {
                "consumerGroup": self.mostly(GROUPS, ("X",)),
                "topic": self.mostly(TOPICS, ("X",)),
                "queueId": self.mostly(("0", "1"), ("7", "-1")),
                "commitOffset": self.mostly(("1", "12345678901"), ("9223372036854775807", "-4", "x")),
                "setZeroIfNotFound": self.chance.choice(("true", "false", "")),
            }
        )

    def thinned(self, fields):
        if self.chance.random() < 0.04:
            del fields[self.chance.choice(sorted(fields))]
        return fields

    def request(self):
        """A frame, and whether it is one that the fast path is for."""
        code = self.chance.choice((CODES[0], *CODES))
        is_pull = code in CODES[:2]
        fields = self.pull_fields() if is_pull else self.offset_fields()
        flag = self.mostly((0,), (2, 2, 4, 1))
        frame = written_frame(self.chance, int(code), fields, flag)
        if self.chance.random() < 0.15:
            return "request", mutated(self.chance, frame), False
        is_for_kernels = flag == 0 or (flag == 2 and code == RequestCode.UPDATE_CONSUMER_OFFSET)
        return "request", frame, is_for_kernels

    def subscription(self):
        return SubscriptionData(
            self.chance.choice((*TOPICS, "later")),
            expression=self.chance.choice(("*", "a", "a||b", "标签")),
            tag_hashes=self.mostly((frozenset(), frozenset({97, 98 + (1 << 32)})), (frozenset(range(100)),)),
            version=self.chance.choice((0, 5, 5)),
            expression_type=self.mostly(("TAG",), ("", "SQL92")),
            class_filter=self.chance.random() < 0.05,
        )

    def step(self):
        """What happens next."""
        chance = self.chance
        match chance.choices(
            ("request", "append", "clock", "subscribe", "group", "topic"), (70, 20, 5, 2, 1, 1)
        )[0]:
            case "request":
                return self.request()
            case "append":
                tags = chance.choices(TAGS, k=chance.randrange(8))
                return "append", chance.choice(TOPICS), chance.randrange(2), tags
            case "clock":
                return "clock", chance.choice((1, 10, 20_000))
            case "subscribe":
                wanted = [self.subscription() for _ in range(chance.randint(1, 4))]
                model = self.mostly((MessageModel.CLUSTERING,), (MessageModel.BROADCASTING,), 0.2)
                return "subscribe", chance.choice(GROUPS), wanted, model
            case "group":
                return (
                    "group",
                    chance.choice(GROUPS),
                    self.mostly((True,), (False,), 0.3),
                    chance.random() < 0.7,
                )
            case _:
                permission = self.mostly((4, 6, 7), (2,), 0.2)
                return "topic", chance.choice((*TOPICS, "later")), self.mostly((2,), (1,)), permission


class Pair:
    """One broker, and both ways to serve its consumers."""

    def __init__(self, root, **given_settings):
        self.broker = FastBroker(root, **given_settings)
        for topic in TOPICS:
            self.broker.add_topic(topic, 2, topic_sys_flag=1)
        for group in GROUPS:
            self.broker.add_group(group, group_sys_flag=2)
            self.broker.subscribe(group, *(SubscriptionData(topic, version=5) for topic in TOPICS))
        for row in range(16):  # the last group lacks two
            self.broker.offsets.add(row // 6, row % 6, row - 2)
        self.waiting = []
        self.done = 0

    def close(self):
        self.broker.close()

    def request(self, frame, is_for_kernels):
        """Let both serve a frame; what the kernels do not leave alone must be the same."""
        try:
            command = decode(FrameReader().feed(frame)[0])
        except PeerError:
            assert not self.is_parsed(frame)
            return
        if command.code not in CODES or command.is_response:
            return
        before = self.broker.committed()
        fast = self.serve_fast(frame, before)
        after_fast = self.broker.committed()
        self.restore(before)
        slow = self.broker.serve_slow(frame)
        after_slow = self.broker.committed()
        told = self.broker.serve_command(replace(command, flag=0))  # once more, and nothing else happens
        is_served = isinstance(told, Waiting) or code_of(told) in SERVED
        if fast[0] == SLOW and is_served:  # a file was not mapped: it is now
            self.restore(before)
            fast = self.serve_fast(frame, before)
            after_fast = self.broker.committed()
            self.restore(after_slow)
        if fast[0] == SLOW:
            cannot_wait = (
                isinstance(slow, Waiting) and b"\\u003" in frame
            )  # numbers that cannot be written over
            assert not (is_for_kernels and is_served and self.is_expected(command)) or cannot_wait, (
                frame,
                slow,
            )
            return
        self.done += 1
        assert fast[0] == DONE
        assert after_fast == after_slow
        assert fast[1] == ([slow] if isinstance(slow, bytes) else [])
        if isinstance(slow, Waiting):
            row = load_native_i64(self.broker.row + connections.FIRST_PARKED)
            assert load_native_i64(row + parked_rows.SLOT) == slow.park.slot
            assert load_native_i64(row + parked_rows.PAST_OFFSET) == slow.park.past_offset
            assert load_native_i64(row + parked_rows.DEADLINE_MS) == slow.park.deadline_ms
            self.waiting.append(slow)
        assert parked_count(self.broker.desk) == len(self.waiting)

    def serve_fast(self, frame, before):
        count = parked_count(self.broker.desk)
        outcome, answers = self.broker.serve_fast(frame)
        if outcome == SLOW:
            assert answers == []
            assert self.broker.committed() == before
            assert parked_count(self.broker.desk) == count
        return outcome, answers

    def is_parsed(self, frame):
        readable = np.frombuffer(frame + bytes(SPARE_BYTES), dtype=np.uint8)
        return parse(load_native_i64(self.broker.desk + desk.REQUEST), address_of(readable), len(frame))

    def is_expected(self, command):
        """Whether a request that Python could serve is plain enough for the kernels."""
        fields = command.fields
        if any(
            len(value) > 18
            for name, value in fields.items()
            if name in ("commitOffset", "suspendTimeoutMillis")
        ):
            return False
        if command.code in CODES[2:]:
            return command.code == RequestCode.UPDATE_CONSUMER_OFFSET or code_of_row(self.broker, fields) >= 0
        is_long = len(fields.get("subscription", "").split("||")) > 64
        return int(fields["sysFlag"]) >= 0 and not is_long and not self.has_long_subscription(fields)

    def has_long_subscription(self, fields):
        members = self.broker.replica.members.get(fields["consumerGroup"])
        found = members and members.subscriptions.get(fields["topic"])
        return bool(found) and len(found.tag_hashes) > 64

    def restore(self, committed):
        for group_id, slot, offset in committed:
            self.broker.offsets.add(group_id, slot, offset)

    def look(self):
        """Let both look at what waits."""
        expected, still = [], []
        for waiting in self.waiting:
            outcome = waiting
            newest = self.broker.store.queues.max
            while isinstance(outcome, Waiting) and newest[outcome.park.slot] > outcome.park.past_offset:
                outcome = self.broker.again(outcome, is_last=False)
            if isinstance(outcome, Waiting) and outcome.park.deadline_ms <= self.broker.now_ms:
                outcome = self.broker.again(outcome, is_last=True)
            if isinstance(outcome, Waiting):
                still.append(outcome)
            else:
                expected.append(outcome)
        self.waiting = still
        before = self.broker.committed()
        answers = self.broker.look()
        for frame, row in self.broker.take_handed_up():
            assert row == self.broker.row
            answers.append(self.broker.serve_slow(frame))
        assert self.broker.committed() == before
        assert sorted(answers) == sorted(expected)
        assert parked_count(self.broker.desk) == len(still)
        if still:
            assert next_deadline_ms(self.broker.desk) == min(each.park.deadline_ms for each in still)

    def run(self, step):
        match step:
            case "request", frame, is_for_kernels:
                self.request(frame, is_for_kernels)
            case "append", topic, queue_id, tags:
                for tag in tags:
                    self.broker.append(topic, queue_id, tag=tag)
            case "clock", ms:
                self.broker.set_clock(self.broker.now_ms + ms)
            case "subscribe", group, wanted, model:
                self.broker.subscribe(group, *wanted, model=model)
            case "group", group, may_consume, may_broadcast:
                forbidden = () if may_broadcast else ("%RETRY%G",)
                self.broker.add_group(
                    group,
                    forbidden=forbidden,
                    consume_enable=may_consume,
                    consume_broadcast_enable=may_broadcast,
                )
            case "topic", topic, queues, permission:
                self.broker.add_topic(topic, queues, permission=permission)
        self.look()


def code_of(answer):
    return decode(FrameReader().feed(answer)[0]).code


def code_of_row(broker, fields):
    return broker.replica.committed_offset(
        fields["consumerGroup"], broker.replica.queue(fields["topic"], int(fields["queueId"])).slot
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_both_paths_answer_the_same(seed):
    script = Script(seed)
    count_max, scan_bytes, bytes_max = script.chance.choice(
        ((32, 16_000, 1 << 18), (3, 60, 1 << 18), (32, 20, 400))
    )
    with tempfile.TemporaryDirectory() as root:
        pair = Pair(
            Path(root),
            transfer_count_in_memory_max=count_max,
            filter_scan_bytes_max=scan_bytes,
            transfer_bytes_in_memory_max=bytes_max,
            long_polling_enable=script.chance.random() < 0.8,
            log_file_bytes=4096,
        )
        for _ in range(60):
            pair.run(script.step())
        pair.close()
        assert pair.done > 0
