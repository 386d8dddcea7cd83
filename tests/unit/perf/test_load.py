import socket
import threading

import numpy as np
import pytest

from perf.load.answers import (
    NATS,
    REFUSED,
    REMOTING,
    RESP,
    code_of,
    is_answered,
    opaque_of,
    read_nats,
    read_remoting,
    read_resp,
)
from perf.load.catch_up import GAP, walk
from perf.load.closed_loop import ClosedLoop
from perf.load.forms import (
    KEY_DIGITS,
    TAG_BASE,
    FormTable,
    Shape,
    fill_form,
    nats_forms,
    remoting_forms,
    write_form,
)
from shmq.memory.block import address_of
from shmq.store.host import Host
from shmq.store.record import NewRecord, encode_into, size_of
from shmq.wire.batch import split_batch
from shmq.wire.codes import RequestCode
from shmq.wire.command import FLAG_ONEWAY, FLAG_RESPONSE, Command, Encoding, decode, encode
from shmq.wire.frame import FrameReader

HINTS = 2


def at(content):
    kept = np.frombuffer(content + bytes(64), dtype=np.uint8).copy()
    return kept, address_of(kept)


def filled(form, tag, key):
    table = FormTable.of([form])
    target = np.zeros(len(form.text), dtype=np.uint8)
    write_form(address_of(target), table.texts, table.rows, 0)
    following = fill_form(address_of(target), table.rows, table.keys_at, 0, tag, key)
    return target.tobytes(), following


def commands(text):
    return [decode(frame) for frame in FrameReader().feed(text)]


@pytest.mark.parametrize("encoding", [Encoding.JSON, Encoding.ROCKETMQ])
@pytest.mark.parametrize("flag", [0, FLAG_ONEWAY, FLAG_RESPONSE, FLAG_ONEWAY | FLAG_RESPONSE])
def test_a_request_that_wants_no_answer_is_told_by_its_flag(encoding, flag):
    hints = np.zeros(HINTS, dtype=np.int64)
    for fields in ({"a": "x" * 40}, {}):  # at other places, from one to the next
        kept, address = at(encode(Command(10, 7, flag=flag, fields=fields, encoding=encoding)))
        assert is_answered(address, hints) == (flag & FLAG_ONEWAY == 0)
        del kept


@pytest.mark.parametrize("is_binary", [False, True])
def test_a_form_becomes_a_send_of_its_own(is_binary):
    (form,) = remoting_forms(["T"], 1, Shape(5, is_binary=is_binary))
    text, following = filled(form, TAG_BASE + 77, 0xABC)
    (command,) = commands(text)
    assert (command.code, command.opaque, command.body) == (
        RequestCode.SEND_MESSAGE_V2,
        TAG_BASE + 77,
        bytes(5),
    )
    assert following == 0xABC + 1
    assert f"{0xABC:0{KEY_DIGITS}X}\x02WAIT" in command.fields["i"]


def test_there_is_a_form_for_each_queue_of_each_topic():
    forms = remoting_forms(["A", "B"], 3, Shape(1))
    names = {(command.fields["b"], command.fields["e"]) for form in forms for command in commands(form.text)}
    assert names == {(topic, str(queue)) for topic in "AB" for queue in range(3)}


@pytest.mark.parametrize("is_binary", [False, True])
def test_of_a_oneway_form_the_last_message_is_answered(is_binary):
    (form,) = remoting_forms(["T"], 1, Shape(3, messages=4, kind="oneway", is_binary=is_binary))
    text, following = filled(form, TAG_BASE + 5, 0)
    sent = commands(text)
    assert [each.flag for each in sent] == [FLAG_ONEWAY] * 3 + [0]
    assert (sent[-1].opaque, following) == (TAG_BASE + 5, 4)


def test_each_message_of_a_batch_has_a_key_of_its_own():
    (form,) = remoting_forms(["T"], 1, Shape(3, messages=8, kind="batch"))
    text, following = filled(form, TAG_BASE, 0)
    (command,) = commands(text)
    keys = {bytes(entry.properties) for entry in split_batch(command.body)}
    assert (command.code, len(keys), following) == (RequestCode.SEND_BATCH_MESSAGE, 8, 8)


def test_every_answer_of_a_broker_is_read():
    for encoding in Encoding:
        for opaque in (TAG_BASE, TAG_BASE + 123_456):
            fields = {"msgId": '"opaque":5,"code":0', "queueOffset": str(opaque)}
            answer = encode(Command(0, opaque, flag=FLAG_RESPONSE, fields=fields, encoding=encoding))
            kept, address = at(answer)
            hints = np.zeros(HINTS, dtype=np.int64)
            assert read_remoting(address, len(answer), hints) == (len(answer), opaque)
            assert read_remoting(address, len(answer), hints) == (
                len(answer),
                opaque,
            )  # by what it has learnt
            assert read_remoting(address, len(answer) - 1, hints) == (0, 0)
            assert kept.size


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("code", [1, 2, 10, 208])
def test_an_answer_that_is_no_success_is_a_failure(encoding, code):
    answer = encode(Command(code, TAG_BASE + 1, flag=FLAG_RESPONSE, remark="no", encoding=encoding))
    kept, address = at(answer)
    hints = np.zeros(HINTS, dtype=np.int64)
    assert read_remoting(address, len(answer), hints) == (REFUSED - code, TAG_BASE + 1)
    assert (code_of(address, hints), opaque_of(address, hints)) == (code, TAG_BASE + 1)
    assert kept.size


