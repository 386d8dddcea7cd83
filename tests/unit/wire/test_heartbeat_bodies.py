import pytest

from shmq.errors import RequestError
from shmq.wire.heartbeat_bodies import (
    CheckClientRequest,
    ConsumerData,
    ConsumeType,
    HeartbeatData,
    MessageModel,
    SubscriptionData,
    tag_hash,
)


@pytest.mark.parametrize(
    ("tag", "hashed"),
    [
        ("", 0),
        ("TagA", 2598919),
        ("TagB", 2598920),
        ("polygenelubricants", -(2**31)),
        ("\u00e9", 233),
        ("\U0001f600", 1772899),
    ],
)
def test_a_tags_hash_is_that_of_java(tag, hashed):
    assert tag_hash(tag) == hashed


@pytest.mark.parametrize("expression", [None, "", "*"])
def test_no_expression_subscribes_to_all(expression):
    assert SubscriptionData.from_tags("T", expression, 5) == SubscriptionData("T", "*", version=5)


def test_tags_are_trimmed_and_empty_ones_skipped():
    subscription = SubscriptionData.from_tags("T", " TagA ||  || TagB")
    assert subscription.tags == {"TagA", "TagB"}
    assert subscription.tag_hashes == {2598919, 2598920}
    assert subscription.expression == " TagA ||  || TagB"


def test_null_sets_are_empty():
    body = b'{"clientID":"c","consumerDataSet":[{"groupName":"G","subscriptionDataSet":[{"topic":"T","subString":"*","tagsSet":null,"codeSet":null,"expressionType":""}]}],"producerDataSet":null}'
    heartbeat = HeartbeatData.from_bytes(body)
    assert heartbeat.producer_groups == ()
    assert heartbeat.consumers == (ConsumerData("G", subscriptions=(SubscriptionData("T"),)),)


def test_a_short_heartbeat_has_no_subscriptions():
    body = b'{"clientID":"c","consumerDataSet":[{"groupName":"G","consumeType":"CONSUME_POP","messageModel":"BROADCASTING","subscriptionDataSet":[]}],"heartbeatFingerprint":-7,"withoutSub":true}'
    heartbeat = HeartbeatData.from_bytes(body)
    assert heartbeat.without_subscriptions
    assert heartbeat.fingerprint == -7
    assert heartbeat.consumers[0].consume_type is ConsumeType.CONSUME_POP
    assert heartbeat.consumers[0].message_model is MessageModel.BROADCASTING


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"consumerDataSet":{}}', b'{"consumerDataSet":[5]}', b'{"clientID":[]}']
)
def test_a_body_that_is_no_heartbeat_is_refused(body):
    with pytest.raises(RequestError):
        HeartbeatData.from_bytes(body)


def test_a_subscription_check_is_read_and_written():
    check = CheckClientRequest("c", "G", SubscriptionData("T", "a > 1", expression_type="SQL92"), "ns")
    assert CheckClientRequest.from_bytes(check.to_bytes()) == check
    assert b"namespace" not in CheckClientRequest("c", "G", SubscriptionData("T")).to_bytes()
