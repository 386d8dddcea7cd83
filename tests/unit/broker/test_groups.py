"""The table of consumer groups."""

import pytest

from shmq.broker.effects import DocumentName, Persist, Publish
from shmq.broker.updates import GroupUpdate
from shmq.errors import RequestError, StoreError
from shmq.wire.topic_bodies import SubscriptionGroupConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata, new_tables

SYSTEM_GROUPS = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
]


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


def test_a_first_start_makes_the_system_groups(broker):
    assert [config.group_name for config in broker.state.groups] == SYSTEM_GROUPS


def test_an_unknown_group_is_made_when_it_is_looked_for(broker):
    groups = broker.state.groups
    config = groups.find("g", NOW_MS)
    assert config == SubscriptionGroupConfig("g")
    assert broker.state.drain() == [
        Publish(GroupUpdate("g", broker.tables.groups.find(b"g"), config)),
        Persist(DocumentName.GROUPS),
    ]
    assert groups.find("g", NOW_MS) is config
    assert broker.state.drain() == []
    assert groups.version.counter == 1


def test_a_group_with_an_illegal_name_is_not_made(broker):
    assert broker.state.groups.find("a b", NOW_MS) is None
    assert "a b" not in broker.state.groups


def test_no_group_but_the_systems_own_is_made_where_that_is_off(tmp_path):
    groups = SmallMetadata(tmp_path, auto_create_group_enable=False).state.groups
    assert groups.find("g", NOW_MS) is None
    assert groups.find("CID_RMQ_SYS_x", NOW_MS) == SubscriptionGroupConfig("CID_RMQ_SYS_x")


def test_groups_come_back_after_a_restart(broker):
    groups = broker.state.groups
    config = SubscriptionGroupConfig("g", consume_enable=False, retry_times_max=3, retry_policy={"type": "X"})
    groups.alter(config, NOW_MS)
    groups.forbid_read("g", "T", NOW_MS, forbid=True)
    again = broker.again().state.groups
    assert again.get("g") == config
    assert again.version == groups.version
    assert again.is_read_forbidden("g", "T")
    assert not again.is_read_forbidden("g", "U")
    assert not again.is_read_forbidden("h", "T")


def test_a_deleted_group_is_gone(broker):
    groups = broker.state.groups
    groups.find("g", NOW_MS)
    broker.state.drain()
    assert groups.delete("g", NOW_MS)
    assert broker.published() == [GroupUpdate("g", broker.tables.groups.find(b"g"), None)]
    assert groups.get("g") is None
    assert not groups.delete("g", NOW_MS)


def test_a_full_table_refuses_a_group(tmp_path):
    groups = SmallMetadata(tmp_path, tables=new_tables(names=16)).state.groups
    for number in range(16 - len(SYSTEM_GROUPS)):
        groups.find(f"g{number}", NOW_MS)
    with pytest.raises(RequestError):
        groups.find("one-more", NOW_MS)
    assert "one-more" not in groups


def test_a_document_that_is_none_of_groups_is_the_stores_fault(tmp_path):
    with pytest.raises(StoreError, match=r"subscriptionGroup\.json"):
        SmallMetadata(tmp_path, {DocumentName.GROUPS: []})
