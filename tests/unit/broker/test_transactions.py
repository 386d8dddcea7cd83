"""Transactions: decided once, asked for in rounds, found again after a crash."""

import pytest

from shmq.broker.effects import DocumentName
from shmq.broker.transactions.table import EXPIRED_MAX
from shmq.errors import StoreError
from shmq.store import properties
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.message import decode_messages
from tests.support.transaction_bench import (
    CHECKS_MAX,
    COMMIT,
    GROUP,
    INTERVAL_MS,
    ROLLBACK,
    TIMEOUT_MS,
    UNKNOWN,
    Bench,
    Handle,
    saved_transactions,
)


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.run()
    made.join()
    return made


def decide(bench, handle, decision=COMMIT, **how):
    number = bench.end(handle, decision, **how)
    bench.run()
    return bench.answers[number]


def check(bench, rounds=1):
    """Let rounds pass; return what was asked."""
    for _ in range(rounds):
        bench.run(INTERVAL_MS)
    return bench.asked()


def test_a_commit_stores_the_message_where_it_is_bound_for_and_says_so(bench):
    handle = bench.half(b"Hello", TAGS="a")
    assert bench.delivered == []
    assert decide(bench, handle) == ResponseCode.SUCCESS
    (position, final) = next((at, each) for at, each in bench.records if each.topic == b"T")
    assert (final.queue_id, final.flag, final.sys_flag, final.body) == (0, 5, 1 | COMMIT, b"Hello")
    assert (final.prepared_position, final.born_timestamp_ms) == (handle.position, bench.now_ms)
    assert properties.parse(final.properties)["REAL_TOPIC"] == "T"
    assert bench.operations == ["0,"]
    assert position > handle.position


def test_a_rollback_delivers_nothing_and_says_so(bench):
    assert decide(bench, bench.half(), ROLLBACK) == ResponseCode.SUCCESS
    assert (bench.delivered, bench.operations) == ([], ["0,"])
    assert check(bench, 3) == []


def test_who_does_not_know_is_asked_later(bench):
    handle = bench.half()
    assert decide(bench, handle, UNKNOWN) == ResponseCode.SUCCESS
    assert (bench.delivered, bench.operations, len(check(bench))) == ([], [], 1)


@pytest.mark.parametrize("later", [COMMIT, ROLLBACK])
@pytest.mark.parametrize("first", [COMMIT, ROLLBACK])
def test_the_first_decision_stands(bench, first, later):
    handle = bench.half()
    decide(bench, handle, first)
    assert decide(bench, handle, later) == ResponseCode.SUCCESS
    assert len(bench.delivered) == (first == COMMIT)
    assert bench.operations == ["0,"]


def test_decisions_that_come_at_once_make_one(bench):
    handle = bench.half()
    numbers = [bench.end(handle, each) for each in (COMMIT, ROLLBACK, COMMIT)]
    bench.run()
    assert [bench.answers[number] for number in numbers] == [ResponseCode.SUCCESS] * 3
    assert len(bench.delivered) == 1
    assert bench.operations == ["0,"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"group": "other"}, ResponseCode.SYSTEM_ERROR),
        ({"offset": 1}, ResponseCode.SYSTEM_ERROR),
        ({"position": 1}, ResponseCode.SYSTEM_ERROR),
        ({"position": 1 << 40}, ResponseCode.SYSTEM_ERROR),
        ({"position": -5}, ResponseCode.SYSTEM_ERROR),
    ],
)
def test_a_decision_that_names_another_message_is_refused(bench, changes, code):
    handle = bench.half()
    number = bench.end(handle, **changes)
    bench.run()
    assert bench.answers[number] == code
    assert bench.delivered == []


def test_an_ordinary_message_cannot_be_committed(bench):
    decide(bench, bench.half())
    position = next(at for at, each in bench.records if each.topic == b"T")
    assert decide(bench, Handle(0, position)) == ResponseCode.SYSTEM_ERROR
    assert len(bench.delivered) == 1


