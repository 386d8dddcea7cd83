"""Filter servers that register, and their end."""

import pytest

from shmq.broker.effects import RegisterTopics
from shmq.broker.membership import handle_register_filter_server
from shmq.broker.outcome import Channel
from shmq.errors import RequestError
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.small_metadata import CHANNEL, NOW_MS, SmallMetadata

OTHER = Channel(1, 1, 9)


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path, filter_servers_max=1)
    made.state.drain()
    return made


def register(broker, address="127.0.0.1:5000"):
    fields = {"filterServerAddr": address}
    return broker.call(handle_register_filter_server, RequestCode.REGISTER_FILTER_SERVER, fields)


def test_it_is_told_whose_it_is(broker):
    assert register(broker).command.fields == {"brokerName": "b", "brokerId": "0"}


def test_name_servers_are_told_when_one_comes_and_goes(broker):
    state = broker.state
    register(broker)
    assert RegisterTopics(None) in state.drain()
    assert state.announce(())[2] == ("127.0.0.1:5000",)
    register(broker)
    assert RegisterTopics(None) not in state.drain()
    state.close(OTHER)
    assert state.filter_servers.addresses
    state.close(CHANNEL)
    assert RegisterTopics(None) in state.drain()
    assert state.announce(())[2] == ()


def test_a_silent_one_is_forgotten(broker):
    register(broker)
    broker.state.expire(NOW_MS + 30_000)
    assert broker.state.filter_servers.addresses
    broker.state.expire(NOW_MS + 30_001)
    assert not broker.state.filter_servers.addresses


def test_a_worker_that_begins_anew_has_closed_its_connections(broker):
    register(broker)
    broker.state.close_worker(CHANNEL.worker, CHANNEL.epoch)
    assert broker.state.filter_servers.addresses
    broker.state.close_worker(CHANNEL.worker, CHANNEL.epoch + 1)
    assert not broker.state.filter_servers.addresses


@pytest.mark.parametrize("allowed", [0, 1])
def test_no_more_are_taken_than_are_allowed(tmp_path, allowed):
    broker = SmallMetadata(tmp_path, filter_servers_max=allowed)
    if allowed:
        register(broker)
    with pytest.raises(RequestError, match=f"takes {allowed} filter servers") as refused:
        register(broker, "127.0.0.1:5001")
    assert refused.value.code == ResponseCode.SYSTEM_ERROR


def test_what_is_no_address_is_refused(broker):
    with pytest.raises(RequestError) as refused:
        register(broker, "nowhere")
    assert refused.value.code == ResponseCode.INVALID_PARAMETER
