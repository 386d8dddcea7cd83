"""The conductor's documents as RocketMQ writes them: read, and written back."""

from shmq.broker.effects import DocumentName
from shmq.wire import fastjson
from tests.support.small_metadata import NOW_MS, SmallMetadata

VERSION = '"dataVersion":{"counter":7,"stateVersion":0,"timestamp":1699999999999}'
TOPIC = (
    '"TopicTest":{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG",'
    '"topicName":"TopicTest","topicSysFlag":0,"writeQueueNums":8}'
)
GROUP = (
    '"GroupA":{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,'
    '"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"GroupA",'
    '"groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,'
    '"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}'
)
OFFSETS = '"TopicTest@GroupA":{0:5,1:7},"%RETRY%GroupA@GroupA":{0:0}'

SAVED = {
    DocumentName.TOPICS: f'{{{VERSION},"topicConfigTable":{{{TOPIC}}}}}',
    DocumentName.GROUPS: f'{{{VERSION},"forbiddenTable":{{}},"subscriptionGroupTable":{{{GROUP}}}}}',
    DocumentName.CONSUMER_OFFSETS: (
        f'{{{VERSION},"groupTopicMap":{{"GroupA":["TopicTest","%RETRY%GroupA"]}},"offsetTable":{{{OFFSETS}}}}}'
    ),
    DocumentName.DELAY_OFFSETS: f'{{{VERSION},"offsetTable":{{3:12,18:0}}}}',
}


def written(tmp_path, name):
    """What is written after a start with RocketMQ's documents, as text with sorted members."""
    documents = {each: fastjson.loads(text.encode()) for each, text in SAVED.items()}
    return fastjson.dumps(SmallMetadata(tmp_path, documents).state.document(name, NOW_MS)).decode()


def test_topics_are_written_as_they_were_read(tmp_path):
    text = written(tmp_path, DocumentName.TOPICS)
    assert TOPIC in text
    assert VERSION in text


def test_groups_are_written_as_they_were_read(tmp_path):
    text = written(tmp_path, DocumentName.GROUPS)
    assert GROUP in text
    assert text.startswith(f'{{{VERSION},"forbiddenTable":{{}},"subscriptionGroupTable":{{')


def test_offsets_are_written_with_quoted_keys_which_rocketmq_reads_too(tmp_path):
    assert fastjson.loads(written(tmp_path, DocumentName.CONSUMER_OFFSETS).encode()) == {
        "dataVersion": {"counter": 7, "stateVersion": 0, "timestamp": 1699999999999},
        "groupTopicMap": {"GroupA": ["TopicTest", "%RETRY%GroupA"]},
        "offsetTable": {"TopicTest@GroupA": {"0": 5, "1": 7}, "%RETRY%GroupA@GroupA": {"0": 0}},
    }


def test_delay_offsets_are_written_as_they_were_read_but_for_zeros(tmp_path):
    assert written(tmp_path, DocumentName.DELAY_OFFSETS) == f'{{{VERSION},"offsetTable":{{"3":12}}}}'
