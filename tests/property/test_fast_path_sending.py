"""The fast path of sends against the Python path: the same answers, the same bytes in the log, or nothing at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.fastpath.outcomes import DONE, SLOW
from shmq.wire.batch import BatchEntry, join_batch
from tests.golden.test_wire_frames import GOLDEN
from tests.support.fast_senders import SENDS, TOPICS, V4, V6, FastSender, PythonSender
from tests.support.frames import BINARY, JSON, binary_header, damaged, frame_of, json_headers

KEY = "7F0000010001000000000000000000AA"
INT32 = st.integers(-(1 << 31), (1 << 31) - 1).map(str)
ODD_NUMBERS = st.sampled_from(
    ["", "+5", "-0", "007", "0x1", "1.5", " 1", "2147483648", "99999999999999999999", "true"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.one_of(
    st.sampled_from(
        ["TAGS", "KEYS", "a", "INNER", "TIMER", "PGROUP", "UNIQ_KEYS", "é", "WAITING", "__CRC32#"]
    ),
    st.text("abcDELAY_", min_size=1, max_size=20),
)
SPECIAL_NAMES = st.sampled_from(
    [
        *(
            "DELAY",
            "POP_CK",
            "CLUSTER",
            "TRAN_MSG",
            "TRACE_ON",
            "INNER_NUM",
            "MSG_REGION",
            "UNIQ_KEY",
            "WAIT",
        ),
        *("TIMER_OUT_MS", "TIMER_DELIVER_MS", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "REAL_TOPIC", ""),
    ]
)
VALUES = st.one_of(
    st.sampled_from(["true", "FALSE", "1", "0", "x", KEY]),
    TEXTS.filter(lambda text: not set(text) & set("\x00\x01\x02")),
)


@pytest.fixture(scope="module")
def senders(tmp_path_factory):
    fast = FastSender(tmp_path_factory.mktemp("fast"))
    return fast, PythonSender(tmp_path_factory.mktemp("python"))


@st.composite
def properties(draw, *, is_batch=False):
    """The text of properties: mostly plain, in any order."""
    pairs = draw(st.dictionaries(NAMES, VALUES.filter(bool), max_size=6))
    if not is_batch or draw(st.booleans()):
        pairs["UNIQ_KEY"] = draw(st.one_of(st.just(KEY), st.text("09AF,", min_size=1, max_size=70)))
    if draw(st.booleans()):
        pairs["WAIT"] = draw(st.sampled_from(["true", "True", "false", "x"]))
    items = draw(st.permutations(list(pairs.items())))
    if draw(st.integers(0, 9)) == 0:
        items.append((draw(SPECIAL_NAMES), draw(VALUES)))
    text = "".join(f"{name}\x01{value}\x02" for name, value in items)
    if draw(st.integers(0, 9)) == 0:
        text = draw(
            st.sampled_from(
                [text[:-1], text + "\x02", text + "x", "\x02" + text, text.replace("\x01", "", 1), ""]
            )
        )
    return text


def is_plain(text):
    """Whether a text of properties is one that the fast path takes."""
    names = [part.partition("\x01")[0] for part in text.split("\x02") if part]
    special = (
        "DELAY",
        "POP_CK",
        "CLUSTER",
        "TRAN_MSG",
        "TRACE_ON",
        "INNER_NU",
        "MSG_REGI",
        "TIMER_OU",
        "TIMER_DE",
    )
    key = dict(part.partition("\x01")[::2] for part in text.split("\x02")).get("UNIQ_KEY", "")
    return (
        len(set(names)) == len(names)
        and not any(name[:8] in special for name in names)
        and all(
            all(part.partition("\x01")) and "\x00" not in part
            for part in text.removesuffix("\x02").split("\x02")
            if text
        )
        and all(part.count("\x01") == 1 for part in text.removesuffix("\x02").split("\x02") if text)
        and (
            not key or (len(key) <= 64 and key.isascii() and key.isprintable() and not set(key) & set('"\\'))
        )
    )


@st.composite
def fields(draw, text, *, is_batch, topic=None):
    """The one-letter fields of a send: mostly plain."""
    given = {
        "a": draw(TEXTS.filter(bool)),
        "b": topic or draw(st.sampled_from([*TOPICS, "Unknown", ""])),
        "c": draw(st.sampled_from(["TBW102", "x"])),
        "d": draw(INT32),
        "e": draw(st.integers(-1, 4).map(str)),
        "f": draw(st.one_of(st.sampled_from(["0", "1", "16", "48"]), INT32)),
        "g": draw(st.integers(-(1 << 40), 1 << 50).map(str)),
        "h": draw(INT32),
        "i": text,
        "j": draw(st.sampled_from(["0", "3", "-1"])),
        "k": draw(st.sampled_from(["true", "false", "maybe"])),
        "l": draw(st.sampled_from(["16", "0"])),
        "m": draw(st.sampled_from(["true", "TRUE"] if is_batch else ["false", "x"])),
        "n": "broker-a",
        "ns": draw(st.sampled_from(["x", "false"])),
    }
    for name in draw(st.sets(st.sampled_from("jklmn" if not is_batch else "jkln"), max_size=3)):
        del given[name]
    if draw(st.integers(0, 7)) == 0:
        given[draw(st.sampled_from("degfhjl"))] = draw(ODD_NUMBERS)
    if draw(st.integers(0, 15)) == 0:
        given.pop(draw(st.sampled_from("abcdefghi")), None)
    items = list(given.items())
    if draw(st.integers(0, 9)) == 0:
        items.append(draw(st.sampled_from(items)))
    return items


@st.composite
def batches(draw):
    """The body of a batch."""
    entry = st.builds(
        BatchEntry, st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=40), st.binary(max_size=20)
    )
    return join_batch(draw(st.lists(entry, min_size=1, max_size=5)))


@st.composite
def headers(draw, members, named, encoding):
    if encoding == JSON:
        return draw(json_headers(members, named))
    pairs = [(name.encode(), value.encode()) for name, value in draw(st.permutations(named))]
    return binary_header(
        members[0][1], pairs, opaque=members[1][1], flag=members[2][1], remark=draw(st.binary(max_size=3))
    )


@st.composite
def frames(draw):
    """Any send: single or batch, plain or odd, in either encoding."""
    is_batch = draw(st.integers(0, 3)) == 0
    text = draw(properties(is_batch=is_batch))
    named = draw(fields(text, is_batch=is_batch))
    body = draw(batches()) if is_batch else draw(st.binary(min_size=0, max_size=60))
    if is_batch and draw(st.integers(0, 5)) == 0:
        body = draw(damaged(body))
    members = [
        ("code", draw(st.sampled_from([int(code) for code in SENDS]))),
        ("opaque", draw(st.integers(-(1 << 31), (1 << 31) - 1))),
        ("flag", draw(st.sampled_from([0, 0, 0, 2, 1]))),
        ("language", "JAVA"),
    ]
    encoding = draw(st.sampled_from([JSON, BINARY]))
    header = draw(headers(members, named, encoding))
    if draw(st.integers(0, 4)) == 0:
        header = draw(damaged(header))
    return frame_of(header, body, encoding)


def send_to_both(senders, frame, peer=V4):
    """Send a frame by both paths if the fast one takes it; whether it does."""
    fast, python = senders
    fast.introduce(peer)
    begin = fast.appended
    outcome = fast.send(frame)
    if outcome == SLOW:
        fast.turn()
        assert fast.appended == begin, "what is left to Python leaves nothing behind"
        assert fast.take() == []
        return False
    assert outcome == DONE
    assert python.send(frame, peer), "what the fast path stores, Python stores too"
    fast.turn()
    python.turn()
    assert fast.appended == python.appended > begin
    assert fast.take() == python.take()
    assert fast.log_between(begin, fast.appended) == python.log_between(begin, python.appended)
    assert fast.tables.in_flight == 0
    return True


@settings(max_examples=200, deadline=None)  # the first call compiles
@given(frames(), st.sampled_from([V4, V6]))
def test_any_send_is_served_alike_or_left(senders, frame, peer):
    send_to_both(senders, frame, peer)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["send_json", "send_binary"]))
def test_a_damaged_golden_frame_is_served_alike_or_left(senders, data, name):
    golden = GOLDEN[name]
    header = golden[8 : 8 + int.from_bytes(golden[5:8])]
    send_to_both(senders, frame_of(data.draw(damaged(header)), b"Hello", golden[4]))


@settings(max_examples=100, deadline=None)
@given(
    st.data(),
    properties().filter(lambda text: is_plain(text) and "UNIQ_KEY" in text),
    st.sampled_from([JSON, BINARY]),
    st.sampled_from([V4, V6]),
    st.integers(0, 3),
)
def test_a_plain_send_is_served(senders, data, text, encoding, peer, queue_id):
    named = {
        "a": "PG",
        "b": "T",
        "c": "TBW102",
        "d": "4",
        "e": str(queue_id),
        "f": "0",
        "g": "1700000000000",
        "h": "0",
        "i": text,
        "j": "0",
        "k": "false",
        "m": "false",
        "n": "broker-a",
    }
    members = [
        ("code", 310),
        ("opaque", data.draw(st.integers(0, 1 << 20))),
        ("flag", data.draw(st.sampled_from([0, 2]))),
    ]
    header = data.draw(headers(members, list(named.items()), encoding))
    assert send_to_both(
        senders, frame_of(header, data.draw(st.binary(min_size=1, max_size=300)), encoding), peer
    )


@settings(max_examples=100, deadline=None)
@given(
    st.data(),
    properties(is_batch=True).filter(is_plain),
    batches(),
    st.sampled_from([JSON, BINARY]),
    st.sampled_from([V4, V6]),
)
def test_a_plain_batch_is_served(senders, data, text, body, encoding, peer):
    named = [
        *(
            ("a", "PG"),
            ("b", "Many"),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "3"),
            ("f", "0"),
            ("g", "1"),
            ("h", "0"),
        ),
        *(("i", text), ("m", "true")),
    ]
    if not text:
        named = [pair for pair in named if pair[0] != "i"]
    header = data.draw(headers([("code", 320), ("opaque", 5), ("flag", 0)], named, encoding))
    assert send_to_both(senders, frame_of(header, body, encoding), peer)


@pytest.mark.parametrize("name", ["send_json", "send_binary"])
def test_golden_frames_are_served(senders, name):
    assert send_to_both(senders, GOLDEN[name])
