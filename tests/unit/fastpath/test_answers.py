import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.fastpath import answers
from shmq.memory.block import address_of
from shmq.wire.command import Command, Encoding, encode, encode_head

PLAIN = st.text(
    st.characters(min_codepoint=0x20, exclude_characters='"\\', exclude_categories=["Cs"]), max_size=40
)


def array(text):
    return np.frombuffer(text.encode() or b"\0", dtype=np.uint8)


def written(command, opaque, body_bytes=0):
    """An answer's head as the kernels write it; its fields come in the order of the command's."""
    remark = array(command.remark or "")
    remark_bytes = len((command.remark or "").encode())
    answer = answers.Answer(
        int(command.encoding),
        int(command.code),
        opaque,
        address_of(remark),
        remark_bytes,
        bool(command.fields),
    )
    room = np.full(4096, 0xFF, dtype=np.uint8)
    frame = address_of(room)
    at = answers.begin(frame, answer)
    names = sorted(command.fields) if command.encoding == Encoding.JSON else list(command.fields)
    for name in names:
        value = command.fields[name]
        name_array, name_bytes = array(name), len(name.encode())
        if isinstance(value, int):
            at = answers.put_number(at, int(command.encoding), address_of(name_array), name_bytes, value)
        else:
            text = array(value)
            at = answers.put_text(
                at,
                int(command.encoding),
                address_of(name_array),
                name_bytes,
                address_of(text),
                len(value.encode()),
            )
    size = answers.finish(frame, at, answer, body_bytes)
    assert set(room[size:].tolist()) == {0xFF}
    return room[:size].tobytes()


@settings(deadline=None)  # the first call compiles
@given(
    encoding=st.sampled_from(Encoding),
    code=st.integers(0, 32_000),
    opaque=st.integers(-(1 << 31), (1 << 31) - 1),
    remark=st.one_of(st.none(), PLAIN.filter(bool)),
    fields=st.dictionaries(
        st.text("abcXYZ_", min_size=1, max_size=12), st.one_of(PLAIN, st.integers(-1, 1 << 62)), max_size=5
    ),
    body_bytes=st.integers(0, 1 << 20),
)
def test_a_head_is_what_the_protocol_writes(encoding, code, opaque, remark, fields, body_bytes):
    command = Command(code=10, opaque=opaque, encoding=encoding)
    texts = {name: str(value) for name, value in fields.items()}
    expected = encode_head(command.reply(code, remark, texts), body_bytes)
    assert written(command.reply(code, remark, fields), opaque, body_bytes) == expected


def test_an_answer_without_anything_is_what_the_protocol_writes():
    for encoding in Encoding:
        reply = Command(code=15, opaque=3, encoding=encoding).reply()
        assert written(reply, 3) == encode(reply)


@settings(deadline=None)  # the first call compiles
@given(st.text(max_size=8))
def test_a_plain_text_is_one_that_json_holds_as_it_is(text):
    content = array(text)
    is_plain = answers.is_plain(address_of(content), len(text.encode()))
    assert is_plain == (not any(each < " " or each in '"\\' for each in text))
