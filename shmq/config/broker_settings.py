"""The settings that say what the broker is to others: its name, its addresses, what it grants, when it forgets.

Grouped by what an operator has in mind; `shmq.config.settings.Config` joins the groups.
"""

import re
import socket
from dataclasses import dataclass
from typing import Final

from shmq.config.setting import (
    OFF,
    address,
    address_or_off,
    addresses,
    between,
    duration,
    host_or_address,
    one_of,
    quantity,
    satisfying,
    setting,
)
from shmq.config.units import INT32_MAX, KIB

NAMESRV_LISTEN_DEFAULT: Final = "127.0.0.1:9876"
QUEUE_ENTRY_BYTES: Final = 20

_NAME: Final = satisfying(
    "1 to 127 visible ASCII characters without blank, / or ;",
    lambda value: re.fullmatch(r"[!-.0-:<-~]{1,127}", value) is not None,
)
_DELAY_LEVELS: Final = satisfying(
    "durations such as 1s, 5m, 2h or 1d, parted by one blank",
    lambda value: re.fullmatch(r"[1-9]\d{0,8}[smhd]( [1-9]\d{0,8}[smhd])*", value, re.ASCII) is not None,
)


@dataclass(frozen=True, kw_only=True)
class AddressSettings:
    """Who the broker is, and where it listens."""

    broker_name: str = setting(
        socket.gethostname,
        "Name of the broker; also names its shared memory, so two brokers of one host need two names.",
        java="brokerName",
        allowed=_NAME,
        shown="the host name",
    )
    cluster_name: str = setting(
        "DefaultCluster",
        "Name of the cluster that the broker registers in.",
        java="brokerClusterName",
        allowed=_NAME,
    )
    broker_id: int = setting(
        0, "0 for a master, a positive number for a slave.", java="brokerId", allowed=between(0, 2**63 - 1)
    )
    broker_role: str = setting(
        "ASYNC_MASTER",
        "What the broker is to its replicas. SLAVE is refused: replication is not built yet.",
        java="brokerRole",
        allowed=one_of("ASYNC_MASTER", "SYNC_MASTER", "SLAVE"),
    )
    listen: str = setting(
        "127.0.0.1:10911",
        "Address for clients; 0.0.0.0 means every interface. Java's listenPort sets the port alone, its "
        "bindAddress the host alone.",
        java="listenPort bindAddress",
        allowed=address(),
    )
    vip_listen_enable: bool = setting(
        True, "Also listen on the VIP channel, two ports below `listen`, as RocketMQ does."
    )
    namesrv_listen: str = setting(
        "",
        "Address of the embedded name server, or off.",
        allowed=address_or_off(),
        shown=f"{NAMESRV_LISTEN_DEFAULT}, or off where namesrv_addresses is given",
    )
    namesrv_addresses: tuple[str, ...] = setting(
        (),
        "Outside name servers to register at, parted by `;`, instead of the embedded one.",
        java="namesrvAddr",
        allowed=addresses(";"),
    )
    console_listen: str = setting(
        OFF,
        "Address of the HTTP console with its metrics and health pages, or off.",
        allowed=address_or_off(),
    )
    advertised_address: str = setting(
        "",
        "Host, or HOST:PORT, that clients are told to dial; set it where `listen` cannot be dialled from outside "
        "(containers, NAT). Empty: the host of `listen`, or the first outside IPv4 address where that is a wildcard.",
        java="brokerIP1",
        allowed=host_or_address(),
    )
    advertised_listeners: tuple[str, ...] = setting(
        (),
        "Further addresses that clients may dial, parted by `,`; a client is told the one on the interface it came "
        "in on.",
        allowed=addresses(","),
    )


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What clients may do, and how messages go out."""

    auto_create_topic_enable: bool = setting(
        True,
        "A send to an unknown topic creates it. Production usually wants false.",
        java="autoCreateTopicEnable",
    )
    default_topic_queue_nums: int = setting(
        8,
        "Most queues that an automatically created topic gets.",
        java="defaultTopicQueueNums",
        allowed=quantity(),
    )
    auto_create_group_enable: bool = setting(
        True,
        "An unknown consumer group is created when it is first seen.",
        java="autoCreateSubscriptionGroup",
    )
    cluster_topic_enable: bool = setting(
        True, "Keep a topic named after the cluster, readable and writable.", java="clusterTopicEnable"
    )
    broker_topic_enable: bool = setting(
        True, "Keep a topic named after the broker, readable and writable.", java="brokerTopicEnable"
    )
    broker_permission: int = setting(
        6,
        "What the whole broker allows: 4 read, 2 write, 6 both.",
        java="brokerPermission",
        allowed=between(0, 7),
    )
    trace_topic_enable: bool = setting(False, "Create the topic for message traces.", java="traceTopicEnable")
    trace_topic_name: str = setting(
        "RMQ_SYS_TRACE_TOPIC",
        "Name of the topic for message traces.",
        java="msgTraceTopicName",
        allowed=_NAME,
    )
    reject_transaction_message: bool = setting(
        False, "Refuse transactional messages.", java="rejectTransactionMessage"
    )
    message_delay_levels: str = setting(
        "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
        "Delay of each level, level 1 first.",
        java="messageDelayLevel",
        allowed=_DELAY_LEVELS,
    )
    long_polling_enable: bool = setting(
        True, "A pull that finds nothing waits for as long as the client asks.", java="longPollingEnable"
    )
    short_polling_ms: int = setting(
        1000, "How long it waits where long polling is off.", java="shortPollingTimeMills", allowed=duration()
    )
    pull_hold_check_ms: int = setting(
        5000,
        "How often waiting pulls are looked at again though nobody woke them: a safety net.",
        allowed=duration(),
    )
    transfer_bytes_in_memory_max: int = setting(
        256 * KIB,
        "Most bytes in one answer to a pull of recent messages, which are in memory.",
        java="maxTransferBytesOnMessageInMemory",
        allowed=quantity(),
    )
    transfer_count_in_memory_max: int = setting(
        32,
        "Most messages in one answer to a pull of recent messages.",
        java="maxTransferCountOnMessageInMemory",
        allowed=quantity(),
    )
    transfer_bytes_on_disk_max: int = setting(
        64 * KIB,
        "Most bytes in one answer to a pull of old messages, which must come from the disk.",
        java="maxTransferBytesOnMessageInDisk",
        allowed=quantity(),
    )
    transfer_count_on_disk_max: int = setting(
        8,
        "Most messages in one answer to a pull of old messages.",
        java="maxTransferCountOnMessageInDisk",
        allowed=quantity(),
    )
    in_memory_ratio_percent: int = setting(
        40,
        "Messages count as in memory while they lie within this share of the machine's memory from the log's end.",
        java="accessMessageInMemoryMaxRatio",
        allowed=between(0, 100),
    )
    filter_scan_bytes_max: int = setting(
        16_000,
        "Most bytes of consume queue that one pull looks through for messages that match its filter.",
        java="maxFilterMessageSize",
        allowed=between(QUEUE_ENTRY_BYTES, INT32_MAX),
    )


@dataclass(frozen=True, kw_only=True)
class UpkeepSettings:
    """What is saved, announced and forgotten, and when."""

    consumer_offset_flush_interval_ms: int = setting(
        5000,
        "How often consumer offsets are saved; once a minute while no client is there.",
        java="flushConsumerOffsetInterval",
        allowed=duration(),
    )
    delay_offset_flush_interval_ms: int = setting(
        10_000, "How often delay offsets are saved.", java="flushDelayOffsetInterval", allowed=duration()
    )
    register_namesrv_interval_ms: int = setting(
        30_000, "How often the broker announces itself.", java="registerNameServerPeriod", allowed=duration()
    )
    register_namesrv_timeout_ms: int = setting(
        24_000,
        "How long a name server may take to answer.",
        java="registerBrokerTimeoutMills",
        allowed=duration(),
    )
    channel_expiry_ms: int = setting(
        120_000,
        "A client that has sent no heartbeat for this long is forgotten.",
        java="channelExpiredTimeout",
        allowed=duration(),
    )
    connection_idle_ms: int = setting(
        120_000,
        "A connection on which nothing has moved for this long is closed.",
        java="serverChannelMaxIdleTimeSeconds",
        allowed=duration(),
    )
    namesrv_scan_interval_ms: int = setting(
        5000,
        "How often the name server looks for silent brokers.",
        java="scanNotActiveBrokerInterval",
        allowed=duration(),
    )
    namesrv_broker_expiry_ms: int = setting(
        120_000, "A broker silent for this long loses its routes.", allowed=duration()
    )
    namesrv_kv_path: str = setting(
        "",
        "File of the embedded name server's key-value configuration. Empty: none is kept on disk.",
        java="kvConfigPath",
    )
