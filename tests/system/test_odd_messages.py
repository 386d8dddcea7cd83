"""Messages at the limits of the protocol and of the store's files, through a real broker and over its restarts."""

import json
import random
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from shmq.store import record
from shmq.wire.batch import FIXED_BYTES, BatchEntry, join_batch
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, Encoding
from shmq.wire.message import ReceivedMessage, decode_messages
from tests.support.ports import free_broker_port
from tests.support.remote import Remote, send_request
from tests.support.shmq_process import ShmqBroker

BODY_BYTES_MAX: Final = 4 << 20
LOG_FILE_BYTES: Final = 1 << 16
SMALL: Final = {
    "commit_log_file_bytes": LOG_FILE_BYTES,
    "consume_queue_file_bytes": 20 * 100,
    "message_bytes_max": 1 << 14,
}
V6_BYTES: Final = 16

encodings = pytest.mark.parametrize("encoding", list(Encoding))


def has_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6)) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def remote(shared_broker: ShmqBroker) -> Iterator[Remote]:
    with Remote(shared_broker.address) as connected:
        yield connected


def batch(topic: str, entries: list[BatchEntry]) -> Command:
    request = send_request(topic, join_batch(entries))
    request.code = RequestCode.SEND_BATCH_MESSAGE
    request.fields["m"] = "true"
    return request


def read_one(remote: Remote, topic: str, offset: int = 0) -> ReceivedMessage:
    """The message of an offset; once it is there."""
    return remote.read_queue(topic, 0, offset + 1)[offset]


class TestBodies:
    """Java's broker refuses an empty body as well: it takes no body for one. In a batch it does not look."""

    @pytest.mark.parametrize("size", [1, BODY_BYTES_MAX - 1, BODY_BYTES_MAX])
    @encodings
    def test_a_body_up_to_the_limit_comes_back(
        self, shared_broker: ShmqBroker, size: int, encoding: Encoding
    ) -> None:
        topic = f"body-{size}-{encoding.name}"
        body = random.Random(size).randbytes(size)
        with Remote(shared_broker.address, encoding=encoding) as remote:
            assert remote.send(topic, body).code == ResponseCode.SUCCESS
            found = read_one(remote, topic)
        assert bytes(found.body) == body

    @pytest.mark.parametrize("size", [0, BODY_BYTES_MAX + 1])
    @encodings
    def test_none_and_one_byte_more_are_illegal(
        self, shared_broker: ShmqBroker, size: int, encoding: Encoding
    ) -> None:
        topic = f"no-body-{size}-{encoding.name}"
        with Remote(shared_broker.address, encoding=encoding) as remote:
            assert remote.send(topic, bytes(size)).code == ResponseCode.MESSAGE_ILLEGAL
            assert remote.send(topic, b"x").fields["queueOffset"] == "0"

    def test_an_empty_body_in_a_batch_is_stored_and_pulled(self, remote: Remote) -> None:
        bodies = [b"", b"one", b"", b""]
        sent = remote.call(batch("empty-in-batch", [BatchEntry(0, body, b"") for body in bodies]))
        assert sent.code == ResponseCode.SUCCESS, sent.remark
        assert [bytes(each.body) for each in remote.read_queue("empty-in-batch", 0, 4)] == bodies


