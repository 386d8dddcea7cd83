"""Headers of what is asked of a name server: by brokers, clients and administrators."""

from shmq.wire.fields import boolean, header, int32, int64, text


@header
class RegisterBrokerHeader:
    """Code 103. body_crc32 of 0 is not checked; compressed is not to be relied on."""

    broker_name: str = text("brokerName")
    broker_address: str = text("brokerAddr")
    cluster_name: str = text("clusterName")
    ha_address: str = text("haServerAddr")
    broker_id: int = int64("brokerId")
    heartbeat_timeout_ms: int | None = int64("heartbeatTimeoutMillis", default=None)
    enable_acting_master: bool | None = boolean("enableActingMaster", default=None)
    compressed: bool = boolean("compressed", default=False)
    body_crc32: int = int32("bodyCrc32", default=0)
    zone_name: str | None = text("__ZONE_NAME", default=None)


@header
class RegisterBrokerResponseHeader:
    """Where a slave finds its master; empty while no master is known."""

    ha_address: str | None = text("haServerAddr", default=None)
    master_address: str | None = text("masterAddr", default=None)


@header
class UnregisterBrokerHeader:
    """Code 104."""

    broker_name: str = text("brokerName")
    broker_address: str = text("brokerAddr")
    cluster_name: str = text("clusterName")
    broker_id: int = int64("brokerId")


@header
class GetRouteHeader:
    """Code 105."""

    topic: str = text("topic")
    standard_json_only: bool = boolean("acceptStandardJsonOnly", default=False)


@header
class RegisterTopicHeader:
    """Code 217."""

    topic: str = text("topic")


@header
class DeleteTopicFromNamesrvHeader:
    """Code 216: forget a topic, of one cluster's brokers if one is named."""

    topic: str = text("topic")
    cluster_name: str | None = text("clusterName", default=None)


@header
class QueryDataVersionHeader:
    """Code 322: is this broker's version of its topics the one you know."""

    broker_name: str = text("brokerName")
    broker_address: str = text("brokerAddr")
    cluster_name: str = text("clusterName")
    broker_id: int = int64("brokerId")


@header
class QueryDataVersionResponseHeader:
    """Whether the name server wants the topics again."""

    changed: bool = boolean("changed")


@header
class BrokerHeartbeatHeader:
    """Code 904: this broker is alive. What follows the name is for controllers."""

    cluster_name: str = text("clusterName")
    broker_address: str = text("brokerAddr")
    broker_name: str = text("brokerName")
    broker_id: int | None = int64("brokerId", default=None)
    epoch: int | None = int32("epoch", default=None)
    max_position: int | None = int64("maxOffset", default=None)
    confirm_position: int | None = int64("confirmOffset", default=None)
    heartbeat_timeout_ms: int | None = int64("heartbeatTimeoutMills", default=None)
    election_priority: int | None = int32("electionPriority", default=None)


@header
class BrokerMemberGroupHeader:
    """Code 901."""

    cluster_name: str = text("clusterName")
    broker_name: str = text("brokerName")


@header
class WritePermissionHeader:
    """Codes 205 and 327: take the right to write from all topics of a broker, or give it."""

    broker_name: str = text("brokerName")


@header
class WipeWritePermissionResponseHeader:
    """The answer to 205."""

    topic_count: int = int32("wipeTopicCount")


@header
class AddWritePermissionResponseHeader:
    """The answer to 327."""

    topic_count: int = int32("addTopicCount")


@header
class TopicsByClusterHeader:
    """Code 224."""

    cluster: str = text("cluster")


@header
class PutKVConfigHeader:
    """Code 100."""

    namespace: str = text("namespace")
    key: str = text("key")
    value: str = text("value")


@header
class KVConfigHeader:
    """Codes 101 and 102."""

    namespace: str = text("namespace")
    key: str = text("key")


@header
class GetKVConfigResponseHeader:
    """The answer to 101."""

    value: str | None = text("value", default=None)


@header
class KVNamespaceHeader:
    """Code 219."""

    namespace: str = text("namespace")


@header
class MinBrokerIdChangedHeader:
    """Code 905, to brokers: who has the smallest id of the group now."""

    min_broker_id: int | None = int64("minBrokerId", default=None)
    broker_name: str | None = text("brokerName", default=None)
    min_broker_address: str | None = text("minBrokerAddr", default=None)
    offline_broker_address: str | None = text("offlineBrokerAddr", default=None)
    ha_broker_address: str | None = text("haBrokerAddr", default=None)
