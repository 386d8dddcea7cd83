from shmq.wire.bodies import (
    ConsumerList,
    DataVersion,
    KVTable,
    LockBatchRequest,
    LockBatchResponse,
    MessageQueue,
    TopicList,
)


def test_a_lock_request_is_read_and_written():
    body = (
        b'{"clientId":"c","consumerGroup":"G","mqSet":[{"brokerName":"b","queueId":3,"topic":"T"}],'
        b'"onlyThisBroker":true}'
    )
    request = LockBatchRequest("G", "c", (MessageQueue("T", "b", 3),), only_this_broker=True)
    assert LockBatchRequest.from_bytes(body) == request
    assert request.to_bytes() == body


def test_a_lock_request_without_its_flag_asks_all_brokers():
    assert not LockBatchRequest.from_bytes(
        b'{"clientId":"c","consumerGroup":"G","mqSet":[]}'
    ).only_this_broker


def test_an_answer_without_queues_is_an_empty_set():
    assert LockBatchResponse.from_bytes(b"{}").queues == ()
    assert LockBatchResponse(()).to_bytes() == b'{"lockOKMQSet":[]}'


def test_a_consumer_list_is_read_and_written():
    consumers = ConsumerList(("a", "b"))
    assert consumers.to_bytes() == b'{"consumerIdList":["a","b"]}'
    assert ConsumerList.from_bytes(consumers.to_bytes()) == consumers


def test_a_topic_list_names_a_broker_only_where_there_is_one():
    assert TopicList(("T",)).to_bytes() == b'{"topicList":["T"]}'
    topics = TopicList(("T",), "h:1")
    assert topics.to_bytes() == b'{"brokerAddr":"h:1","topicList":["T"]}'
    assert TopicList.from_bytes(topics.to_bytes()) == topics


def test_a_table_is_read_and_written():
    table = KVTable({"b": "1", "a": "x"})
    assert table.to_bytes() == b'{"table":{"a":"x","b":"1"}}'
    assert KVTable.from_bytes(b'{"table":{"a":"x","b":1}}') == table
    assert KVTable.from_bytes(b"{}") == KVTable()


def test_a_version_counts_changes():
    version = DataVersion(4, 1, 1000).next(2000)
    assert version == DataVersion(5, 1, 2000)
    assert version.to_bytes() == b'{"counter":5,"stateVersion":1,"timestamp":2000}'
    assert DataVersion.from_bytes(version.to_bytes()) == version
