"""Updates and questions on their way between the conductor and a worker."""

import orjson
import pytest

from shmq.broker.questions import (
    GroupQuestion,
    LocksQuestion,
    OffsetQuestion,
    RetryTopicQuestion,
    TopicQuestion,
    ask_group,
    ask_locks,
    ask_offset,
    ask_retry_topic,
    ask_topic,
    parse_question,
)
from shmq.broker.updates import (
    FilterUpdate,
    GroupUpdate,
    PopFreedUpdate,
    SubscriptionUpdate,
    TopicUpdate,
    decode,
    encode,
)
from shmq.wire.heartbeat_bodies import ConsumeType, MessageModel, SubscriptionData
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig

TOPIC = TopicConfig("Тема", 3, 4, 5, "MULTI_TAG", 2, order=True, attributes={"message.type": "FIFO"})
GROUP = SubscriptionGroupConfig("g", retry_queue_count=3, retry_policy={"type": "EXPONENTIAL"})


@pytest.mark.parametrize(
    "update",
    [
        TopicUpdate("Тема", 7, TOPIC, (0, 9, 4, 2)),
        TopicUpdate("T", 7, None, ()),
        GroupUpdate("g", 1, GROUP),
        GroupUpdate("g", 1, GROUP, ("T", "U")),
        GroupUpdate("g", 1, None),
        PopFreedUpdate("g", "T"),
        SubscriptionUpdate(
            "g",
            MessageModel.BROADCASTING,
            ConsumeType.CONSUME_ACTIVELY,
            (SubscriptionData.from_tags("T", "a || b", 5), SubscriptionData("U", version=-1)),
        ),
        SubscriptionUpdate("g", MessageModel.CLUSTERING, ConsumeType.CONSUME_POP, ()),
        FilterUpdate("T", "g", "a > 5 AND b = 'ä'", 7),
        FilterUpdate("T", "g", None, 7),
        FilterUpdate("T", "g", "a > 5", 7, live_from=1 << 40, generation=3),
        SubscriptionUpdate("g", MessageModel.CLUSTERING, ConsumeType.CONSUME_PASSIVELY, None),
    ],
)
def test_an_update_arrives_as_it_was_sent(update):
    assert decode(encode(update)) == update


@pytest.mark.parametrize(
    ("asked", "parsed"),
    [
        (ask_topic("T", "TBW102", 4, 1), TopicQuestion("T", "TBW102", 4, 1)),
        (ask_retry_topic("%DLQ%g"), RetryTopicQuestion("%DLQ%g", 1, 0)),
        (ask_group("g"), GroupQuestion("g")),
        (ask_offset("g", "T", 2, 9), OffsetQuestion("g", "T", 2, 9)),
        (ask_locks("g"), LocksQuestion("g")),
    ],
)
def test_a_question_arrives_as_it_was_asked(asked, parsed):
    assert parse_question(orjson.loads(orjson.dumps(asked))) == parsed
