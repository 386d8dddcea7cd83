"""A consumer as the broker and its group see it: heartbeats, members, locks, offsets; it does nothing by itself."""

from collections.abc import Sequence

from shmq.wire.bodies import ConsumerList, LockBatchRequest, LockBatchResponse, MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.heartbeat_bodies import EXPRESSION_TAG, ConsumerData, HeartbeatData, SubscriptionData
from shmq.wire.members import read_object
from tests.support.remote import TIMEOUT_S, Remote, pull_request


class Member(Remote):
    """A connection whose client may join consumer groups."""

    def __init__(self, address: str, client_id: str = "member", timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(address, timeout_s)
        self.client_id = client_id

    @property
    def local_port(self) -> int:
        """The port by which the broker's side of the connection is found."""
        port: int = self.socket.getsockname()[1]
        return port

    def join(
        self, group: str, topic: str, expression: str = "*", version: int = 1, *, kind: str = EXPRESSION_TAG
    ) -> Command:
        """HEART_BEAT of a client with one group that subscribes to one topic."""
        subscription = SubscriptionData.from_tags(topic, expression, version)
        if kind != EXPRESSION_TAG:
            subscription = SubscriptionData(topic, expression, version=version, expression_type=kind)
        beat = HeartbeatData(self.client_id, consumers=(ConsumerData(group, subscriptions=(subscription,)),))
        return self.call(Command(RequestCode.HEART_BEAT, body=beat.to_bytes()))

    def leave(self, group: str) -> Command:
        """UNREGISTER_CLIENT."""
        fields = {"clientID": self.client_id, "consumerGroup": group}
        return self.call(Command(RequestCode.UNREGISTER_CLIENT, fields=fields))

    def members(self, group: str) -> set[str]:
        """GET_CONSUMER_LIST_BY_GROUP; an unknown group has none."""
        fields = {"consumerGroup": group}
        answer = self.call(Command(RequestCode.GET_CONSUMER_LIST_BY_GROUP, fields=fields))
        return set(ConsumerList.from_bytes(answer.body).client_ids) if answer.code == 0 else set()

    def producers(self, group: str) -> set[str]:
        """GET_PRODUCER_CONNECTION_LIST: the ids of a group's clients; an unknown group has none."""
        fields = {"producerGroup": group}
        answer = self.call(Command(RequestCode.GET_PRODUCER_CONNECTION_LIST, fields=fields))
        connections = read_object(answer.body)["connectionSet"] if answer.code == 0 else []
        return {each["clientId"] for each in connections}

    def wait_members_changed(self, group: str) -> None:
        """Wait for a NOTIFY_CONSUMER_IDS_CHANGED of that group."""
        while True:
            pushed = self.wait_pushed()
            assert pushed.code == RequestCode.NOTIFY_CONSUMER_IDS_CHANGED
            assert pushed.is_oneway
            if pushed.fields["consumerGroup"] == group:
                return

    def lock(self, group: str, queues: Sequence[MessageQueue]) -> set[MessageQueue]:
        """LOCK_BATCH_MQ; return which of the queues are this client's now."""
        wanted = LockBatchRequest(group, self.client_id, tuple(queues)).to_bytes()
        answer = self.call(Command(RequestCode.LOCK_BATCH_MQ, body=wanted))
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        return set(LockBatchResponse.from_bytes(answer.body).queues)

    def unlock(self, group: str, queues: Sequence[MessageQueue]) -> None:
        """UNLOCK_BATCH_MQ."""
        given = LockBatchRequest(group, self.client_id, tuple(queues)).to_bytes()
        answer = self.call(Command(RequestCode.UNLOCK_BATCH_MQ, body=given))
        assert answer.code == ResponseCode.SUCCESS, answer.remark

    def commit_offset(self, group: str, topic: str, queue_id: int, offset: int) -> Command:
        """UPDATE_CONSUMER_OFFSET."""
        fields = {
            "consumerGroup": group,
            "topic": topic,
            "queueId": str(queue_id),
            "commitOffset": str(offset),
        }
        return self.call(Command(RequestCode.UPDATE_CONSUMER_OFFSET, fields=fields))

    def query_offset(self, group: str, topic: str, queue_id: int) -> int | None:
        """QUERY_CONSUMER_OFFSET; None where the group has none there."""
        fields = {
            "consumerGroup": group,
            "topic": topic,
            "queueId": str(queue_id),
            "setZeroIfNotFound": "false",
        }
        answer = self.call(Command(RequestCode.QUERY_CONSUMER_OFFSET, fields=fields))
        if answer.code == ResponseCode.QUERY_NOT_FOUND:
            return None
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        return int(answer.fields["offset"])

    def pull_as(self, group: str, topic: str, offset: int, *, version: int = 1, queue_id: int = 0) -> Command:
        """PULL_MESSAGE that relies on the subscription of the group's heartbeats."""
        request = pull_request(topic, queue_id, offset)
        del request.fields["subscription"]
        request.fields |= {"consumerGroup": group, "sysFlag": "0", "subVersion": str(version)}
        return self.call(request)
