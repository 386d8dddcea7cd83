"""Reading a store as data against a slow reading in plain Python."""

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.errors import DamagedLogError
from shmq.store import properties
from shmq.store.scanning import scan
from tests.support.hand_log import HandLog, new_record
from tests.support.plain_record import (
    I64,
    NAMES,
    PAIRS,
    RECORDS,
    VALUES,
    java_string_hash,
    read_log_plainly,
)
from tests.support.small_store import SmallStore

FILE_BYTES = st.sampled_from([2048, 2500, 4096])
LOGS = st.tuples(FILE_BYTES, st.lists(st.tuples(RECORDS, I64, I64), max_size=12))


def written(root, log, *, times_rise=False):
    """Write a log; return its records, read plainly."""
    file_bytes, records = log
    hand = HandLog(file_bytes)
    times = [store_ms for _, _, store_ms in records]
    for (new, queue_offset, _), store_ms in zip(records, sorted(times) if times_rise else times, strict=True):
        hand.append(new, queue_offset, store_ms)
    hand.write(root)
    return read_log_plainly(hand.files)


def positions(batches):
    return [position for batch in batches for position in batch.rows["position"].tolist()]


@settings(max_examples=80, deadline=None)
@given(LOGS, st.integers(1, 5))
def test_any_log_scans_as_it_reads(log, batch_messages):
    with tempfile.TemporaryDirectory() as folder:
        plain = iter(written(Path(folder), log))
        for batch in scan(folder, batch_messages=batch_messages):
            assert 1 <= len(batch) <= batch_messages
            for index, row in enumerate(batch.records):
                expected = next(plain)
                at = expected.position - batch.start
                assert 0 <= at < len(batch.log) == log[0]
                assert [int(row[name]) for name in batch.records.dtype.names] == [
                    *(expected.position, expected.queue_offset, expected.store_ms, expected.born_ms),
                    *(expected.prepared_position, java_string_hash(expected.pairs.get("TAGS", ""))),
                    *(expected.size, row["topic_id"], expected.queue_id, expected.flag, expected.sys_flag),
                    *(expected.reconsume_times, expected.crc, at + expected.body_at, len(expected.body)),
                    *(at + expected.topic_at, len(expected.topic)),
                    *(at + expected.properties_at, len(expected.properties)),
                ]
                assert batch.body(index) == expected.body
                assert batch.topic(index) == expected.topic.decode("utf-8", "replace")
                assert batch.properties(index) == expected.pairs
                assert batch.record(index)[expected.body_at :][: len(expected.body)] == expected.body
        assert next(plain, None) is None


FEW = st.builds(
    lambda new, topic, queue_id, kind, pairs: replace(
        new, topic=topic, queue_id=queue_id, sys_flag=kind, properties=properties.join(pairs)
    ),
    RECORDS,
    st.sampled_from([b"A", b"AB", "Ü".encode()]),
    st.integers(0, 1),
    st.sampled_from([0, 4, 8, 12]),
    st.fixed_dictionaries(
        {},
        optional={
            "TAGS": st.sampled_from(["a", "b", "ab"]),
            "KEYS": st.sampled_from(["k", "k l", " l  k", "kl"]),
            "UNIQ_KEY": st.sampled_from(["u", "k"]),
        },
    ),
)


def maybe(values):
    return st.one_of(st.none(), values)


QUESTIONS = st.fixed_dictionaries(
    {
        "topic": maybe(st.sampled_from(["A", "AB", "Ü", "none"])),
        "queue_id": maybe(st.integers(0, 1)),
        "begin": maybe(st.integers(0, 8000)),
        "end": maybe(st.integers(0, 8000)),
        "begin_offset": maybe(st.integers(0, 12)),
        "end_offset": maybe(st.integers(0, 12)),
        "since_ms": maybe(st.integers(0, 12)),
        "until_ms": maybe(st.integers(0, 12)),
        "tag": maybe(st.sampled_from(["a", "ab", ["a", "b"]])),
        "key": maybe(st.sampled_from(["k", "l", "u"])),
    }
)


