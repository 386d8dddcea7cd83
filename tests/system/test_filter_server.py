"""Filters of consumers on a filter server: uploaded, pulled through, killed; beside a real broker."""

import os
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shmq.sandbox.seccomp import is_supported
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.message import decode_messages
from tests.support.inmate import WAT_BODY_A
from tests.support.member import Member
from tests.support.processes import assert_gone
from tests.support.remote import Remote, pull_request
from tests.support.shmq_process import ShmqBroker, ShmqFilterServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(not is_supported(), reason="no sandbox is known for this machine")

SETTINGS: Final = {"network_workers": 1, "filter_servers_max": 2, "restart_delay_ms_min": 10}
EVEN: Final = "def matches(message):\n    return int(message.properties['seq']) % 2 == 0\n"
JAVA: Final = "package shmq;\n\npublic class Uploaded implements MessageFilter {\n  public boolean match() { return true; }\n}\n"
COUNT: Final = 100


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    started = ShmqBroker(tmp_path_factory.mktemp("filtered"), settings=SETTINGS)
    with Member(started.address) as producer:
        for number in range(COUNT):
            sent = producer.send(
                "T", b"%s%d" % (b"AB"[number % 2 :][:1], number), properties=f"seq\x01{number}\x02"
            )
            assert sent.code == ResponseCode.SUCCESS, sent.remark
    yield started
    started.stop()
    started.discard()


@pytest.fixture(scope="module")
def filters(broker: ShmqBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqFilterServer]:
    """One for all tests that leave it as it was."""
    started = ShmqFilterServer(tmp_path_factory.mktemp("filters"), broker.address, "--message-ms", "200")
    yield started
    started.stop()


@pytest.fixture
def doomed(broker: ShmqBroker, tmp_path: Path) -> Iterator[ShmqFilterServer]:
    """One that the test ends."""
    started = ShmqFilterServer(tmp_path, broker.address)
    yield started
    started.process.kill()


def upload(remote: Remote, source: str | bytes, group: str = "g", crc32: int | None = None) -> Command:
    body = source if isinstance(source, bytes) else source.encode()
    fields = {
        "consumerGroup": group,
        "topic": "T",
        "className": "shmq.Uploaded",
        "classCRC": str(zlib.crc32(body) & 0x7FFF_FFFF if crc32 is None else crc32),
    }
    return remote.call(Command(RequestCode.REGISTER_MESSAGE_FILTER_CLASS, fields=fields, body=body))


def pull(remote: Remote, offset: int = 0, group: str = "g") -> Command:
    request = pull_request("T", 0, offset)
    request.fields |= {"consumerGroup": group, "sysFlag": str(int(request.fields["sysFlag"]) | 8)}
    return remote.call(request)


def read_all(remote: Remote, group: str = "g") -> list[int]:
    """Pull as a consumer does, until there is no more."""
    offset, numbers = 0, []
    while offset < COUNT:
        answer = pull(remote, offset, group)
        assert answer.code in {ResponseCode.SUCCESS, ResponseCode.PULL_RETRY_IMMEDIATELY}, answer.remark
        offset = int(answer.fields["nextBeginOffset"])
        numbers += [int(each.properties["seq"]) for each in decode_messages(answer.body)]
    return numbers


def test_a_filter_chooses_what_is_pulled(filters: ShmqFilterServer) -> None:
    with Remote(filters.address) as remote:
        assert pull(remote, group="nobody").remark == "Find Filter class failed, not registered"
        assert upload(remote, EVEN).code == ResponseCode.SUCCESS
        eventually(lambda: pull(remote).code == ResponseCode.SUCCESS)  # the broker may not be connected yet
        assert read_all(remote) == list(range(0, COUNT, 2))
        assert upload(remote, EVEN.replace("== 0", "== 1")).code == ResponseCode.SUCCESS
        assert read_all(remote) == list(range(1, COUNT, 2))
        assert upload(remote, EVEN, group="h").code == ResponseCode.SUCCESS
        assert read_all(remote, "h") == list(range(0, COUNT, 2))
        assert read_all(remote, "g") == list(range(1, COUNT, 2))
        assert upload(remote, WAT_BODY_A.strip(), group="w").code == ResponseCode.SUCCESS
        assert read_all(remote, "w") == list(range(0, COUNT, 2))


