import os
from pathlib import Path

import pytest

from shmq.errors import (
    BrokerAbsentError,
    BrokerNotReadyError,
    LayoutMismatchError,
    NoRoomError,
    NotOursError,
)
from shmq.local.attach import Attachment
from shmq.memory import region
from shmq.ring import spsc
from shmq.shared import broker_memory, header
from shmq.shared.local_sessions import ATTACHED, LEAVING
from tests.support.writer_ground import small_config

NOBODY = 65534


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path, broker_name=f"attach-{os.getpid()}")


@pytest.fixture
def memory(config):
    made = broker_memory.create(config, 1)
    made.state = header.RUNNING
    yield made
    region.unlink(made.name)


def head_of(memory):
    return memory.bytes_of("header").view(header.LAYOUT)[0]


def test_who_attaches_gets_a_session_with_empty_rings_of_their_capacity(config, memory):
    found = Attachment(config.broker_name, "test")
    sessions = memory.sessions
    assert sessions.state(found.session) == ATTACHED
    assert sessions.is_owned(found.session)
    assert found.terms.message_bytes_max == config.message_bytes_max
    for ring, capacity_kib in enumerate((128, 8, 64, 64)):
        assert found.capacity_bytes(ring) == spsc.capacity_of(found.place(ring)) == 1024 * capacity_kib
        assert spsc.is_empty(found.place(ring))
    found.leave()
    assert sessions.state(found.session) == LEAVING


def test_a_session_is_taken_by_one_at_a_time(config, memory):
    first, second = (Attachment(config.broker_name, "test") for _ in range(2))
    assert {first.session, second.session} == {0, 1}
    with pytest.raises(NoRoomError, match="all 2 local sessions"):
        Attachment(config.broker_name, "test")
    assert memory.sessions.in_state((ATTACHED,)) == [0, 1]


def test_a_broker_that_is_not_there_or_not_ready_is_named(config, memory):
    with pytest.raises(BrokerAbsentError, match="no broker named 'nobody'"):
        Attachment("nobody", "test")
    for state, words in ((header.STARTING, "starting"), (header.STOPPING, "stopping")):
        memory.state = state
        with pytest.raises(BrokerNotReadyError, match=words):
            Attachment(config.broker_name, "test")
    memory.state = header.RUNNING
    head_of(memory)["started"] = 1
    with pytest.raises(BrokerAbsentError, match="leftover"):
        Attachment(config.broker_name, "test")


def test_another_layout_is_told_with_both_versions(config, memory):
    head_of(memory)["layout_version"] = 999
    with pytest.raises(LayoutMismatchError, match=f"version 999, .* version {header.LAYOUT_VERSION}"):
        Attachment(config.broker_name, "test")
    head_of(memory)["layout_version"] = header.LAYOUT_VERSION
    head_of(memory)["layout_hash"] = 5
    with pytest.raises(LayoutMismatchError, match="00000000000005"):
        Attachment(config.broker_name, "test")


def as_another_user(attempt):
    """The outcome of an attempt by a user who may do no more than others may."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.seteuid(NOBODY)
            outcome = attempt()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
            outcome = f"{type(error).__name__}: {error}"
        os.write(writing, str(outcome).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        outcome = told.read()
    os.waitpid(child, 0)
    return outcome


def test_another_users_broker_is_said_to_be_his(config, memory):
    segment = Path(region.FOLDER + memory.name)
    if os.geteuid() != 0:
        segment.chmod(0)  # nobody may become another user: then not even ours is open to us
    outcome = as_another_user(lambda: Attachment(config.broker_name, "test"))
    assert outcome.startswith(f"{NotOursError.__name__}: ")
    assert f"belongs to the user {os.geteuid()} and is not open to us" in outcome
    assert "shared_memory_group" in outcome
    assert memory.sessions.in_state((ATTACHED,)) == []


def test_a_segment_that_is_being_made_is_not_ready(config, memory):
    head_of(memory)["magic"] = 0
    with pytest.raises(BrokerNotReadyError, match="starting"):
        Attachment(config.broker_name, "test")