def test_redis_and_nats_answers_are_read_whole_or_not_at_all():
    entry, ack = (
        b"$15\r\n1526919030474-0\r\n",
        b'MSG _INBOX.perf.0007.1000000042 1 26\r\n{"stream":"PERF","seq":12}\r\n',
    )
    kept, address = at(entry)
    assert read_resp(address, len(entry)) == (len(entry), 0)
    assert all(read_resp(address, held) == (0, 0) for held in range(1, len(entry)))
    also_kept, address = at(ack)
    assert read_nats(address, len(ack)) == (len(ack), 1_000_000_042)
    assert all(read_nats(address, held) == (0, 0) for held in range(1, len(ack)))
    assert kept.size + also_kept.size


def test_errors_of_redis_and_nats_are_failures():
    for content, read in (
        (b"-ERR no\r\n", read_resp),
        (b"$-1\r\n", read_resp),
        (b"-ERR 'no'\r\n", read_nats),
        (b'MSG _INBOX.perf.0000.1000000000 1 12\r\n{"error":{}} \r\n', read_nats),
    ):
        kept, address = at(content)
        assert read(address, len(content))[0] < 0
        assert kept.size


def records(offsets):
    host = Host(bytes((127, 0, 0, 1)), 10911)
    found = b""
    for offset in offsets:
        record = NewRecord(b"T", 0, 0, 0, 0, host, host, 0, 0, b"body", b"")
        buffer = bytearray(size_of(record))
        encode_into(record, memoryview(buffer), 0)
        buffer[20:28] = offset.to_bytes(8, "big")
        found += buffer
    return found


def test_a_walk_counts_messages_whose_offsets_leave_no_gap():
    for offsets, expected in (((5, 6, 7), 3), ((5, 7), GAP), ((6, 7), GAP)):
        content = records(offsets)
        kept, address = at(content)
        assert walk(address, len(content), 5) == expected
        assert walk(address, len(content) - 1, 5) == GAP
        assert kept.size


class Answering:
    """A server that answers what it is told, in its own order."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()

    def _serve(self):
        connection, _ = self._listener.accept()
        reader = FrameReader()
        with connection:
            try:
                while received := connection.recv(1 << 16):
                    asked = [decode(frame).opaque for frame in reader.feed(received)]
                    connection.sendall(b"".join(map(self._answer, reversed(asked))))
            except ConnectionError:
                return  # the load has had enough


def success(opaque):
    return encode(Command(0, opaque, flag=FLAG_RESPONSE))


@pytest.mark.parametrize("body_bytes", [16, 20_000])
def test_a_closed_loop_pairs_answers_that_come_in_any_order(body_bytes):
    with Answering(success) as server:
        forms = remoting_forms(["T"], 2, Shape(body_bytes))
        loop = ClosedLoop(server.address, 1, forms, window=7, protocol=REMOTING)
        loop.lanes.listen()
        for _ in range(2):  # the second run goes on with the same connection
            sent = loop.send(10.0, 500)
            assert (sent.messages, sent.latencies.count) == (500, 500)
            assert sent.bytes == 500 * len(forms[0].text)
        loop.lanes.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda opaque: success(opaque) * 2, "nothing that was asked"),
        (lambda opaque: success(opaque + 1000), "nothing that was asked"),
        (lambda opaque: encode(Command(2, opaque, flag=FLAG_RESPONSE)), "code 2"),
        (lambda opaque: b"\0\0\0\1" + success(opaque), "no answer"),
    ],
    ids=["twice", "another's", "refused", "garbled"],
)
def test_a_closed_loop_stops_at_a_wrong_answer(answer, said):
    with Answering(answer) as server:
        loop = ClosedLoop(server.address, 1, remoting_forms(["T"], 1, Shape(8)), window=4, protocol=REMOTING)
        loop.lanes.listen()
        with pytest.raises(AssertionError, match=said):
            loop.send(10.0, 100)
        loop.lanes.close()


def test_each_connection_has_an_inbox_of_its_own():
    (form,) = nats_forms(["perf.a"], Shape(4))
    assert form.text[form.lane_at : form.lane_at + 4] == b"0000"
    assert form.text[form.tag_at : form.tag_at + 10] == str(TAG_BASE).encode()
    assert {NATS, RESP, REMOTING} == {0, 1, 2}