class TestBatches:
    def test_a_batch_up_to_the_limit_is_stored_whole(self, remote: Remote) -> None:
        body = b"b" * (BODY_BYTES_MAX // 64 - FIXED_BYTES)
        request = batch("batch-limit", [BatchEntry(number, body, b"") for number in range(64)])
        assert len(request.body) == BODY_BYTES_MAX
        sent = remote.call(request)
        assert sent.code == ResponseCode.SUCCESS, sent.remark
        found = remote.read_queue("batch-limit", 0, 64)
        assert [each.flag for each in found] == list(range(64))
        assert all(bytes(each.body) == body for each in found)

    def test_a_batch_of_one_byte_more_is_illegal(self, remote: Remote) -> None:
        request = batch("batch-limit", [BatchEntry(0, b"b" * (BODY_BYTES_MAX + 1 - FIXED_BYTES), b"")])
        assert remote.call(request).code == ResponseCode.MESSAGE_ILLEGAL

    def test_a_batch_of_very_many_is_stored_in_order(self, remote: Remote) -> None:
        entries = [BatchEntry(0, b"%d" % number, b"") for number in range(3000)]
        assert remote.call(batch("batch-many", entries)).code == ResponseCode.SUCCESS
        found = remote.read_queue("batch-many", 0, 3000)
        assert [bytes(each.body) for each in found] == [entry.body for entry in entries]


class TestTopics:
    """A topic's name has at most 127 bytes, but of a retry topic, which may have 255 and then a record of version 2."""

    @pytest.mark.parametrize("size", [126, 127])
    def test_a_long_topic_is_one_as_any(self, remote: Remote, size: int) -> None:
        topic = "t" * size
        assert remote.send(topic, b"x").code == ResponseCode.SUCCESS
        found = read_one(remote, topic)
        assert (found.topic, bytes(found.body)) == (topic, b"x")

    @pytest.mark.parametrize("size", [128, 255, 256])
    def test_a_longer_one_is_refused(self, remote: Remote, size: int) -> None:
        assert remote.send("t" * size, b"x").code != ResponseCode.SUCCESS

    def test_a_retry_topic_of_256_bytes_is_refused(self, remote: Remote) -> None:
        assert remote.send("%RETRY%".ljust(256, "g"), b"x").code != ResponseCode.SUCCESS

    def test_a_retry_topic_may_be_longer(self, tmp_path: Path) -> None:
        """Of a group that is there: a new one has at most 120 bytes, which was not always so."""
        sizes = [127, 128, 129, 254, 255]
        groups = {
            "g" * (size - len("%RETRY%")): {"groupName": "g" * (size - len("%RETRY%"))} for size in sizes
        }
        topics = {
            f"%RETRY%{group}": {
                "topicName": f"%RETRY%{group}",
                "readQueueNums": 1,
                "writeQueueNums": 1,
                "perm": 6,
            }
            for group in groups
        }
        config = tmp_path / "store" / "config"
        config.mkdir(parents=True)
        (config / "topics.json").write_text(json.dumps({"topicConfigTable": topics}), encoding="ascii")
        (config / "subscriptionGroup.json").write_text(
            json.dumps({"subscriptionGroupTable": groups}), encoding="ascii"
        )
        first = ShmqBroker(tmp_path, settings=SMALL)
        try:
            with Remote(first.address) as remote:
                for topic in topics:
                    sent = remote.send(topic, b"again")
                    assert sent.code == ResponseCode.SUCCESS, sent.remark
                found = [read_one(remote, topic) for topic in topics]
            first.kill()
            second = ShmqBroker(tmp_path / "again", store_root=first.store_root, settings=SMALL)
            try:
                with Remote(second.address) as remote:
                    assert [read_one(remote, topic) for topic in topics] == found
                second.stop()
            finally:
                second.discard()
        finally:
            first.discard()
        assert [each.topic for each in found] == list(topics)
        log = (first.store_root / "commitlog" / f"{0:020d}").read_bytes()
        magics = [int.from_bytes(log[each.position + 4 :][:4], "big", signed=True) for each in found]
        assert magics == [record.MAGIC_V1] + [record.MAGIC_V2] * 4


class TestProperties:
    def test_properties_up_to_their_limit_come_back(self, remote: Remote) -> None:
        """What the broker adds counts."""
        own = "UNIQ_KEY\x01U\x02"
        assert remote.send("properties", b"x", properties=own).code == ResponseCode.SUCCESS
        stored = read_one(remote, "properties")
        taken = sum(len(name) + len(value) + 2 for name, value in stored.properties.items())
        room = record.PROPERTIES_BYTES_MAX - taken - len("long") - 2
        for size, code in ((room, ResponseCode.SUCCESS), (room + 1, ResponseCode.MESSAGE_ILLEGAL)):
            answer = remote.send("properties", b"x", properties=f"{own}long\x01{'v' * size}\x02")
            assert answer.code == code, (size, answer.remark)
        assert read_one(remote, "properties", 1).properties["long"] == "v" * room

    def test_properties_of_a_batch_entry_too(self, remote: Remote) -> None:
        for size in (record.PROPERTIES_BYTES_MAX, record.PROPERTIES_BYTES_MAX - 1):
            text = b"long\x01" + b"v" * (size - 6) + b"\x02"
            sent = remote.call(batch("batch-properties", [BatchEntry(0, b"x", text)] * 2))
            assert sent.code == ResponseCode.SUCCESS, sent.remark
        found = remote.read_queue("batch-properties", 0, 4)
        sizes = [len(each.properties["long"]) + 6 for each in found]
        assert sizes == [record.PROPERTIES_BYTES_MAX] * 2 + [record.PROPERTIES_BYTES_MAX - 1] * 2


@encodings
def test_text_of_every_script_is_kept_and_matched(shared_broker: ShmqBroker, encoding: Encoding) -> None:
    """Two, three and four bytes a letter; tags are matched by a hash of UTF-16 units."""
    topic = f"text-{encoding.name}"
    tags = ["größe", "订单", "😀😀", "İ", "a\u0301"]
    with Remote(shared_broker.address, encoding=encoding) as remote:
        for tag in tags:
            properties = f"TAGS\x01{tag}\x02KEYS\x01{tag} schlüssel\x02Ключ\x01значение {tag}\x02"
            assert remote.send(topic, tag.encode(), properties=properties).code == ResponseCode.SUCCESS
        found = remote.read_queue(topic, 0, len(tags))
        assert [each.properties["TAGS"] for each in found] == tags
        assert [each.properties["Ключ"] for each in found] == [f"значение {tag}" for tag in tags]
        assert [bytes(each.body).decode() for each in found] == tags
        for number, tag in enumerate(tags):
            answer = remote.pull(topic, 0, 0, expression=tag)
            while answer.code == ResponseCode.PULL_RETRY_IMMEDIATELY:
                answer = remote.pull(topic, 0, int(answer.fields["nextBeginOffset"]), expression=tag)
            (only,) = decode_messages(answer.body)
            assert only.queue_offset == number


class TestFileEnds:
    """A record fits a file where it leaves 8 bytes, for the blank that ends the file."""

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[ShmqBroker]:
        started = ShmqBroker(tmp_path, settings=SMALL)
        try:
            yield started
        finally:
            started.discard()

    @pytest.mark.parametrize("left", [7, 8, 9, 12, 0])
    def test_a_record_that_ends_near_the_end_of_a_file(self, broker: ShmqBroker, left: int) -> None:
        fits = left >= record.BLANK_BYTES_MIN
        properties = "UNIQ_KEY\x01U\x02"
        with Remote(broker.address) as remote:
            remote.send("ends", b"x", properties=properties)
            first = read_one(remote, "ends")
            overhead = first.size_bytes - 1
            sent, last = 1, first
            while LOG_FILE_BYTES - (last.position + last.size_bytes) > 2 * (1 << 14):
                remote.send("ends", b"y" * ((1 << 14) - overhead), properties=properties)
                last = read_one(remote, "ends", sent)
                sent += 1
            room = LOG_FILE_BYTES - (last.position + last.size_bytes)
            half = b"h" * (room // 2 - overhead)
            remote.send("ends", half, properties=properties)
            exact = b"e" * (room - room // 2 - left - overhead)
            remote.send("ends", exact, properties=properties)
            remote.send("ends", b"after", properties=properties)
            found = remote.read_queue("ends", 0, sent + 3)
        ending, after = found[-2:]
        assert bytes(ending.body) == exact
        end = ending.position + ending.size_bytes
        if fits:
            assert end == LOG_FILE_BYTES - left
            assert after.position == LOG_FILE_BYTES
            tail = (broker.store_root / "commitlog" / f"{0:020d}").read_bytes()[-left:]
            assert tail[:8] == left.to_bytes(4, "big") + (record.BLANK_MAGIC & 0xFFFFFFFF).to_bytes(4, "big")
        else:
            assert ending.position == LOG_FILE_BYTES
            assert after.position == end
        self._restart_and_compare(broker, found)

    def _restart_and_compare(self, broker: ShmqBroker, found: list[ReceivedMessage]) -> None:
        broker.kill()
        again = ShmqBroker(broker.directory / "again", store_root=broker.store_root, settings=SMALL)
        try:
            with Remote(again.address) as remote:
                assert remote.read_queue("ends", 0, len(found)) == found
                assert remote.send("ends", b"goes on").fields["queueOffset"] == str(len(found))
            again.stop()
        finally:
            again.discard()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_clients_and_a_broker_on_ipv6(tmp_path: Path) -> None:
    """Both hosts of a record have 16 bytes then, and so has the id that says where it lies."""
    port = free_broker_port()
    broker = ShmqBroker(
        tmp_path, listen_host="[::1]", port=port, settings={"advertised_address": f"[::1]:{port}"}
    )
    address = f"[::1]:{port}"
    try:
        with Remote(address) as remote:
            for number in range(5):
                sent = remote.send("six", b"body %d" % number, properties="TAGS\x01T\x02KEYS\x01k\x02")
                assert sent.code == ResponseCode.SUCCESS, sent.remark
            sent = remote.call(batch("six", [BatchEntry(0, b"batched", b"")] * 2))
            assert sent.code == ResponseCode.SUCCESS, sent.remark
            found = remote.read_queue("six", 0, 7)
            assert [bytes(each.body) for each in found[:5]] == [b"body %d" % number for number in range(5)]
            for each in found:
                assert (len(each.born_host.address), len(each.store_host.address)) == (V6_BYTES, V6_BYTES)
                assert each.sys_flag & (record.BORN_HOST_V6 | record.STORE_HOST_V6) == 0x30
                viewed = remote.call(
                    Command(RequestCode.VIEW_MESSAGE_BY_ID, fields={"offset": str(each.position)})
                )
                assert decode_messages(viewed.body) == [each]
            assert len(sent.fields["msgId"].split(",")[0]) == 2 * (V6_BYTES + 4 + 8)
        broker.kill()
        again = ShmqBroker(
            tmp_path / "again",
            store_root=broker.store_root,
            listen_host="[::1]",
            port=port,
            settings={"advertised_address": f"[::1]:{port}"},
        )
        try:
            with Remote(address) as remote:
                assert remote.read_queue("six", 0, 7) == found
            again.stop()
        finally:
            again.discard()
    finally:
        broker.discard()