def is_asked_for(plain, asked):
    def lies(value, begin, end):
        return (asked[begin] is None or value >= asked[begin]) and (asked[end] is None or value < asked[end])

    keys = [*plain.pairs.get("KEYS", "").split(" "), plain.pairs.get("UNIQ_KEY")]
    tags = [asked["tag"]] if isinstance(asked["tag"], str) else asked["tag"]
    is_of_a_queue = asked["topic"] is not None and asked["queue_id"] is not None
    return (
        (asked["topic"] is None or plain.topic.decode() == asked["topic"])
        and (asked["queue_id"] is None or plain.queue_id == asked["queue_id"])
        and not (is_of_a_queue and plain.sys_flag & 0xC in (4, 12))
        and lies(plain.position, "begin", "end")
        and lies(plain.queue_offset, "begin_offset", "end_offset")
        and lies(plain.store_ms, "since_ms", "until_ms")
        and (tags is None or plain.pairs.get("TAGS") in tags)
        and (asked["key"] is None or asked["key"] in keys)
    )


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(
        FILE_BYTES, st.lists(st.tuples(FEW, st.integers(0, 12), st.integers(0, 12)), min_size=5, max_size=20)
    ),
    QUESTIONS,
)
def test_any_question_is_answered_as_by_looking_at_every_record(log, asked):
    with tempfile.TemporaryDirectory() as folder:
        plain = written(Path(folder), log, times_rise=True)
        found = positions(scan(folder, batch_messages=3, **asked))
        assert found == [each.position for each in plain if is_asked_for(each, asked)]


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([b"A", b"B"]),
        st.integers(0, 1),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([0, 4, 8, 12]),
        st.integers(1, 900),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(MESSAGES, QUESTIONS, st.integers(1, 7))
def test_a_queue_gives_what_the_log_has_of_it(messages, asked, batch_messages):
    asked = {**asked, "topic": "A", "queue_id": 1, "key": None}
    with tempfile.TemporaryDirectory() as folder:
        store = SmallStore(Path(folder))
        for number, (topic, queue_id, tag, sys_flag, body_bytes) in enumerate(messages):
            store.append(
                topic, queue_id, tag=tag, sys_flag=sys_flag, store_ms=number // 3, body=b"b" * body_bytes
            )
        store.run()
        store.files.close()
        by_queue = list(scan(folder, batch_messages=batch_messages, **asked))
        by_log = list(scan(folder, batch_messages=batch_messages, by_queue=False, **asked))
        assert positions(by_queue) == positions(by_log)
        assert [batch.rows.tobytes() for batch in by_queue] == [batch.rows.tobytes() for batch in by_log]


@settings(max_examples=150, deadline=None)
@given(
    LOGS, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_any_damage_is_told_or_makes_another_log_and_nothing_lies_outside_of_its_file(log, changes):
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), log)
        files = sorted((Path(folder) / "commitlog").iterdir())
        for where, value in changes if files else ():
            path = files[int(where * len(files))]
            content = bytearray(path.read_bytes())
            content[int(where * len(files) % 1 * len(content))] = value
            path.write_bytes(content)
        with suppress(DamagedLogError):
            for batch in scan(folder):
                for name in ("body", "topic", "properties"):
                    assert (batch.rows[f"{name}_at"] >= 88).all()
                    assert (batch.rows[f"{name}_bytes"] >= 0).all()
                    ends = batch.rows[f"{name}_at"].astype(np.int64) + batch.rows[f"{name}_bytes"]
                    begins = batch.rows["position"] - batch.start
                    assert (ends <= begins + batch.rows["record_bytes"]).all()
                    assert (ends <= len(batch.log)).all()


TEXTS = st.one_of(
    PAIRS.map(properties.join),
    st.lists(
        st.sampled_from(
            [b"a", b"\x01", b"\x02", b"TAGS", b"KEYS", b"UNIQ_KEY", b" ", "ü€😀".encode(), b"\xff"]
        ),
        max_size=40,
    ).map(b"".join),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(RECORDS, TEXTS), min_size=1, max_size=6))
def test_arrow_has_what_a_plain_reading_finds(records):
    with tempfile.TemporaryDirectory() as folder:
        log = HandLog(8192)
        for new, text in records:
            log.append(replace(new, properties=text), 7, 1000)
        log.write(Path(folder))
        plain = iter(read_log_plainly(log.files))
        for batch in scan(folder):
            arrow = batch.to_arrow()
            arrow.validate(full=True)
            columns = [
                arrow.column(name).to_pylist()
                for name in ("position", "topic", "unique_id", "tag", "keys", "properties", "body")
            ]
            for values in zip(*columns, strict=True):
                expected = next(plain)
                pairs = expected.pairs
                keys = [key for key in pairs.pop("KEYS", "").split(" ") if key]
                assert list(values) == [
                    *(expected.position, expected.topic.decode("utf-8", "replace")),
                    *(pairs.pop("UNIQ_KEY", None), pairs.pop("TAGS", None), keys, list(pairs.items())),
                    expected.body,
                ]
        assert next(plain, None) is None


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=40))
def test_arrow_keeps_all_properties_in_their_order(pairs):
    with tempfile.TemporaryDirectory() as folder:
        log = HandLog(16384)
        log.append(new_record(properties=properties.join(pairs)))
        log.write(Path(folder))
        (batch,) = scan(folder)
        others = [each for each in pairs.items() if each[0] not in {"TAGS", "KEYS", "UNIQ_KEY"}]
        assert batch.to_arrow(["properties"]).to_pylist() == [{"properties": others}]
