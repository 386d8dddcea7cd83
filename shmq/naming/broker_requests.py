"""What brokers say of themselves, and what administrators say of brokers."""

from collections.abc import Mapping
from typing import Final

from shmq.config.addresses import split_address
from shmq.errors import RequestError
from shmq.naming.absences import Cause
from shmq.naming.kv_config import ORDER_TOPIC_CONFIG
from shmq.naming.naming import Call, Naming
from shmq.naming.registering import Registered, Registration, register
from shmq.naming.routes import BrokerKey, Removal
from shmq.store.host import pack_address
from shmq.wire.bodies import DataVersion, KVTable
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.naming_headers import (
    AddWritePermissionResponseHeader,
    BrokerHeartbeatHeader,
    BrokerMemberGroupHeader,
    QueryDataVersionHeader,
    QueryDataVersionResponseHeader,
    RegisterBrokerHeader,
    RegisterBrokerResponseHeader,
    UnregisterBrokerHeader,
    WipeWritePermissionResponseHeader,
    WritePermissionHeader,
)
from shmq.wire.route_bodies import BrokerMemberGroup
from shmq.wire.topic_bodies import RegisterBrokerBody, TopicConfigSerializeWrapper, body_crc32

ADVERTISED_FIELD: Final = "advertisedListeners"  # ours: `host:port,host:port`


def handle_register_broker(naming: Naming, call: Call) -> Command:
    """Code 103."""
    request = call.request
    header = read_header(RegisterBrokerHeader, request.fields)
    if header.body_crc32 and header.body_crc32 != body_crc32(request.body):
        raise RequestError(ResponseCode.SYSTEM_ERROR, "crc32 not match")
    body = (
        RegisterBrokerBody.from_bytes(request.body)
        if request.body
        else RegisterBrokerBody(TopicConfigSerializeWrapper())
    )
    registration = Registration(
        header=header,
        body=body,
        channel_id=call.channel_id,
        advertised=_read_advertised(naming, header, request.fields),
        delete_absent=naming.settings.delete_topic_with_broker_registration,
        lease_ms=naming.lease_ms,
    )
    registered = register(naming.routes, registration, call.now_ms)
    if registered is None:
        naming.note(
            "warning",
            "registration refused: one topic from a broker that is not here",
            broker=header.broker_name,
            id=header.broker_id,
            address=header.broker_address,
        )
        raise RequestError(ResponseCode.SYSTEM_ERROR, "register broker failed")
    _note_registration(naming, header, registered)
    if registered.min_id_change is not None:
        naming.tell([registered.min_id_change])
    answer = RegisterBrokerResponseHeader(
        ha_address=registered.ha_address, master_address=registered.master_address
    )
    return request.reply(fields=write_header(answer), body=_order_topics(naming))


def handle_unregister_broker(naming: Naming, call: Call) -> Command:
    """Code 104."""
    header = read_header(UnregisterBrokerHeader, call.request.fields)
    removal = Removal(header.cluster_name, header.broker_address, header.broker_name, header.broker_id)
    naming.remove([removal], Cause.UNREGISTERED, call.now_ms)
    return call.request.reply()


def handle_heartbeat(naming: Naming, call: Call) -> Command:
    """Code 904."""
    header = read_header(BrokerHeartbeatHeader, call.request.fields)
    naming.routes.renew(BrokerKey(header.cluster_name, header.broker_address), call.now_ms)
    return call.request.reply()


def handle_query_data_version(naming: Naming, call: Call) -> Command:
    """Code 322."""
    header = read_header(QueryDataVersionHeader, call.request.fields)
    key = BrokerKey(header.cluster_name, header.broker_address)
    known = naming.routes.version_of(key)
    is_changed = known is None or known != DataVersion.from_bytes(call.request.body)
    naming.routes.renew(key, call.now_ms)
    fields = write_header(QueryDataVersionResponseHeader(changed=is_changed))
    return call.request.reply(fields=fields, body=b"" if known is None else known.to_bytes())


def handle_get_member_group(naming: Naming, call: Call) -> Command:
    """Code 901."""
    header = read_header(BrokerMemberGroupHeader, call.request.fields)
    broker = naming.routes.brokers.get(header.broker_name)
    addresses = {} if broker is None else broker.addresses
    group = BrokerMemberGroup(header.cluster_name, header.broker_name, addresses)
    return call.request.reply(body=group.to_bytes())


def handle_wipe_write_permission(naming: Naming, call: Call) -> Command:
    """Code 205."""
    header = read_header(WritePermissionHeader, call.request.fields)
    count = naming.routes.wipe_write_permission(header.broker_name)
    naming.note("info", "write permission taken", broker=header.broker_name, topics=count)
    return call.request.reply(fields=write_header(WipeWritePermissionResponseHeader(topic_count=count)))


def handle_add_write_permission(naming: Naming, call: Call) -> Command:
    """Code 327."""
    header = read_header(WritePermissionHeader, call.request.fields)
    count = naming.routes.add_write_permission(header.broker_name)
    naming.note("info", "write permission given", broker=header.broker_name, topics=count)
    return call.request.reply(fields=write_header(AddWritePermissionResponseHeader(topic_count=count)))


def _read_advertised(
    naming: Naming, header: RegisterBrokerHeader, fields: Mapping[str, str]
) -> dict[bytes, str]:
    """Return the advertised addresses by their IP; the first wins, and names, which have none here, are passed over."""
    advertised: dict[bytes, str] = {}
    for listener in filter(None, fields.get(ADVERTISED_FIELD, "").split(",")):
        try:
            advertised.setdefault(pack_address(split_address(listener)[0]), listener)
        except ValueError as error:
            naming.note(
                "warning",
                "advertised listener ignored",
                broker=header.broker_name,
                listener=listener,
                reason=str(error),
            )
    return advertised


def _note_registration(naming: Naming, header: RegisterBrokerHeader, registered: Registered) -> None:
    who = {"broker": header.broker_name, "id": header.broker_id, "address": header.broker_address}
    if registered.is_ignored:
        naming.note("warning", "registration ignored: another address with this id is ahead", **who)
    elif registered.is_new:
        naming.note("info", "broker registered", cluster=header.cluster_name, **who)


def _order_topics(naming: Naming) -> bytes:
    table = naming.kv.namespace(ORDER_TOPIC_CONFIG)
    if table is None or not naming.settings.return_order_topic_config_to_broker:
        return b""
    return KVTable(table).to_bytes()