def test_routes_name_it_while_it_is_there(broker: ShmqBroker, doomed: ShmqFilterServer) -> None:
    with Remote(broker.namesrv_address) as names:

        def is_listed() -> bool | None:
            route = names.route("T")
            if route is None:
                return None  # the conductor's end takes the broker from its name server for a moment
            return any(doomed.address in listed for listed in route.filter_servers.values())

        eventually(is_listed)
        broker.worker("conductor").kill()
        eventually(is_listed)
        doomed.stop()
        eventually(lambda: is_listed() is False)


@pytest.mark.usefixtures("filters")
def test_no_more_register_than_are_allowed(broker: ShmqBroker) -> None:
    with Remote(broker.address) as first, Remote(broker.address) as second:
        register = RequestCode.REGISTER_FILTER_SERVER

        def call(remote: Remote, port: int) -> Command:
            return remote.call(Command(register, fields={"filterServerAddr": f"127.0.0.1:{port}"}))

        eventually(lambda: call(first, 1).code == ResponseCode.SUCCESS)  # once those of other tests have left
        call(second, 2)
        refused = call(second, 3)
        assert refused.code == ResponseCode.SYSTEM_ERROR
        assert "filter_servers_max" in (refused.remark or "")


@pytest.mark.parametrize(
    ("source", "crc32", "reason"),
    [
        (JAVA, None, "Java sources are not run"),
        ("import java.util.List;\nclass X {}", None, "Java sources are not run"),
        ("x = (", None, "SyntaxError"),
        ("x = 1", None, "no function `matches`"),
        (EVEN, 1, "checksum"),
        ("", None, "no filter"),
        ("#" * ((1 << 20) + 1), None, "at most 1048576 bytes"),
    ],
)
def test_what_is_no_filter_is_refused(
    filters: ShmqFilterServer, source: str, crc32: int | None, reason: str
) -> None:
    with Remote(filters.address) as remote:
        answer = upload(remote, source, crc32=crc32)
        assert answer.code != ResponseCode.SUCCESS
        assert reason in (answer.remark or "")


def test_a_filter_that_is_killed_is_started_again_but_not_for_ever(filters: ShmqFilterServer) -> None:
    loops = "def matches(message):\n    while message.properties['seq'] == '7': pass\n    return True\n"
    with Remote(filters.address) as remote:
        assert upload(remote, EVEN).code == ResponseCode.SUCCESS
        eventually(lambda: pull(remote).code == ResponseCode.SUCCESS)
        for filtering in filters.process.descendants():
            filtering.kill()
        eventually(lambda: pull(remote).code == ResponseCode.SUCCESS)
        assert read_all(remote) == list(range(0, COUNT, 2))
        assert (
            upload(remote, "import os\ndef matches(message):\n    os.fork()\n").code == ResponseCode.SUCCESS
        )
        for _ in range(3):
            assert "it was ended by signal 31" in (pull(remote).remark or "")
        assert "ended 3 times" in (pull(remote).remark or "")
        assert upload(remote, loops).code == ResponseCode.SUCCESS
        assert "it took too long" in (pull(remote).remark or "")
        assert upload(remote, EVEN).code == ResponseCode.SUCCESS
        assert read_all(remote) == list(range(0, COUNT, 2))


def test_killed_it_leaves_no_filter_behind(doomed: ShmqFilterServer) -> None:
    with Remote(doomed.address) as remote:
        assert upload(remote, EVEN).code == ResponseCode.SUCCESS
    inmates = doomed.process.descendants()
    assert inmates
    os.kill(doomed.process.pid, signal.SIGKILL)
    assert_gone(inmates)


def test_other_requests_are_not_its_business(filters: ShmqFilterServer) -> None:
    with Remote(filters.address) as remote:
        assert remote.call(Command(RequestCode.HEART_BEAT)).code == ResponseCode.REQUEST_CODE_NOT_SUPPORTED
