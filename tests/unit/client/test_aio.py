import asyncio
from time import monotonic

import pytest

from shmq.client.aio import AsyncTransport
from shmq.client.errors import ClosedError, NoAnswerError, UnreachableError
from shmq.client.protocol import Await, Begin, Exchange, ask, request_of
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from tests.support.fake_broker import DEADLINE_S, FakeBroker

_QUESTION = 9999


def _run(use):
    """Run use(transport) on an event loop, and close the transport after it."""

    async def whole():
        transport = AsyncTransport()
        try:
            return await use(transport)
        finally:
            await transport.close()

    return asyncio.run(whole())


def _ask(broker, *, within_s=DEADLINE_S, body=b""):
    return ask(broker.address, request_of(_QUESTION, body=body), monotonic() + within_s)


def test_many_requests_at_once_share_a_connection_and_get_their_own_answers(broker):
    broker.script[_QUESTION] = lambda request: request.reply(body=bytes(request.body))

    async def use(transport):
        bodies = [b"%d" % at for at in range(50)]
        answers = await asyncio.gather(*(transport.run(_ask(broker, body=body)) for body in bodies))
        return [answer.body for answer in answers] == bodies, len(broker._connections)

    assert _run(use) == (True, 1)


def test_a_peer_that_is_not_there_cannot_be_reached():
    with FakeBroker() as gone:
        pass
    with pytest.raises(UnreachableError, match="cannot connect"):
        _run(lambda transport: transport.run(_ask(gone)))


def test_no_answer_in_time_is_an_error(broker):
    broker.script[_QUESTION] = lambda _: None
    with pytest.raises(NoAnswerError):
        _run(lambda transport: transport.run(_ask(broker, within_s=0.05)))


def test_a_connection_that_has_gone_silent_is_replaced(broker):
    broker.script[_QUESTION] = lambda _: None

    async def use(transport):
        unanswered = Exchange(broker.address, request_of(_QUESTION), monotonic() + 0.05)
        next_one = Exchange(broker.address, request_of(_QUESTION), monotonic() + DEADLINE_S)
        await transport.run(_begin_and_wait(unanswered))
        broker.script.clear()
        await transport.run(_begin_and_wait(next_one))
        assert next_one.result().is_response
        assert 0 < unanswered.connection < next_one.connection

    _run(use)


def _begin_and_wait(exchange):
    yield Begin(exchange)
    yield Await((exchange,), exchange.deadline_s)


def test_a_connection_that_ends_ends_its_requests(broker):
    broker.script[_QUESTION] = lambda _: broker.drop_connections()
    with pytest.raises(UnreachableError, match="closed"):
        _run(lambda transport: transport.run(_ask(broker)))


def test_a_request_after_a_lost_connection_opens_another(broker):
    async def use(transport):
        broker.script[_QUESTION] = lambda _: broker.drop_connections()
        with pytest.raises(UnreachableError):
            await transport.run(_ask(broker))
        broker.script.clear()
        return (await transport.run(_ask(broker))).is_response

    assert _run(use)


def test_a_question_of_the_peer_is_answered(broker):
    async def use(transport):
        await transport.run(_ask(broker))
        broker.push(Command(307, opaque=77))
        answers = await asyncio.to_thread(broker.wait_received, ResponseCode.REQUEST_CODE_NOT_SUPPORTED)
        assert [answer.opaque for answer in answers] == [77]

    _run(use)


def test_a_cancelled_request_leaves_the_connection_to_the_others(broker):
    async def use(transport):
        broker.script[_QUESTION] = lambda _: None
        doomed = asyncio.create_task(transport.run(_ask(broker)))
        await asyncio.to_thread(broker.wait_received, _QUESTION)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        broker.script.clear()
        return (await transport.run(_ask(broker))).is_response, len(broker._connections)

    assert _run(use) == (True, 1)


def test_a_request_cancelled_before_it_was_written_is_done(broker):
    async def use(transport):
        exchange = Exchange(broker.address, request_of(_QUESTION), monotonic() + DEADLINE_S)
        doomed = asyncio.create_task(transport.run(_begin_and_wait(exchange)))
        await asyncio.sleep(0)  # lets it start: it waits for its connection now
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        with pytest.raises(UnreachableError, match="cancelled"):
            exchange.result()

    _run(use)


def test_closing_ends_what_waits(broker):
    broker.script[_QUESTION] = lambda _: None

    async def use(transport):
        waiting = asyncio.create_task(transport.run(_ask(broker)))
        await asyncio.to_thread(broker.wait_received, _QUESTION)
        await transport.close()
        with pytest.raises(ClosedError):
            await waiting

    _run(use)


def test_a_request_larger_than_any_socket_buffer_arrives_whole(broker):
    broker.script[_QUESTION] = lambda request: request.reply(body=bytes(request.body))
    body = bytes(range(256)) * (8 << 12)
    assert _run(lambda transport: transport.run(_ask(broker, body=body))).body == body


def test_a_peer_that_does_not_read_is_given_up():
    async def use(transport):
        read_nothing = asyncio.Event()

        async def hold(_, writer):
            await read_nothing.wait()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0, limit=1)
        try:
            host, port = server.sockets[0].getsockname()
            request = request_of(_QUESTION, body=bytes(12 << 20))
            with pytest.raises(NoAnswerError, match="take"):
                await transport.run(ask(f"{host}:{port}", request, monotonic() + 0.2))
        finally:
            read_nothing.set()
            server.close()
            await server.wait_closed()

    _run(use)
