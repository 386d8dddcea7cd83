"""Units and bit maps that the dispatcher makes, and what readers make of them."""

import os

import pytest

from shmq.broker.sql.compiling import compile_sql
from shmq.store.bit_marks import MarkedFilter
from shmq.store.dispatch import SCHEDULE_TOPIC
from shmq.store.position import NONE
from shmq.store.queue_extension import BASE, Unit
from shmq.store.read import ReadStatus
from tests.support.extended_store import ExtendedStore
from tests.support.small_store import DELAYS_MS

TAG_A = 2598919


@pytest.fixture
def store(tmp_path):
    return ExtendedStore(tmp_path)


def colour(store, name, **how):
    return store.append(properties=f"colour\x01{name}\x02TAGS\x01TagA\x02".encode(), **how)


def marked(store, group="g", topic="T"):
    update = next(each for each in store.table.snapshot() if (each.group, each.topic) == (group, topic))
    bits = store.bloom.bits_of(group, topic)
    return MarkedFilter(
        compile_sql(update.expression),
        bits.positions,
        bits.bit_count // 8,
        update.live_from,
        update.generation,
    )


def pull(store, wanted, reader=None, offset=0, topic=b"T"):
    """(status, next offset, count) of a pull."""
    reader = reader or store.new_reader()
    result = reader.read(store.slot(topic), (topic, 0), offset, 32, store.end, wanted)
    for piece in result.slices:
        piece.release()
    return result.status, result.next_offset, result.count


def records_asked(store, wanted, reader=None):
    """How many records a pull looks into."""
    asked = []
    matches = wanted.wanted.matches

    def counting(*values):
        asked.append(values)
        return matches(*values)

    watched = type(wanted.wanted)(wanted.wanted.expression, wanted.wanted.names, counting)
    result = pull(
        store,
        MarkedFilter(watched, wanted.bits, wanted.bit_map_bytes, wanted.live_from, wanted.generation),
        reader,
    )
    return len(asked), result


def test_every_queue_gets_units_and_its_entries_their_addresses(store):
    store.append(b"T", tag="TagA", store_ms=7)
    store.append(b"T", store_ms=8)
    store.append(SCHEDULE_TOPIC, 1, store_ms=10_000, properties=b"DELAY\x012\x02")
    store.run()
    assert [entry[2] for entry in store.entries()] == [BASE, BASE + 20]
    assert store.units() == [Unit(20, TAG_A, 7, b""), Unit(20, 0, 8, b"")]
    assert store.units(SCHEDULE_TOPIC, 1) == [Unit(20, 10_000 + DELAYS_MS[1], 10_000, b"")]


def test_prepared_and_rolled_back_records_get_no_unit(store):
    store.append(sys_flag=0x4)
    store.append(sys_flag=0x8, store_ms=5)
    store.append(sys_flag=0xC)
    assert store.run().records == 3
    assert store.units() == [Unit(20, 0, 5, b"")]
    assert not any((store.paths.extensions / "T" / "0" / f"{0:020d}").read_bytes()[20:])


def test_a_record_that_is_dispatched_again_gets_no_other_unit(store):
    for number in range(25):  # windows are missing in the middle of what was read ahead
        colour(store, str(number), queue_id=number % 2)
    store.run()
    for queue_id in (0, 1):
        addresses = [entry[2] - BASE for entry in store.entries(queue_id=queue_id)]
        assert addresses == list(range(0, 20 * len(addresses), 20))
    before = store.units(), store.units(queue_id=1)
    store.start_dispatcher()
    store.run()
    assert (store.units(), store.units(queue_id=1)) == before


def test_a_bit_map_says_who_wants_a_message(store):
    store.subscribe("g", "colour = 'red'")
    store.subscribe("h", "colour IS NOT NULL")
    store.publish()
    for name in ("red", "blue"):
        colour(store, name)
    store.append()
    store.append(b"U")
    store.run()
    of_g, of_h = (store.bloom.bits_of(group, "T") for group in "gh")
    says = [(of_g.may_match(unit.bit_map), of_h.may_match(unit.bit_map)) for unit in store.units()]
    assert says == [(True, True), (False, True), (False, False)]
    assert [len(unit.bit_map) for unit in store.units()] == [14] * 3
    assert store.units(b"U") == [Unit(20, 0, 1000, b"")]


def test_what_no_bit_map_lets_through_is_not_asked(store):
    store.subscribe("g", "colour = 'red'")
    store.publish()
    for number in range(9):
        colour(store, "red" if number % 3 == 0 else "blue")
    store.run()
    assert records_asked(store, marked(store)) == (3, (ReadStatus.FOUND, 9, 3))


def test_messages_before_an_expression_are_asked(store):
    store.subscribe("h", "colour = 'blue'")
    store.publish()
    colour(store, "red")  # its bit map does not know g
    store.subscribe("g", "colour = 'red'")
    colour(store, "red")
    colour(store, "blue")
    store.run(0, 1)
    store.publish()
    store.run(store.records[0][1])
    assert records_asked(store, marked(store)) == (2, (ReadStatus.FOUND, 3, 2))


def test_while_the_table_is_not_published_there_are_no_bit_maps(store):
    store.subscribe("g", "colour = 'red'")
    colour(store, "red")
    colour(store, "blue")
    store.run()
    assert [unit.bit_map for unit in store.units()] == [b"", b""]
    assert records_asked(store, marked(store)) == (2, (ReadStatus.FOUND, 2, 1))


