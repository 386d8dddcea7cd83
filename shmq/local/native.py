"""The fast way in from Python: builtins whose bodies are kernels.

Each does the common case alone: the session's own thread, plain bytes, room in the ring. Anything else is left
to Python: `send` and `send_wait` hand their arguments to the methods whose addresses the template holds, `push_list`
says what hinders it. They hold the GIL for as long as they run, which is as long as copying takes; who waits, waits in
Python.
"""

from typing import Any, Final

from shmq.jit import JIT_ENABLED, entry, kernel
from shmq.local import desk as d
from shmq.local import submit
from shmq.memory import pyobjects as py
from shmq.memory.endian import load_native_i64, store_native_i64

IS_THERE: Final = JIT_ENABLED
"""Whether these builtins can be made."""

NO_BYTES: Final = -6
"""What is to be sent is no bytes object, or the list no list."""
NOT_OURS: Final = -7
"""Another thread's session, or one that Python must look at first."""
RESULT_FIELDS: Final = 5
"""Of a SendResult: the words that lie from LAST_QUEUE on, and the host."""


class Own(int):
    """The address of a template, as a builtin holds it, and what must live as long as the builtin does."""

    keeper: Any


def make_send(own: Own) -> Any:
    """`send(body, ...)`: None once it is published; other arguments and hard cases go to SLOW_SEND."""
    return py.builtin_of_many(send, own)


def make_push_list(own: Own) -> Any:
    """`push_list(bodies)`: 0 once all from DONE on are published, or why not all are."""
    return py.builtin_of_one(push_list, own)


def make_send_wait(own: Own) -> Any:
    """`send_wait(body, ...)`: a SendResult where the answer comes within the spins; other cases go to SLOW_WAIT."""
    return py.builtin_of_many(send_wait, own)


def send(own: int, arguments: int, count: int, names: int) -> int:
    """The body of `send`."""
    template = py.integer_value(own)
    desk = load_native_i64(template + d.OWN_DESK)
    if count == 1 and names == 0 and py.thread_identity() == load_native_i64(desk + d.THREAD):
        item = load_native_i64(arguments)
        body = py.bytes_address(item)
        if body == 0:
            py.clear_error()
        elif submit.submit_one(template, body, py.bytes_size(item), submit.ANY_QUEUE, 0) == 1:
            none = load_native_i64(template + d.NONE_OBJECT)
            py.add_reference(none)
            return none
    return int(py.call_vector(load_native_i64(template + d.SLOW_SEND), arguments, count, names))


def push_list(own: int, items: int) -> int:
    """The body of `push_list`."""
    template = py.integer_value(own)
    desk = load_native_i64(template + d.OWN_DESK)
    if py.thread_identity() != load_native_i64(desk + d.THREAD):
        return int(py.integer(NOT_OURS))
    count = py.list_size(items)
    outcome = NO_BYTES if count < 0 else submit_list(template, items, count)
    if outcome == NO_BYTES:
        py.clear_error()
    return int(py.integer(outcome))


def send_wait(own: int, arguments: int, count: int, names: int) -> int:
    """The body of `send_wait`."""
    template = py.integer_value(own)
    desk = load_native_i64(template + d.OWN_DESK)
    is_owner = py.thread_identity() == load_native_i64(desk + d.THREAD)
    if is_owner:
        store_native_i64(template + d.IS_UNTOLD, 0)
    if is_owner and count == 1 and names == 0:
        item = load_native_i64(arguments)
        body = py.bytes_address(item)
        if body == 0:
            py.clear_error()
        elif submit.submit_one(template, body, py.bytes_size(item), submit.ANY_QUEUE, 0) == 1:
            is_answered = submit.await_answer(desk) == 0 and load_native_i64(desk + d.LAST_STATUS) == 0
            if is_answered and load_native_i64(desk + d.IS_SYNC) == 0:
                return int(new_result(template, desk))
            store_native_i64(template + d.IS_UNTOLD, 1)
    return int(py.call_vector(load_native_i64(template + d.SLOW_WAIT), arguments, count, names))


@entry
def new_result(template: int, desk: int) -> int:
    """A new SendResult of the last answer; 0 where there is no memory for it."""
    result = py.new_of_items(load_native_i64(template + d.RESULT_TYPE), RESULT_FIELDS)
    if result == 0:
        return 0
    host = load_native_i64(desk + d.HOST)
    py.add_reference(host)
    is_whole = True
    for index in range(RESULT_FIELDS - 1):
        number = py.integer(load_native_i64(desk + d.LAST_QUEUE + 8 * index))
        is_whole = is_whole and number != 0
        py.set_item(result, index, number)
    py.set_item(result, RESULT_FIELDS - 1, host)
    if is_whole:
        return int(result)
    py.drop_reference(result)
    return 0


@entry
def submit_list(template: int, items: int, count: int) -> int:
    """Send the bytes objects of a list; note in DONE how many went, and return 0 or why not all."""
    done = load_native_i64(template + d.DONE)
    fixed_bytes = submit.fixed_bytes(template)
    longest = load_native_i64(template + d.BODY_BYTES_MAX)
    outcome = 0
    while done < count and outcome == 0:
        batch = 0
        size = 0
        while batch < submit.BATCH_MESSAGES_MAX and done + batch < count:
            item = py.list_item(items, done + batch)
            body = py.bytes_address(item)
            if body == 0:
                outcome = NO_BYTES
                break
            body_bytes = py.bytes_size(item)
            if body_bytes < 1 or body_bytes > longest:
                outcome = submit.ILLEGAL
                break
            if batch > 0 and size + fixed_bytes + body_bytes > submit.BATCH_BYTES_MAX:
                break
            size += fixed_bytes + body_bytes
            batch += 1
        if batch > 0:
            position = submit.open_batch(template, size)
            if position < 0:
                outcome = position
            else:
                _fill(template, items, done, batch, position)
                done += batch
    store_native_i64(template + d.DONE, done)
    return outcome


@kernel
def _fill(template: int, items: int, first: int, count: int, position: int) -> None:
    """Write the records of a submission of the list, and publish it."""
    queue = submit.batch_queue(template, submit.ANY_QUEUE)
    born_ms = submit.now_ms(template)
    begin = submit.first_record(template, position)
    at = begin
    for index in range(first, first + count):
        item = py.list_item(items, index)
        at += submit.encode_next(template, at, py.bytes_address(item), py.bytes_size(item), queue, born_ms)
    submit.close_batch(template, position, queue, count, at - begin)
