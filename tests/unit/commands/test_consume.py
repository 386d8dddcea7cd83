import threading

import orjson
import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.flags import COMPRESSION_ZSTD, MESSAGE_COMPRESSED
from tests.support.fake_broker import FakeBroker

_PULL = RequestCode.PULL_MESSAGE


def _fill(broker, count=5):
    for at in range(count):
        broker.store("T", 0, b"%d" % at)


def test_from_the_beginning_all_messages_are_printed(shmq, broker):
    _fill(broker)
    result = shmq("consume", "T", "--from-beginning")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "0\n1\n2\n3\n4\n", "")


def test_an_empty_topic_prints_nothing(shmq):
    result = shmq("consume", "T", "--from-beginning")
    assert (result.exit_code, result.output) == (0, "")


def test_starting_at_the_end_without_following_says_what_to_do(shmq, broker):
    _fill(broker)
    result = shmq("consume", "T")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "--from-beginning" in result.stderr


def test_what_comes_after_the_start_is_not_printed(shmq, broker):
    _fill(broker, 2)

    def more_first(request):
        del broker.script[_PULL]
        _fill(broker, 1)
        return broker._pull(request)

    broker.script[_PULL] = more_first
    assert shmq("consume", "T", "--from-beginning").stdout == "0\n1\n"


def test_without_a_group_nothing_is_committed(shmq, broker):
    _fill(broker)
    shmq("consume", "T", "--from-beginning")
    assert broker.received(RequestCode.UPDATE_CONSUMER_OFFSET) == []
    assert broker.received(RequestCode.HEART_BEAT) == []


def test_a_group_goes_on_where_it_was(shmq, broker):
    _fill(broker)
    first = shmq("consume", "T", "--from-beginning", "--group", "G", "--count", "2")
    assert broker.committed["G", "T", 0] == 2
    second = shmq("consume", "T", "--group", "G")
    third = shmq("consume", "T", "--group", "G")
    assert [each.stdout for each in (first, second, third)] == ["0\n1\n", "2\n3\n4\n", ""]


def test_a_group_has_its_place_in_queues_it_printed_nothing_of(shmq, broker):
    for queue_id in (0, 1):
        broker.store("T", queue_id, b"%d" % queue_id)
    first = shmq("consume", "T", "--from-beginning", "--group", "G", "--count", "1")
    rest = shmq("consume", "T", "--group", "G")
    assert sorted(first.stdout + rest.stdout) == ["\n", "\n", "0", "1"]


def test_a_group_that_found_nothing_gets_what_comes_next(shmq, broker):
    _fill(broker, 2)
    shmq("consume", "T", "--group", "G")
    broker.store("T", 0, b"next")
    assert shmq("consume", "T", "--group", "G").stdout == "next\n"


def test_following_prints_what_comes_until_there_is_enough(shmq, broker):
    def fill_later():
        broker.wait_received(_PULL, 2)
        _fill(broker, 3)

    thread = threading.Thread(target=fill_later)
    thread.start()
    result = shmq("consume", "T", "--follow", "--count", "3")
    thread.join()
    assert (result.exit_code, result.stdout) == (0, "0\n1\n2\n")


def test_following_waits_for_a_topic_that_is_not_there_yet(shmq, broker):
    def make_later():
        broker.wait_received(RequestCode.GET_ROUTEINFO_BY_TOPIC, 5)  # one poll looks twice
        broker.store("Later", 0, b"first")
        broker.topics["Later"] = 1

    thread = threading.Thread(target=make_later)
    thread.start()
    result = shmq("consume", "Later", "--follow", "--count", "1")
    thread.join()
    assert (result.exit_code, result.stdout) == (0, "first\n")
    assert result.stderr.startswith("waiting: the topic Later has no route")
    assert result.stderr.count("\n") == 1


def test_following_outlasts_a_lost_connection(shmq, broker):
    def hang_up():
        broker.wait_received(_PULL, 2)
        broker.drop_connections()
        _fill(broker, 1)

    thread = threading.Thread(target=hang_up)
    thread.start()
    result = shmq("consume", "T", "--follow", "--count", "1")
    thread.join()
    assert (result.exit_code, result.stdout) == (0, "0\n")


def test_only_wanted_tags_are_printed(shmq, broker):
    for tag in ("A", "B", "C"):
        broker.store("T", 0, tag.encode(), {"TAGS": tag})
    assert shmq("consume", "T", "--from-beginning", "-t", "A || C").stdout == "A\nC\n"


def test_json_tells_all_about_a_message(shmq, broker):
    broker.store("T", 1, b"hello", {"TAGS": "A", "KEYS": "k1 k2", "UNIQ_KEY": "ID"})
    told = orjson.loads(shmq("consume", "T", "--from-beginning", "--format", "json").stdout)
    assert (told["topic"], told["broker"], told["queue"], told["offset"]) == ("T", "fake", 1, 0)
    assert (told["body"], told["id"], told["tag"], told["keys"]) == ("hello", "ID", "A", ["k1", "k2"])
    assert told["properties"]["TAGS"] == "A"
    assert 0 < told["born_ms"] <= told["stored_ms"]


def test_json_of_a_body_that_is_no_text_is_base64(shmq, broker):
    broker.store("T", 0, b"\xff\x00")
    told = orjson.loads(shmq("consume", "T", "--from-beginning", "--format", "json").stdout)
    assert told["body_base64"] == "/wA="
    assert "body" not in told


def test_a_body_that_cannot_be_decompressed_is_told(shmq, broker):
    broker.store("T", 0, b"frame", sys_flag=MESSAGE_COMPRESSED | COMPRESSION_ZSTD)
    line = shmq("consume", "T", "--from-beginning")
    assert line.stdout == "frame\n"
    assert "zstd" in line.stderr
    told = orjson.loads(shmq("consume", "T", "--from-beginning", "--format", "json").stdout)
    assert told["still_compressed"] == "zstd"


def test_a_topic_without_route_is_one_line(shmq):
    result = shmq("consume", "Nowhere")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the topic Nowhere has no route")


def test_a_name_server_that_is_down_is_one_line(shmq):
    with FakeBroker() as gone:
        pass
    result = shmq("consume", "T", namesrv=gone.address)
    assert result.exit_code == 1
    assert result.stderr == f"error: cannot connect to {gone.address}: Connection refused\n"


@pytest.mark.parametrize("options", [["--from-beginning"], ["--follow"]])
def test_a_refusal_for_good_is_one_line(shmq, broker, options):
    _fill(broker)
    broker.script[_PULL] = lambda request: request.reply(ResponseCode.NO_PERMISSION, "not yours")
    result = shmq("consume", "T", *options)
    assert result.exit_code == 1
    assert result.stderr == f"error: {broker.address} answered NO_PERMISSION (16): not yours\n"


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_a_count_is_a_positive_number(shmq, count):
    assert shmq("consume", "T", "--count", count).exit_code == 2