def test_a_commit_that_cannot_be_stored_leaves_the_transaction_open(bench):
    handle = bench.half()
    number = bench.end(handle)
    waiting = bench.end(handle)
    bench.refuse()
    bench.collect()
    assert bench.answers[number] == ResponseCode.SERVICE_NOT_AVAILABLE
    bench.run()
    assert bench.answers[waiting] == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_a_rollback_that_cannot_be_stored_leaves_the_transaction_open(bench):
    handle = bench.half()
    number = bench.end(handle, ROLLBACK)
    bench.look()
    bench.refuse()
    bench.collect()
    assert bench.answers[number] == ResponseCode.SYSTEM_ERROR
    assert decide(bench, handle) == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_the_operation_of_a_commit_is_tried_until_it_is_stored(bench):
    handle = bench.half()
    bench.end(handle)
    bench.write()
    bench.collect()
    bench.look()
    bench.refuse()
    bench.collect()
    assert not bench.chore.is_roused, "it waits a moment"
    bench.run(1000)
    assert (len(bench.delivered), bench.operations) == (1, ["0,"])


def test_operations_that_wait_are_stored_as_one(bench):
    handles = [bench.half() for _ in range(5)]
    for handle in handles:
        bench.end(handle)
    bench.run()
    assert bench.operations == ["0,1,2,3,4,"]
    assert [text for text in bench.operations if len(text) > 5000] == []


def test_a_young_transaction_is_not_asked_for(bench):
    bench.half()
    bench.run(TIMEOUT_MS)
    assert bench.asked() == []
    assert len(check(bench)) == 1


def test_a_check_names_a_copy_and_shows_the_message(bench):
    first = bench.half(b"Hello")
    bench.run(INTERVAL_MS)
    ((channel, command),) = bench.checks
    (asked,) = bench.asked()
    assert channel.connection == 1
    assert (command.code, command.is_oneway) == (RequestCode.CHECK_TRANSACTION_STATE, True)
    assert asked.offset == 1
    assert command.fields["msgId"] == command.fields["transactionId"] == "U"
    (message,) = decode_messages(command.body)
    assert (message.topic, message.queue_id, message.body, message.flag) == ("T", 0, b"Hello", 5)
    assert (message.queue_offset, message.position) == asked
    assert (message.offset_message_id, message.store_timestamp_ms) == (
        command.fields["offsetMsgId"],
        bench.now_ms,
    )
    assert message.properties["TRANSACTION_CHECK_TIMES"] == "1"
    copy = bench.stored_half(1)
    assert (copy.root, copy.check_times) == (first.offset, 1)


def test_both_the_copy_and_the_first_half_message_can_be_decided_but_once(bench):
    first = bench.half()
    (asked,) = check(bench)
    assert decide(bench, first) == ResponseCode.SUCCESS
    assert decide(bench, asked, from_check=True) == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1
    assert bench.operations == ["0,1,"], "whoever reads it knows that the copy is closed too"


def test_the_producers_of_a_group_are_asked_in_turn(bench):
    bench.join(connection=2)
    bench.join("other", connection=3)
    bench.half()
    seen = []
    for _ in range(2):
        bench.run(INTERVAL_MS)
        seen += [channel.connection for channel, _ in bench.checks]
        bench.checks.clear()
    assert sorted(seen) == [1, 2]


def test_a_transaction_that_nobody_decides_is_given_up_and_may_still_be_decided(bench):
    first = bench.half(b"late")
    assert len(check(bench, CHECKS_MAX)) == CHECKS_MAX
    assert check(bench, 2) == []
    ((position, body),) = bench.expired
    assert body == b"late"
    assert saved_transactions(bench)["expired"]
    assert decide(bench, first) == decide(bench, first) == ResponseCode.SUCCESS
    assert bench.delivered == [b"late"]
    assert saved_transactions(bench)["expired"] == {}
    assert position


def test_nobody_online_counts_as_a_check(tmp_path):
    bench = Bench(tmp_path)
    bench.run()
    bench.half()
    check(bench, CHECKS_MAX + 1)
    assert len(bench.expired) == 1


def test_a_half_message_older_than_any_file_is_given_up(tmp_path):
    bench = Bench(tmp_path, file_reserved_hours=1)
    bench.run()
    bench.join()
    bench.half()
    bench.run(3_700_000)
    assert (bench.asked(), len(bench.expired)) == ([], 1)


