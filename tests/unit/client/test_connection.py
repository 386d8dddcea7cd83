import socket
import threading
from time import monotonic

import pytest

from shmq.client.connection import BlockingTransport
from shmq.client.errors import NoAnswerError, UnreachableError
from shmq.client.protocol import Await, Begin, Exchange, ask, request_of
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from tests.support.fake_broker import DEADLINE_S, FakeBroker

_QUESTION = 9999


@pytest.fixture
def transport():
    opened = BlockingTransport()
    yield opened
    opened.close()


def _ask(broker, code=_QUESTION, *, within_s=DEADLINE_S, body=b""):
    return ask(broker.address, request_of(code, body=body), monotonic() + within_s)


def _never(broker):
    broker.script[_QUESTION] = lambda _: None


def test_a_request_gets_its_answer(transport, broker):
    assert transport.run(_ask(broker)).code == ResponseCode.REQUEST_CODE_NOT_SUPPORTED


def test_requests_to_one_peer_share_a_connection(transport, broker):
    def both():
        first, second = (Exchange(broker.address, request_of(_QUESTION), monotonic() + 9) for _ in range(2))
        yield Begin(first)
        yield Begin(second)
        while not (first.is_done and second.is_done):
            yield Await(tuple(each for each in (first, second) if not each.is_done), monotonic() + 9)
        return first.connection == second.connection > 0

    assert transport.run(both())


def test_a_peer_that_is_not_there_cannot_be_reached(transport):
    with FakeBroker() as gone:
        pass
    with pytest.raises(UnreachableError, match="refused"):
        transport.run(_ask(gone))


def test_no_answer_in_time_is_an_error(transport, broker):
    _never(broker)
    with pytest.raises(NoAnswerError):
        transport.run(_ask(broker, within_s=0.05))


def test_a_connection_that_has_gone_silent_is_replaced(transport, broker):
    _never(broker)
    unanswered = Exchange(broker.address, request_of(_QUESTION), monotonic() + 0.05)
    next_one = Exchange(broker.address, request_of(_QUESTION), monotonic() + DEADLINE_S)
    transport.run(_begin_and_wait(unanswered))
    broker.script.clear()
    transport.run(_begin_and_wait(next_one))
    assert next_one.result().is_response
    assert 0 < unanswered.connection < next_one.connection


def _begin_and_wait(exchange):
    yield Begin(exchange)
    yield Await((exchange,), exchange.deadline_s)


def test_a_connection_that_ends_ends_its_requests(transport, broker):
    def hang_up(_):
        broker.drop_connections()

    broker.script[_QUESTION] = hang_up
    with pytest.raises(UnreachableError, match="closed"):
        transport.run(_ask(broker))


def test_a_connection_that_ended_while_idle_is_opened_anew(transport, broker):
    transport.run(_ask(broker))
    broker.drop_connections()
    assert transport.run(_ask(broker)).is_response


def test_a_peer_that_speaks_something_else_is_left(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def chatter():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1 << 16)

        thread = threading.Thread(target=chatter)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UnreachableError, match="lost"):
            transport.run(ask(address, request_of(_QUESTION), monotonic() + DEADLINE_S))
        thread.join(DEADLINE_S)


def test_a_question_of_the_peer_is_answered_while_waiting(transport, broker):
    answered = threading.Event()
    broker.script[_QUESTION] = lambda request: _answer_after(broker, request, answered)
    response = transport.run(_ask(broker))
    assert response.is_response
    assert answered.wait(0)


def _answer_after(broker, request, answered):
    """Ask the client something, and answer its own request only when its answer is there."""
    broker.push(Command(RequestCode.GET_CONSUMER_RUNNING_INFO, opaque=77))

    def later():
        broker.wait_received(ResponseCode.REQUEST_CODE_NOT_SUPPORTED)
        answered.set()
        broker.push(request.reply())

    threading.Thread(target=later, daemon=True).start()


def test_an_answer_that_waits_in_the_socket_counts_however_late_it_is_read(transport, broker):
    exchange = Exchange(broker.address, request_of(_QUESTION), monotonic() + 0.05)

    def late():
        yield Begin(exchange)
        broker.wait_received(_QUESTION)
        threading.Event().wait(0.1)  # the deadline itself is what is waited for
        yield Await((exchange,), monotonic() + DEADLINE_S)

    transport.run(late())
    assert exchange.result().is_response


def test_a_request_larger_than_any_socket_buffer_arrives_whole(transport, broker):
    broker.script[_QUESTION] = lambda request: request.reply(body=bytes(request.body))
    body = bytes(range(256)) * (8 << 12)
    assert transport.run(_ask(broker, body=body)).body == body


def test_a_peer_that_does_not_read_is_given_up(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="take"):
            transport.run(ask(address, request_of(_QUESTION, body=bytes(12 << 20)), monotonic() + 0.2))


def test_a_wait_for_nothing_ends_in_time(transport):
    def pause():
        yield Await((), monotonic() + 0.02)

    begun_s = monotonic()
    transport.run(pause())
    assert monotonic() - begun_s >= 0.02
