import pytest

from shmq.client.errors import MessageError, NoAnswerError, RefusedError, UnreachableError
from shmq.client.protocol import (
    Await,
    Begin,
    Conversation,
    Exchange,
    ask,
    demand,
    expired,
    read_answer,
    request_of,
)
from shmq.errors import PeerError
from shmq.wire.codes import Language, ResponseCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.consume_headers import OffsetResponseHeader
from shmq.wire.frame import FrameReader


def _exchange(code=10, *, oneway=False, deadline_s=100.0):
    return Exchange("h:1", request_of(code, oneway=oneway), deadline_s)


def _commands(written):
    return [decode(frame) for frame in FrameReader().feed(written)]


def test_answers_find_their_requests_in_any_order():
    conversation = Conversation()
    exchanges = [_exchange() for _ in range(3)]
    requests = [_commands(conversation.begin(exchange))[0] for exchange in exchanges]
    answers = [encode(request.reply(remark=str(at))) for at, request in enumerate(requests)]
    assert conversation.feed(b"".join(reversed(answers))) == b""
    assert [exchange.result().remark for exchange in exchanges] == ["0", "1", "2"]


def test_a_request_says_that_a_python_client_asks():
    (request,) = _commands(Conversation().begin(_exchange()))
    assert (request.language, request.is_response) == (Language.PYTHON, False)


def test_an_answer_that_nobody_waits_for_is_dropped():
    conversation = Conversation()
    exchange = _exchange()
    (request,) = _commands(conversation.begin(exchange))
    conversation.forget(exchange)
    assert conversation.feed(encode(request.reply())) == b""
    assert not exchange.is_done


def test_a_brokers_question_is_answered_with_not_supported():
    (answer,) = _commands(Conversation().feed(encode(Command(307, opaque=5))))
    assert (answer.code, answer.opaque, answer.is_response) == (
        ResponseCode.REQUEST_CODE_NOT_SUPPORTED,
        5,
        True,
    )


def test_a_brokers_notice_is_not_answered():
    assert Conversation().feed(encode(Command(40, flag=2))) == b""


def test_a_oneway_request_is_done_when_it_is_written():
    conversation = Conversation()
    exchange = _exchange(oneway=True)
    conversation.begin(exchange)
    assert not exchange.is_done
    conversation.written(exchange)
    assert exchange.result().code == ResponseCode.SUCCESS


def test_a_request_that_is_no_frame_ends_its_exchange():
    conversation = Conversation()
    exchange = Exchange("h:1", request_of(10, body=bytes(17 << 20)), 100.0)
    assert conversation.begin(exchange) == b""
    with pytest.raises(MessageError):
        exchange.result()


def test_a_lost_connection_ends_all_that_waits_on_it():
    conversation = Conversation()
    exchanges = [_exchange(), _exchange()]
    for exchange in exchanges:
        conversation.begin(exchange)
    conversation.fail(UnreachableError("lost"))
    for exchange in exchanges:
        with pytest.raises(UnreachableError):
            exchange.result()


def test_the_first_ending_of_an_exchange_counts():
    exchange = _exchange()
    exchange.complete(Command(0))
    exchange.fail(UnreachableError("later"))
    exchange.complete(Command(1))
    assert exchange.result().code == 0


def test_an_exchange_tells_its_end_once():
    told = []
    exchange = _exchange()
    exchange.watchers.append(lambda: told.append(1))
    exchange.complete(Command(0))
    exchange.fail(UnreachableError("later"))
    assert told == [1]


def test_only_what_is_late_expires():
    late, early = _exchange(deadline_s=5.0), _exchange(deadline_s=6.0)
    assert expired([late, early], 5.0) == [late]
    with pytest.raises(NoAnswerError, match="h:1 did not answer"):
        late.result()
    assert not early.is_done


def test_asking_begins_waits_and_returns_the_answer():
    flow = ask("h:1", request_of(10), 7.0)
    begin = next(flow)
    assert isinstance(begin, Begin)
    assert next(flow) == Await((begin.exchange,), 7.0)
    begin.exchange.complete(Command(0, remark="here"))
    with pytest.raises(StopIteration) as stop:
        next(flow)
    assert stop.value.value.remark == "here"


def test_only_a_success_satisfies_a_demand():
    exchange = _exchange()
    exchange.complete(Command(ResponseCode.NO_PERMISSION, remark="no"))
    with pytest.raises(RefusedError) as refused:
        demand(exchange)
    assert refused.value.code == ResponseCode.NO_PERMISSION


def test_an_answer_without_its_fields_is_the_peers_fault():
    with pytest.raises(PeerError, match="offset"):
        read_answer(OffsetResponseHeader, Command(0), "h:1")
