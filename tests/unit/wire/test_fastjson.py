import pytest

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.codes import ResponseCode


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"brokerAddrs":{0:"h:1",-1:"h:2"}}', {"brokerAddrs": {"0": "h:1", "-1": "h:2"}}),
        (b'{"t":{{"queueId":0,"b":"x"}:{"n":1}}}', {"t": {'{"b":"x","queueId":0}': {"n": 1}}}),
        (b'{name:"x",$y:null}', {"name": "x", "$y": None}),
        (b'{0:"a"}\n', {"0": "a"}),
        (b" { 0 : [ 1 , true , false , null , -1.5e3 ] } ", {"0": [1, True, False, None, -1500.0]}),
        (b'{0:"\\u00e4\\n\x01"}', {"0": "\u00e4\n\x01"}),
        (b'{0:"\\ud800"}', {"0": "\ufffd"}),
        (b"{0:{},1:[]}", {"0": {}, "1": []}),
        (b'"\xff"', "\ufffd"),
        (b"{0:123456789012345678901234567890}", {"0": 1.2345678901234568e29}),
    ],
)
def test_what_fastjson_writes_is_read(body, value):
    assert fastjson.loads(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{0}",
        b"{0:}",
        b"{0:1,}",
        b"{0:1 2:3}",
        b"[1,",
        b"{0:1}x",
        b'{"a',
        b"{[0]:1}",
        b"{0:tru}",
        b"{0:" * 1000,
        b"[" * 100_000,
        b"{" * 100_000,
        b"{0:" + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_not_json_is_an_invalid_parameter(body):
    with pytest.raises(RequestError) as caught:
        fastjson.loads(body)
    assert caught.value.code == ResponseCode.INVALID_PARAMETER


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":{"x":1},"b":{"$ref":"$.a"}}', {"a": {"x": 1}, "b": {"x": 1}}),
        (b'{"l":[{"x":1},{"$ref":"$.l[0]"}]}', {"l": [{"x": 1}, {"x": 1}]}),
        (b'{0:{"x":1},"b":{"$ref":"$[0]"}}', {"0": {"x": 1}, "b": {"x": 1}}),
        (b'{"%R-a.b":{"x":1},"c":{"$ref":"$.\\\\%R\\\\-a\\\\.b"}}', {"%R-a.b": {"x": 1}, "c": {"x": 1}}),
        (b'{"a b":{"x":1},"c":{"$ref":"$[\'a b\']"}}', {"a b": {"x": 1}, "c": {"x": 1}}),
        (b'{"a":1,"b":{"$ref":"$.a"}}', {"a": 1, "b": 1}),
        (
            b'{"b":{"$ref":"$.c"},"c":{"$ref":"$.d"},"d":{"x":1}}',
            {"b": {"x": 1}, "c": {"x": 1}, "d": {"x": 1}},
        ),
    ],
)
def test_a_reference_is_followed(body, value):
    assert fastjson.loads(body) == value


@pytest.mark.parametrize(
    "path", ["$.none", "$.a[7]", "$.a.b.c", "$!", "..", "@", "", "$.l[99999999999999999999]"]
)
def test_a_reference_to_nowhere_is_null(path):
    body = fastjson.dumps({"a": {"b": 1}, "l": [], "r": {"$ref": path}})
    assert fastjson.loads(body)["r"] is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"$ref":"$"}}',
        b'{"a":{"$ref":"$.a"}}',
        b'{"a":{"$ref":"$.b"},"b":{"$ref":"$.a"}}',
        b'{"a":{"x":{"$ref":"$.b"}},"b":{"y":{"$ref":"$.a"}}}',
    ],
)
def test_references_in_a_circle_end_in_null(body):
    read = fastjson.loads(body)
    assert b"null" in fastjson.dumps(read)


def test_references_that_double_at_each_step_stay_small():
    members = {f"n{step}": [{"$ref": f"$.n{step + 1}"}] * 2 for step in range(40)}
    read = fastjson.loads(fastjson.dumps(members | {"n40": [1]}))
    leaf = read["n0"]
    for _ in range(40):
        leaf = leaf[1]
    assert leaf == [1]


def test_deep_nesting_beside_a_reference_is_refused():
    with pytest.raises(RequestError, match="nested"):
        fastjson.loads(b'{"$ref":' * 900 + b"1" + b"}" * 900)


def test_keys_that_are_numbers_are_written_bare_and_in_order():
    written = fastjson.dumps({"t": fastjson.number_keyed({10: "b", 2: "a"}), "e": fastjson.number_keyed({})})
    assert written == b'{"e":{},"t":{2:"a",10:"b"}}'


def test_keys_that_are_objects_are_written_as_objects():
    written = fastjson.dumps(
        {"t": fastjson.object_keyed([({"q": 1, "b": "x"}, 5), ({"q": 0, "b": "x"}, [])])}
    )
    assert written == b'{"t":{{"b":"x","q":0}:[],{"b":"x","q":1}:5}}'
    assert fastjson.loads(written) == {"t": {'{"b":"x","q":0}': [], '{"b":"x","q":1}': 5}}


def test_members_are_written_sorted_and_without_blanks():
    assert (
        fastjson.dumps({"b": [1, None], "a": {"d": 0.0, "c": "x"}}) == b'{"a":{"c":"x","d":0.0},"b":[1,null]}'
    )
