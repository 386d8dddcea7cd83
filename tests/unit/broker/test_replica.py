"""The replica: a worker's view of the conductor's tables."""

import pytest

from shmq.broker.replica import read_limits
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.updates import FilterUpdate, GroupUpdate, SubscriptionUpdate, TopicUpdate, decode, encode
from shmq.config.settings import Config
from shmq.store.bit_marks import MarkedFilter
from shmq.store.position import NONE
from shmq.wire.heartbeat_bodies import ConsumeType, MessageModel, SubscriptionData
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.small_broker import SmallBroker


@pytest.fixture
def broker(tmp_path):
    return SmallBroker(tmp_path)


def apply(broker, update):
    broker.replica.apply(decode(encode(update)))


def test_a_topic_is_known_until_it_is_deleted(broker):
    config = TopicConfig("T", 2, 3)
    apply(broker, TopicUpdate("T", 0, config, (5, 6, 7)))
    view = broker.replica.topics["T"]
    assert (view.name_bytes, view.config, view.slots, view.queue_count) == (b"T", config, (5, 6, 7), 3)
    assert broker.replica.queue("T", 2) == (7, (b"T", 2))
    apply(broker, TopicUpdate("T", 0, None, ()))
    assert broker.replica.topics == {}
    assert broker.replica.queue("T", 2).slot == NONE


def test_a_group_is_known_until_it_is_deleted(broker):
    config = SubscriptionGroupConfig("G")
    apply(broker, GroupUpdate("G", 4, config))
    assert (broker.replica.groups["G"].group_id, broker.replica.groups["G"].config) == (4, config)
    apply(broker, GroupUpdate("G", 4, None))
    assert broker.replica.groups == {}


def test_subscriptions_are_known_while_somebody_is_online(broker):
    both = (SubscriptionData("T"), SubscriptionData.from_tags("U", "a"))
    clustering, passively = MessageModel.CLUSTERING, ConsumeType.CONSUME_PASSIVELY
    apply(broker, SubscriptionUpdate("G", clustering, passively, both))
    members = broker.replica.members["G"]
    assert (members.message_model, members.consume_type) == (clustering, passively)
    assert members.subscriptions == {"T": both[0], "U": both[1]}
    apply(broker, SubscriptionUpdate("G", clustering, passively, None))
    assert broker.replica.members == {}


def test_deleting_what_is_not_known_changes_nothing(broker):
    apply(broker, TopicUpdate("T", 0, None, ()))
    apply(broker, GroupUpdate("G", 4, None))
    assert broker.replica.topics == broker.replica.groups == {}


def test_an_offset_is_committed_where_it_has_a_row(broker):
    broker.add_topic("T")
    broker.add_group("G")
    slot = broker.store.slot(b"T")
    group_id = broker.replica.groups["G"].group_id
    assert not broker.replica.commit_offset(group_id, slot, 3)
    assert broker.replica.committed_offset("G", slot) == NONE
    broker.offsets.add(group_id, slot, 3)
    assert broker.replica.commit_offset(group_id, slot, 8)
    assert broker.replica.committed_offset("G", slot) == 8


def test_an_append_fits_both_a_file_of_the_log_and_the_ring(tmp_path):
    small_file = SmallBroker(tmp_path / "file", log_file_bytes=4096)
    assert small_file.replica.append_bytes_max == 4096 - 8
    small_ring = SmallBroker(
        tmp_path / "ring", log_file_bytes=1 << 20, submit_ring_bytes=1 << 18, message_bytes_max=1000
    )
    assert 1 << 16 < small_ring.replica.append_bytes_max < 1 << 17


def test_the_settings_say_how_much_a_pull_may_take():
    limits = read_limits(
        Config(transfer_count_on_disk_max=3, filter_scan_bytes_max=400, in_memory_ratio_percent=20)
    )
    assert (limits.near_count, limits.near_bytes) == (32, 262144)
    assert (limits.far_count, limits.far_bytes, limits.filter_bytes) == (3, 65536, 400)
    twice = read_limits(Config(in_memory_ratio_percent=40)).near_distance_bytes
    assert abs(twice - 2 * limits.near_distance_bytes) <= 1


def test_a_new_conductor_must_tell_again_which_bit_maps_know_an_expression(broker):
    replica = broker.replica
    for group in ("g", "h"):
        replica.apply(FilterUpdate("T", group, "a = 1", 1, 100, 5))
    before = replica.registered_filter(replica.filters["g"]["T"])
    assert isinstance(before, MarkedFilter)
    assert (before.live_from, before.generation, before.bit_map_bytes, len(before.bits)) == (100, 5, 14, 3)
    replica.distrust_bit_maps()
    replica.apply(FilterUpdate("T", "h", "a = 1", 1, 200, 6))
    assert replica.registered_filter(replica.filters["g"]["T"]) == compile_sql("a = 1")
    after = replica.registered_filter(replica.filters["h"]["T"])
    assert (after.live_from, after.generation) == (200, 6)