def test_a_message_may_ask_for_a_longer_immunity(bench):
    first = bench.half(CHECK_IMMUNITY_TIME_IN_SECONDS="50")
    assert check(bench) == []
    assert bench.stored_half(1).root == first.offset
    assert bench.stored_half(1).check_times == 0
    (asked,) = check(bench)
    number = bench.end(first)
    assert bench.answers[number] == ResponseCode.ILLEGAL_OPERATION
    assert decide(bench, asked, from_check=True) == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_a_decision_waits_for_the_copy_that_is_on_its_way(bench):
    first = bench.half()
    bench.look(INTERVAL_MS)
    number = bench.end(first)
    assert bench.answers[number] is None
    bench.run()
    assert bench.answers[number] == ResponseCode.SUCCESS
    (asked,) = bench.asked()
    decide(bench, asked, from_check=True)
    assert len(bench.delivered) == 1
    assert bench.operations == ["0,1,"]


def test_copies_that_cannot_be_stored_are_tried_again(bench):
    bench.half()
    bench.look(INTERVAL_MS)
    bench.refuse()
    bench.collect()
    assert (bench.asked(), bench.chore.is_roused) == ([], False)
    bench.run(1000)
    assert len(bench.asked()) == 1


def test_the_offset_of_the_half_queue_follows_and_never_runs_ahead_of_the_disk(bench):
    bench.is_flushed = False
    handles = [bench.half() for _ in range(3)]
    decide(bench, handles[0])
    before = bench.offsets()
    check(bench)
    assert bench.table.half_offset == 3
    assert bench.offsets() == before
    bench.is_flushed = True
    bench.run()
    assert sorted(bench.offsets().values())[-2:] == [1, 3]


def test_resumed_a_transaction_is_asked_for_from_the_first_time_on(bench):
    first = bench.half()
    check(bench, CHECKS_MAX + 1)
    ((position, _),) = bench.expired
    number = bench.resume(position)
    bench.run()
    assert bench.answers[number] == ResponseCode.SUCCESS
    assert len(check(bench, CHECKS_MAX)) == CHECKS_MAX
    assert decide(bench, first) == ResponseCode.SUCCESS
    again = bench.resume(position)
    bench.run()
    assert bench.answers[again] == ResponseCode.SYSTEM_ERROR, "it is decided"
    assert len(bench.delivered) == 1


def test_what_is_no_half_message_cannot_be_resumed(bench):
    number = bench.resume(1 << 40)
    assert bench.answers[number] == ResponseCode.SYSTEM_ERROR


# A new conductor.


def test_decisions_wait_until_a_new_conductor_knows_all(bench):
    first = bench.half()
    bench.end(first)
    bench.kill_conductor()
    number = bench.end(first)
    bench.look()
    assert bench.answers[number] is None, "the dead one's commit is still on its way"
    bench.run()
    assert bench.answers[number] == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_a_final_record_without_operation_gets_it(bench):
    first = bench.half()
    bench.end(first)
    bench.write()
    bench.kill_conductor()
    bench.run()
    assert bench.operations == ["0,"]
    assert decide(bench, first) == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_a_final_record_is_found_again_until_its_operation_is_stored(bench):
    first = bench.half()
    bench.end(first)
    bench.write()
    saved = bench.offsets()
    for _ in range(2):
        bench.kill_conductor()
        while not bench.table.is_ready:
            bench.look()
        bench.look(5000)
        assert len(bench.ring) == 1
        bench.kill_all(saved)
    bench.run()
    assert bench.operations == ["0,"]
    decide(bench, first)
    assert len(bench.delivered) == 1


def test_a_commit_waits_while_it_cannot_be_noted_for_a_successor(bench):
    first = bench.half()
    bench.is_disk_full = True
    bench.end(first)
    bench.run()
    assert bench.delivered == []
    bench.kill_conductor()
    bench.is_disk_full = False
    bench.run()
    assert decide(bench, first) == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_a_commit_that_waited_for_its_note_goes_on(bench):
    first = bench.half()
    bench.is_disk_full = True
    answer = bench.end(first)
    bench.run()
    assert bench.answers[answer] is None
    bench.is_disk_full = False
    bench.run()
    assert bench.answers[answer] == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1


