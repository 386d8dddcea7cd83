"""Administering the broker: who is connected to it, how it is set up, and how it fares."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from shmq.broker.clients import Client
from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.config.addresses import split_address
from shmq.config.setting import setting_of
from shmq.config.settings import Config
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.admin_headers import BrokerConfigResponseHeader, ConsumerGroupHeader, ProducerGroupHeader
from shmq.wire.bodies import DataVersion, KVTable
from shmq.wire.codes import VERSION, VERSION_NAME, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header

_SECOND_MS: Final = 1000


def handle_consumer_connections(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """203: who is online in a consumer group, and what the group subscribes to."""
    name = read_header(ConsumerGroupHeader, request.fields).consumer_group
    group = state.clients.consumers.get(name)
    if group is None:
        raise RequestError(ResponseCode.CONSUMER_NOT_ONLINE, f"the consumer group[{name}] not online")
    body = {
        "connectionSet": _connections(group.clients.values()),
        "consumeFromWhere": group.consume_from_where.name,
        "consumeType": group.consume_type.name,
        "messageModel": group.message_model.name,
        "subscriptionTable": {topic: each.to_json() for topic, each in group.subscriptions.items()},
    }
    return Reply(request.reply(body=fastjson.dumps(body)))


def handle_producer_connections(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """204: who is online in a producer group."""
    name = read_header(ProducerGroupHeader, request.fields).producer_group
    clients = state.clients.producers.get(name)
    if clients is None:
        raise RequestError(ResponseCode.SYSTEM_ERROR, f"the producer group[{name}] not exist")
    return Reply(request.reply(body=fastjson.dumps({"connectionSet": _connections(clients.values())})))


def handle_all_producers(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """328: who is online in each producer group."""
    table = {
        name: [
            {
                "clientId": client.client_id,
                "language": client.language.name,
                "lastUpdateTimestamp": client.seen_ms,
                "remoteIP": f"/{client.address}",  # so Java writes an address
                "version": client.version,
            }
            for client in clients.values()
        ]
        for name, clients in state.clients.producers.items()
    }
    return Reply(request.reply(body=fastjson.dumps({"data": table})))


def handle_get_config(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """26: the settings, under RocketMQ's names where it has any."""
    lines = "".join(f"{key}={value}\n" for key, value in sorted(_describe(state.settings).items()))
    version = DataVersion(timestamp_ms=state.boot_ms).to_bytes().decode()
    header = write_header(BrokerConfigResponseHeader(version=version))
    return Reply(request.reply(fields=header, body=lines.encode()))


def handle_runtime_info(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """28: how the broker fares. What is not measured is left out: an absent number is better than a wrong one."""
    table = {
        "bootTimestamp": str(state.boot_ms),
        "brokerActive": "true",
        "brokerVersion": str(VERSION),
        "brokerVersionDesc": VERSION_NAME,
        "runtime": _runtime(now_ms - state.boot_ms),
        **state.delays.describe(),
        **state.timer_report.describe(),
        **state.measure(),
    }
    return Reply(request.reply(body=KVTable(table).to_bytes()))


def _connections(clients: Iterable[Client]) -> list[dict[str, Any]]:
    return [
        {
            "clientAddr": client.address,
            "clientId": client.client_id,
            "language": client.language.name,
            "version": client.version,
        }
        for client in clients
    ]


def _describe(settings: Config) -> dict[str, str]:
    described: dict[str, str] = {}
    for declared in fields(settings):
        value = getattr(settings, declared.name)
        for key in setting_of(declared).java or (declared.name,):
            in_seconds = key.endswith(("Seconds", "Sec"))
            described[key] = _to_text(value // _SECOND_MS if in_seconds else value)
    described["listenPort"] = str(settings.listen_port)
    described["bindAddress"] = settings.listen_host
    described["brokerIP1"] = split_address(settings.effective_advertised_address())[0]
    return described


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(str(each) for each in value)
    return str(value)


def _runtime(passed_ms: int) -> str:
    """Return a time span in Java's words."""
    minutes, seconds = divmod(passed_ms // _SECOND_MS, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]"