def test_who_was_told_less_than_the_dispatcher_asks(store):
    """Between a change and the news of it a bit map may be of the new expression."""
    store.subscribe("g", "colour = 'red'")
    store.publish()
    old = marked(store)
    store.subscribe("g", "colour = 'blue'")
    store.publish()
    colour(store, "red")
    store.run()
    assert not store.bloom.bits_of("g", "T").may_match(store.units()[0].bit_map)
    assert records_asked(store, old) == (1, (ReadStatus.FOUND, 1, 1))
    assert records_asked(store, marked(store)) == (0, (ReadStatus.NO_MATCHED_MESSAGE, 1, 0))


def test_after_a_restart_of_the_conductor_older_bit_maps_are_not_believed(store):
    store.subscribe("g", "colour = 'red'")
    store.publish()
    colour(store, "blue")
    store.run()
    begin, document = store.end, store.table.to_json()
    store.start_conductor(document)
    store.publish()
    colour(store, "blue")
    store.run(begin)
    assert records_asked(store, marked(store)) == (1, (ReadStatus.NO_MATCHED_MESSAGE, 2, 0))


@pytest.mark.parametrize("damage", ["missing", "short", "zeroed", "no bit map"])
def test_a_unit_that_cannot_be_read_decides_nothing(store, damage):
    store.subscribe("g", "colour = 'red'")
    store.publish()
    colour(store, "red")
    store.run()
    path = store.paths.extensions / "T" / "0" / f"{0:020d}"
    match damage:
        case "missing":
            path.unlink()
        case "short":
            os.truncate(path, 399)
        case "zeroed":
            path.write_bytes(bytes(400))
        case "no bit map":
            path.write_bytes(b"\x00\x14" + bytes(398))
    assert records_asked(store, marked(store)) == (1, (ReadStatus.FOUND, 1, 1))


def test_units_of_many_files_are_read(store):
    store.subscribe("g", "colour = 'red'")
    store.publish()
    for number in range(10):
        colour(store, "red" if number in {0, 9} else "blue")
    store.run()
    assert len(list((store.paths.extensions / "T" / "0").iterdir())) == 1
    for number in range(10):
        colour(store, "red" if number in {0, 9} else "blue")
    store.run(store.records[9][0] + store.records[9][1])
    assert len(list((store.paths.extensions / "T" / "0").iterdir())) == 2
    reader = store.new_reader()
    assert records_asked(store, marked(store), reader) == (2, (ReadStatus.FOUND, 10, 2))
    reader.close()
    reader.forget_below(0)


def test_a_full_disk_for_units_leaves_entries_as_they_are_without(store, monkeypatch):
    colour(store, "red")
    store.run()

    def fail(*_given):
        raise OSError(28, "No space left on device")

    begin = store.end
    colour(store, "red")
    monkeypatch.setattr(os, "pwrite", fail)
    assert store.run(begin).records == 1
    monkeypatch.undo()
    assert "No space left" in store.dispatch.extending.problem
    begin = store.end
    colour(store, "red")
    store.run(begin)
    assert store.dispatch.extending.problem == ""
    assert [entry[2] for entry in store.entries()] == [BASE, TAG_A, BASE + 20]


def test_a_store_is_read_and_written_on_with_extensions_turned_off_and_on(store):
    for is_on in (True, False, True, False):
        store.has_extensions = is_on
        store.start_dispatcher()
        begin = store.end
        colour(store, "red")
        store.run(begin)
    tags = [entry[2] for entry in store.entries()]
    assert tags == [BASE, TAG_A, BASE + 20, TAG_A]
    plain = store.new_reader(is_extended=False)
    assert pull(store, compile_sql("colour = 'red'"), plain) == (ReadStatus.FOUND, 4, 4)
    assert pull(store, frozenset([TAG_A]), plain) == (ReadStatus.FOUND, 4, 4)


def test_an_expression_that_fails_makes_no_bit_map(store):
    def fail(*_values):
        raise RecursionError("too deep")

    store.subscribe("g", "colour = 'red'")
    store.publish()
    store.shared.refresh()
    (known,) = store.shared.expressions(b"T")
    broken = type(known.wanted)("x", ("colour",), fail)
    store.shared._by_topic[b"T"] = [known._replace(wanted=broken)]
    colour(store, "red")
    store.run()
    assert [unit.bit_map for unit in store.units()] == [b""]
    assert "too deep" in store.dispatch.extending.problem


def test_without_a_count_nothing_is_believed(store):
    assert all(each.live_from != NONE for each in store.table.snapshot())
    store.table.count_changes(lambda: type(store.publisher._raise())(0, NONE, 0))
    store.subscribe("g", "colour = 'red'")
    assert [each.live_from for each in store.table.snapshot()] == [NONE]


@pytest.mark.parametrize("damage", [False, True])
def test_who_wants_a_tag_is_not_given_others_unless_nobody_can_tell(store, damage):
    for tag in ("TagA", "TagB", "", "TagA"):
        store.append(tag=tag)
    store.run()
    store.has_extensions = False
    store.start_dispatcher()
    begin = store.end
    for tag in ("TagB", "TagA"):
        store.append(tag=tag)
    store.run(begin)
    if damage:
        (store.paths.extensions / "T" / "0" / f"{0:020d}").unlink()
    result = pull(store, frozenset([TAG_A]))
    assert result == (ReadStatus.FOUND, 6, 5 if damage else 3)
    assert pull(store, frozenset([5]))[0] == (ReadStatus.FOUND if damage else ReadStatus.NO_MATCHED_MESSAGE)


def test_tags_in_units_of_many_files_are_read(store):
    for number in range(30):
        store.append(tag="TagA" if number % 5 == 0 else "TagB")
    store.run()
    assert len(list((store.paths.extensions / "T" / "0").iterdir())) == 2
    assert [pull(store, frozenset([TAG_A]), offset=at) for at in (0, 10, 20)] == [
        (ReadStatus.FOUND, end, 2) for end in (10, 20, 30)
    ]
