import pytest

from shmq.errors import RequestError
from shmq.naming.kv_config import KVConfig
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.broker_registrations import NameServer


def put(server: NameServer, namespace: str, key: str, value: str) -> None:
    answer = server.ask(RequestCode.PUT_KV_CONFIG, namespace=namespace, key=key, value=value)
    assert answer.code == ResponseCode.SUCCESS


def test_what_is_put_can_be_got_listed_and_deleted() -> None:
    server = NameServer()
    put(server, "N", "k", "v")
    put(server, "N", "l", "ü")
    assert server.ask(RequestCode.GET_KV_CONFIG, namespace="N", key="k").fields == {"value": "v"}
    listed = server.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, namespace="N").body
    assert listed == '{"table":{"k":"v","l":"ü"}}'.encode()
    assert server.ask(RequestCode.DELETE_KV_CONFIG, namespace="N", key="k").code == ResponseCode.SUCCESS
    answer = server.ask(RequestCode.GET_KV_CONFIG, namespace="N", key="k")
    assert (answer.code, answer.remark) == (
        ResponseCode.QUERY_NOT_FOUND,
        "No config item, Namespace: N Key: k",
    )


def test_a_namespace_outlives_its_keys() -> None:
    server = NameServer()
    answer = server.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, namespace="N")
    assert (answer.code, answer.remark) == (ResponseCode.QUERY_NOT_FOUND, "No config item, Namespace: N")
    put(server, "N", "k", "v")
    server.ask(RequestCode.DELETE_KV_CONFIG, namespace="N", key="k")
    assert server.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, namespace="N").body == b'{"table":{}}'


def test_the_document_is_rocketmqs_and_is_read_back() -> None:
    server = NameServer()
    assert not server.naming.kv.is_changed
    put(server, "N", "k", "v")
    assert server.naming.kv.is_changed
    document = server.naming.kv.render()
    assert document == b'{"configTable":{"N":{"k":"v"}}}'
    other = KVConfig()
    other.load(document)
    assert other.get("N", "k") == "v"
    assert not other.is_changed


@pytest.mark.parametrize("document", [b"", b"[]", b'{"configTable":[]}', b'{"configTable":{"N":{"k":{}}}}'])
def test_a_document_that_is_none_is_refused(document: bytes) -> None:
    with pytest.raises(RequestError):
        KVConfig().load(document)


def test_settings_are_shown_as_properties() -> None:
    lines = bytes(NameServer().ask(RequestCode.GET_NAMESRV_CONFIG).body).decode().splitlines()
    assert "enableAllTopicList=true" in lines
    assert "waitSecondsForService=45" in lines
    assert "configBlackList=configBlackList;configStorePath;kvConfigPath" in lines


def test_settings_are_changed_and_unknown_ones_passed_over() -> None:
    server = NameServer()
    body = b"# by mqadmin\nenableTopicList=false\nwaitSecondsForService = 7\nnobodyKnowsThis=1\n"
    assert server.ask(RequestCode.UPDATE_NAMESRV_CONFIG, body).code == ResponseCode.SUCCESS
    assert not server.naming.settings.topic_list_enable
    assert server.naming.settings.wait_seconds == 7
    assert server.naming.notes[-1].fields == {"keys": ["enableTopicList", "waitSecondsForService"]}


@pytest.mark.parametrize(
    "key", ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome", "mine"]
)
def test_a_setting_of_the_black_list_is_refused_with_all_the_rest(key: str) -> None:
    server = NameServer(config_black_list="mine")
    answer = server.ask(RequestCode.UPDATE_NAMESRV_CONFIG, f"enableTopicList=false\n{key}=x".encode())
    assert (answer.code, answer.remark) == (
        ResponseCode.NO_PERMISSION,
        "Can not update config in black list.",
    )
    assert server.naming.settings.topic_list_enable


@pytest.mark.parametrize(
    ("body", "remark"),
    [
        (b"waitSecondsForService=soon", "waitSecondsForService must be a positive number, not 'soon'"),
        (b"\nproductEnvName=\\u12", "line 3: "),
    ],
)
def test_a_setting_that_is_no_value_is_refused(body: bytes, remark: str) -> None:
    answer = NameServer().ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"enableTopicList=false\n" + body)
    assert answer.code == ResponseCode.INVALID_PARAMETER
    assert remark in (answer.remark or "")
