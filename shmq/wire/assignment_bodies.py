"""Bodies of assignment by the broker: which queues a consumer gets, and how it asks for their messages."""

from dataclasses import dataclass
from enum import StrEnum

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.codes import ResponseCode
from shmq.wire.heartbeat_bodies import MessageModel
from shmq.wire.members import Object, enum_of, integer_of, read_object, text_of


class RequestMode(StrEnum):
    """How a consumer asks for messages."""

    PULL = "PULL"
    POP = "POP"


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """Body of 401: how a group asks for the messages of a topic.

    share_count says with how many members each shares its queues, 0 or less with all.
    """

    topic: str
    consumer_group: str
    mode: RequestMode
    share_count: int

    @classmethod
    def from_json(cls, source: Object) -> "ModeSetting":
        """Return the setting that a JSON object is."""
        written = text_of(source, "mode", RequestMode.PULL)
        try:
            mode = RequestMode(written)
        except ValueError as error:
            raise RequestError(ResponseCode.INVALID_PARAMETER, f"no mode is {written[:64]!r}") from error
        return cls(
            topic=text_of(source, "topic"),
            consumer_group=text_of(source, "consumerGroup"),
            mode=mode,
            share_count=integer_of(source, "popShareQueueNum"),
        )

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ModeSetting":
        """Return the setting that a body holds."""
        return cls.from_json(read_object(body))

    def to_json(self) -> Object:
        """Return the setting as a JSON object."""
        return {
            "consumerGroup": self.consumer_group,
            "mode": self.mode.value,
            "popShareQueueNum": self.share_count,
            "topic": self.topic,
        }


@dataclass(frozen=True, slots=True)
class AssignmentQuery:
    """Body of 400."""

    topic: str
    consumer_group: str
    client_id: str
    strategy: str
    message_model: MessageModel

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "AssignmentQuery":
        """Return the query that a body holds."""
        source = read_object(body)
        return cls(
            topic=text_of(source, "topic"),
            consumer_group=text_of(source, "consumerGroup"),
            client_id=text_of(source, "clientId"),
            strategy=text_of(source, "strategyName"),
            message_model=enum_of(source, "messageModel", MessageModel.CLUSTERING),
        )


def assignment_body(topic: str, broker_name: str, queue_ids: list[int] | None, mode: RequestMode) -> bytes:
    """Return the body of the answer to 400; without a list the client keeps what it has."""
    if queue_ids is None:
        return fastjson.dumps({})
    return fastjson.dumps(
        {
            "messageQueueAssignments": [
                {
                    "messageQueue": {"brokerName": broker_name, "queueId": queue_id, "topic": topic},
                    "mode": mode.value,
                }
                for queue_id in queue_ids
            ]
        }
    )
