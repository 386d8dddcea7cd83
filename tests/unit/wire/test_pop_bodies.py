import pytest

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.pop_bodies import BatchAckBody


def test_long_names_mean_what_short_ones_do():
    short = b'{"acks":[{"b":"CQI=","c":"CG","it":60000,"pt":1700,"q":1,"r":"1","rq":2,"so":10,"t":"T"}],"brokerName":"b"}'
    long = (
        b'{"acks":[{"bitSet":"CQI=","consumerGroup":"CG","invisibleTime":60000,"popTime":1700,"queueId":1,'
        b'"retry":"1","reviveQueueId":2,"startOffset":10,"topic":"T"}],"brokerName":"b"}'
    )
    assert BatchAckBody.from_bytes(long) == BatchAckBody.from_bytes(short)
    assert BatchAckBody.from_bytes(short).acks[0].offsets == (10, 13, 19)


def test_a_body_without_acknowledgements_has_none():
    assert BatchAckBody.from_bytes(b"{}").acks == ()
    assert BatchAckBody.from_bytes(b'{"acks":[{}]}').acks[0].offsets == ()


@pytest.mark.parametrize("bits", ["!", "CQI", "\u00e9"])
def test_bits_that_are_not_base64_are_refused(bits):
    with pytest.raises(RequestError):
        BatchAckBody.from_bytes(fastjson.dumps({"acks": [{"b": bits}]}))