def test_a_rollback_of_what_was_given_up_waits_until_that_is_forgotten_on_disk(bench):
    first = bench.half()
    check(bench, CHECKS_MAX + 2)
    bench.is_disk_full = True
    answer = bench.end(first, ROLLBACK)
    bench.run()
    assert bench.answers[answer] is None
    bench.is_disk_full = False
    bench.run()
    assert bench.answers[answer] == ResponseCode.SUCCESS
    bench.kill_conductor()
    bench.run()
    assert decide(bench, first) == ResponseCode.SUCCESS
    assert bench.delivered == []


def test_where_nothing_is_under_way_no_log_is_searched(bench):
    first = bench.half()
    decide(bench, first)
    assert saved_transactions(bench)["settledPosition"] >= 0
    bench.look(5000)
    assert saved_transactions(bench)["settledPosition"] == -1


def test_a_new_conductor_finds_open_copies_and_closed_ones(bench):
    handles = [bench.half(b"%d" % number) for number in range(4)]
    decide(bench, handles[0])
    asked = check(bench)
    decide(bench, asked[0], from_check=True)
    bench.kill_conductor()
    bench.run()
    bench.join()
    for handle in (*handles[:2], asked[0], handles[2], asked[1]):
        decide(bench, handle, from_check=True)
    assert sorted(bench.delivered) == [b"0", b"1", b"2"]
    assert len(check(bench)) == 1


def test_a_copy_that_was_stored_before_the_offset_moved_stands_for_its_original(bench):
    first = bench.half()
    bench.look(INTERVAL_MS)
    bench.write()
    bench.kill_conductor()
    bench.join()
    bench.run()
    assert len(check(bench)) == 1, "not the original as well"
    decide(bench, first)
    assert len(bench.delivered) == 1
    assert check(bench, 2) == []


def test_a_given_up_transaction_is_remembered(bench):
    first = bench.half()
    check(bench, CHECKS_MAX + 1)
    bench.kill_conductor()
    bench.run()
    assert decide(bench, first) == decide(bench, first) == ResponseCode.SUCCESS
    assert len(bench.delivered) == 1
    bench.kill_conductor()
    bench.run()
    decide(bench, first)
    assert len(bench.delivered) == 1


def test_a_resumed_transaction_is_open_after_a_crash(bench):
    first = bench.half()
    check(bench, CHECKS_MAX + 1)
    bench.resume(bench.expired[0][0])
    bench.write()
    bench.kill_conductor()
    bench.join()
    bench.run()
    assert len(check(bench)) == 1
    decide(bench, first)
    assert len(bench.delivered) == 1


def test_rocketmqs_operations_are_understood(bench):
    for _ in range(3):
        bench.half()
    bench.small.append("RMQ_SYS_TRANS_OP_HALF_TOPIC", body=b"0,x,2,", properties=b"TAGS\x01d\x02")
    bench.small.append("RMQ_SYS_TRANS_OP_HALF_TOPIC", body=b"1,", properties=b"TAGS\x01other\x02")
    bench.kill_conductor()
    bench.run()
    assert [bench.table.is_open(root) for root in range(3)] == [False, True, False]


def test_offsets_beyond_what_the_log_has_kept_are_taken_back(bench):
    bench.half()
    for slot in bench.table.places:
        bench.small.state.offsets.commit("CID_RMQ_SYS_TRANS", slot, 77)
    bench.kill_conductor()
    bench.run()
    assert (bench.table.half_offset, bench.table.operation_offset) == (1, 0)


@pytest.mark.parametrize(
    "document", [{"expired": {"x": 1}}, {"expired": {"1": "y"}}, {"settledPosition": "z"}, []]
)
def test_a_damaged_document_is_refused(bench, document):
    with pytest.raises(StoreError, match=DocumentName.TRANSACTIONS):
        bench.table.load(document)


def test_only_so_many_are_remembered_of_those_given_up(bench):
    for root in range(EXPIRED_MAX + 5):
        bench.table.give_up(root, root)
    assert len(bench.table.expired) == EXPIRED_MAX
    bench.table.forget_expired(EXPIRED_MAX)
    assert len(bench.table.expired) == 5
    assert GROUP
