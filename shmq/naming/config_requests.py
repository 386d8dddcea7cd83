"""The key-value configuration and the name server's own settings, as administrators ask for and change them."""

from shmq.errors import RequestError
from shmq.naming.naming import Call, Naming
from shmq.wire.bodies import KVTable
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.naming_headers import (
    GetKVConfigResponseHeader,
    KVConfigHeader,
    KVNamespaceHeader,
    PutKVConfigHeader,
)


def handle_put_kv_config(naming: Naming, call: Call) -> Command:
    """Code 100."""
    header = read_header(PutKVConfigHeader, call.request.fields)
    naming.kv.put(header.namespace, header.key, header.value)
    naming.note("info", "configuration put", namespace=header.namespace, key=header.key, value=header.value)
    return call.request.reply()


def handle_get_kv_config(naming: Naming, call: Call) -> Command:
    """Code 101."""
    header = read_header(KVConfigHeader, call.request.fields)
    value = naming.kv.get(header.namespace, header.key)
    if value is None:
        remark = f"No config item, Namespace: {header.namespace} Key: {header.key}"
        raise RequestError(ResponseCode.QUERY_NOT_FOUND, remark)
    return call.request.reply(fields=write_header(GetKVConfigResponseHeader(value=value)))


def handle_delete_kv_config(naming: Naming, call: Call) -> Command:
    """Code 102."""
    header = read_header(KVConfigHeader, call.request.fields)
    naming.kv.delete(header.namespace, header.key)
    naming.note("info", "configuration deleted", namespace=header.namespace, key=header.key)
    return call.request.reply()


def handle_get_kv_list(naming: Naming, call: Call) -> Command:
    """Code 219."""
    header = read_header(KVNamespaceHeader, call.request.fields)
    table = naming.kv.namespace(header.namespace)
    if table is None:
        remark = f"No config item, Namespace: {header.namespace}"
        raise RequestError(ResponseCode.QUERY_NOT_FOUND, remark)
    return call.request.reply(body=KVTable(table).to_bytes())


def handle_update_settings(naming: Naming, call: Call) -> Command:
    """Code 318."""
    keys = naming.settings.update(bytes(call.request.body).decode("utf-8", "replace"))
    naming.note("info", "settings changed", keys=list(keys))
    return call.request.reply()


def handle_get_settings(naming: Naming, call: Call) -> Command:
    """Code 319."""
    return call.request.reply(body=naming.settings.render())
