"""Any bytes, on the port of a broker and of its name server: it goes on answering, and no process of it ends."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shmq.wire.codes import RequestCode
from shmq.wire.command import Command, Encoding, encode
from shmq.wire.heartbeat_bodies import ConsumerData, HeartbeatData, SubscriptionData
from tests.support.broker_registrations import registration_of
from tests.support.healthy import Healthy
from tests.support.remote import RECEIVE_BYTES, TIMEOUT_S, pull_request, send_request
from tests.support.shmq_process import ShmqBroker

EXAMPLES: Final = int(os.environ.get("SHMQ_FUZZ_EXAMPLES", "150"))
TOPIC: Final = "fuzzed"
BODY: Final = bytes(range(64))

Which = Callable[[ShmqBroker], str]
both = pytest.mark.parametrize(
    "which",
    [
        pytest.param(lambda broker: broker.address, id="broker"),
        pytest.param(lambda broker: broker.namesrv_address, id="name server"),
    ],
)
VALUES: Final = (
    st.sampled_from((TOPIC, "", "0", "1", "-1", "true", "2147483648", "-9223372036854775808")) | st.text()
)


def command(code: int, body: bytes = b"", **fields: str) -> Command:
    return Command(code, fields=fields, body=body)


VALID: Final = (
    send_request(TOPIC, BODY, 0, "KEYS\x01k\x02TAGS\x01t\x02"),
    send_request(TOPIC, BODY, -1, flag=2),
    pull_request(TOPIC, 0, 0, expression="a || b"),
    command(
        RequestCode.HEART_BEAT,
        HeartbeatData(
            "fuzzer", ("P",), (ConsumerData("fuzz", subscriptions=(SubscriptionData.from_tags(TOPIC, "a"),)),)
        ).to_bytes(),
    ),
    command(RequestCode.GET_CONSUMER_LIST_BY_GROUP, consumerGroup="fuzz"),
    command(RequestCode.UNREGISTER_CLIENT, clientID="fuzzer", consumerGroup="fuzz"),
    command(
        RequestCode.UPDATE_CONSUMER_OFFSET, consumerGroup="fuzz", topic=TOPIC, queueId="0", commitOffset="5"
    ),
    command(RequestCode.QUERY_CONSUMER_OFFSET, consumerGroup="fuzz", topic=TOPIC, queueId="0"),
    command(RequestCode.GET_MAX_OFFSET, topic=TOPIC, queueId="0"),
    command(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, topic=TOPIC, queueId="0", timestamp="1"),
    command(RequestCode.VIEW_MESSAGE_BY_ID, offset="0"),
    command(RequestCode.CONSUMER_SEND_MSG_BACK, offset="0", group="fuzz", delayLevel="1"),
    command(
        RequestCode.UPDATE_AND_CREATE_TOPIC,
        topic=TOPIC,
        defaultTopic="TBW102",
        readQueueNums="4",
        writeQueueNums="4",
        perm="6",
        topicFilterType="SINGLE_TAG",
        topicSysFlag="0",
        order="false",
    ),
    command(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic=TOPIC),
    command(RequestCode.PUT_KV_CONFIG, namespace="fuzz", key="k", value="v"),
    command(RequestCode.GET_BROKER_CLUSTER_INFO),
    registration_of((TOPIC,), name="fuzzed-broker", cluster="fuzzed", address="127.0.0.1:1"),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid frame with some bytes changed, cut, doubled or of a wild number; often its length is put right again."""
    valid = draw(st.sampled_from(VALID))
    valid.encoding = draw(st.sampled_from(Encoding))
    valid.opaque = draw(st.integers(-(1 << 31), (1 << 31) - 1))
    frame = bytearray(encode(valid))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frame) - 1))
        piece = draw(
            st.binary(max_size=6) | st.sampled_from((b"-1", b"99999999999", b"null", b'"', b"\xff\xff"))
        )
        frame[at : at + draw(st.integers(0, 8))] = piece
        frame += b"\x00" * max(0, 8 - len(frame))
    if draw(st.booleans()):
        struct.pack_into(">i", frame, 0, len(frame) - 4)
    return bytes(frame)


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """A whole frame of a request with other values, or of another code with its fields."""
    valid = draw(st.sampled_from(VALID))
    names = sorted({name for each in VALID for name in each.fields})
    fields = valid.fields | draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=4))
    code = draw(st.just(valid.code) | st.sampled_from(RequestCode))
    body = draw(st.just(bytes(valid.body)) | st.binary(max_size=50) | st.just(b"{}"))
    flag = draw(st.sampled_from((0, 0, 0, 1, 2, 3)))
    return encode(
        Command(code, flag=flag, fields=fields, body=body, encoding=draw(st.sampled_from(Encoding)))
    )


STREAMS: Final = st.lists(st.binary(max_size=200) | mutated() | altered(), min_size=1, max_size=5)


def exchange(address: str, sent: list[bytes]) -> None:
    """Send it piece by piece, then say that there is no more; read whatever comes until the peer closes too."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as stranger:
        # It may close at the first piece; what must not happen is that it neither answers nor closes.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in sent:
                stranger.sendall(piece)
        with contextlib.suppress(OSError):  # not connected any more
            stranger.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(RECEIVE_BYTES):
                continue


@both
def test_no_bytes_disturb_a_broker(shared_broker: ShmqBroker, which: Which) -> None:
    workers = set(shared_broker.workers())
    with Healthy(shared_broker, "beside-fuzz") as healthy:

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(STREAMS)
        def check(sent: list[bytes]) -> None:
            exchange(which(shared_broker), sent)
            healthy.check()

        check()
    assert set(shared_broker.workers()) == workers, "a process was restarted"
    faults = [line for line in shared_broker.log_lines() if line["level"] in {"error", "critical"}]
    assert not faults, faults[-1]
