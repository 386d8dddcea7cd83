import pytest

from shmq.ring import record, spsc
from tests.support.rings import SmallRing


@pytest.fixture
def ring():
    return SmallRing(128)


def test_a_new_ring_is_empty(ring):
    assert ring.is_empty
    assert ring.take() is None


def test_what_was_offered_comes_out_in_order_with_kind_and_tag(ring):
    ring.offer(b"one", kind=3, tag=-7)
    ring.offer(b"twotwotwo", kind=4, tag=1 << 62)
    first, payload = ring.peek()
    assert (first.kind, first.tag, payload) == (3, -7, b"one")
    second, payload = ring.peek(first.position + spsc.space_of(first.size_bytes))
    assert (second.kind, second.tag, payload) == (4, 1 << 62, b"twotwotwo")
    assert ring.take() == b"one"
    assert ring.take() == b"twotwotwo"
    assert ring.is_empty


def test_nothing_is_visible_before_it_is_published(ring):
    after = ring.fill(b"secret")
    assert ring.peek()[0].position == spsc.NONE
    assert ring.is_empty
    spsc.publish(ring.address, after)
    assert ring.take() == b"secret"


def test_claiming_again_without_publishing_gives_the_same_room(ring):
    assert spsc.claim(ring.address, 40) == spsc.claim(ring.address, 8) == 0


def test_several_records_are_published_as_one(ring):
    after = ring.fill(b"a")
    after = ring.fill(b"b", after=after)
    assert ring.take() is None
    spsc.publish(ring.address, after)
    assert [ring.take(), ring.take(), ring.take()] == [b"a", b"b", None]


def test_a_full_ring_refuses_a_record(ring):
    for _ in range(4):
        assert ring.offer(b"x" * 16)
    assert not ring.offer(b"")
    assert ring.take() == b"x" * 16
    assert ring.offer(b"x" * 16)
    assert not ring.offer(b"")


def test_a_record_may_fill_the_ring_to_the_last_byte(ring):
    assert ring.offer(b"y" * (128 - record.SIZE))
    assert not ring.offer(b"")
    assert ring.take() == b"y" * (128 - record.SIZE)
    assert ring.is_empty


def test_a_record_longer_than_the_ring_is_refused(ring):
    assert not ring.offer(b"y" * (128 - record.SIZE + 1))
    assert ring.is_empty


def test_a_record_never_wraps(ring):
    for _ in range(2):
        ring.offer(b"x" * 24)
        ring.take()
    ring.offer(b"long" * 10)  # 56 bytes where 48 are left
    found, payload = ring.peek()
    assert (found.position, payload) == (128, b"long" * 10)


def test_padding_that_leaves_no_room_refuses_the_record(ring):
    ring.offer(b"x" * 64)
    assert not ring.offer(b"y" * 40)  # 48 bytes are left at the end, and none before
    ring.take()
    assert ring.offer(b"y" * 40)
    assert ring.take() == b"y" * 40


def test_the_longest_sure_payload_fits_an_empty_ring_wherever_it_stands(ring):
    longest = spsc.payload_bytes_max(128)
    for _ in range(20):
        assert ring.offer(b"z" * longest)
        assert ring.take() == b"z" * longest
        assert ring.offer(b"")  # moves the cursors by another amount
        assert ring.take() == b""


def test_a_record_takes_multiples_of_eight_bytes_and_its_head():
    assert [spsc.space_of(size) for size in (0, 1, 8, 9)] == [16, 24, 24, 32]


@pytest.mark.parametrize("payload_bytes", [0, 1, 47, 48, 49, 1000, 65536])
def test_a_ring_made_for_a_payload_surely_takes_it(payload_bytes):
    capacity_bytes = spsc.capacity_for(payload_bytes)
    assert spsc.payload_bytes_max(capacity_bytes) >= payload_bytes
    assert spsc.payload_bytes_max(capacity_bytes // 2) < payload_bytes or capacity_bytes == 32


def test_a_capacity_is_a_power_of_two():
    with pytest.raises(AssertionError):
        spsc.ring_bytes(100)


def test_each_end_sees_the_other_ends_cursor(ring):
    ring.offer(b"x")
    assert (spsc.produced_position(ring.address), spsc.consumed_position(ring.address)) == (24, 0)
    ring.take()
    assert (spsc.produced_position(ring.address), spsc.consumed_position(ring.address)) == (24, 24)


def test_the_producer_looks_at_the_consumer_again_only_when_it_seems_full(ring):
    for _ in range(4):
        ring.offer(b"x" * 16)
        ring.take()
    assert ring.offer(b"x" * 100)


@pytest.mark.parametrize("size_bytes", [-1, -2, -1000, -(2**31), 17, 25, 120, 2**31 - 1])
def test_a_head_of_impossible_length_is_broken_and_takes_all_that_is_published(ring, size_bytes):
    ring.offer(b"good")
    first, _ = ring.peek()
    position = spsc.claim(ring.address, 8)
    after = spsc.fill_head(ring.address, position, 8, 1, 5)
    spsc.fill_head(ring.address, position, size_bytes, 1, 5)
    spsc.publish(ring.address, after)
    assert ring.take() == b"good"
    found = spsc.peek(ring.address, first.position + spsc.space_of(first.size_bytes))
    assert (found.kind, found.tag) == (record.BROKEN, 5)
    spsc.give_back(ring.address, found.position + spsc.space_of(found.size_bytes))
    assert ring.is_empty
    assert ring.offer(b"well again")
    assert ring.take() == b"well again"


def test_a_record_that_claims_to_reach_beyond_the_end_is_broken(ring):
    for _ in range(3):
        ring.offer(b"x" * 16)
        ring.take()
    after = ring.fill(b"")  # at 96 of 128
    ring.fill(b"x" * 16, after=after)  # at the start, behind padding
    spsc.fill_head(ring.address, 96, 24, 1, 5)
    spsc.publish(ring.address, 128 + 32)
    assert ring.peek()[0].kind == record.BROKEN
