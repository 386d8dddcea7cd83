import pickle

import pytest

from shmq.client.errors import (
    ClientError,
    ClosedError,
    NoAnswerError,
    NoRouteError,
    PullError,
    SendError,
    UnreachableError,
    code_name,
    may_pass,
)
from shmq.errors import ShmqError


def test_a_refusal_tells_who_said_what():
    assert str(SendError(2, "too busy", "h:1")) == "h:1 answered SYSTEM_BUSY (2): too busy"


def test_a_refusal_without_a_remark_tells_its_code():
    assert str(SendError(4242, None, "h:1")) == "h:1 answered 4242"


def test_a_refusal_survives_pickling():
    copied = pickle.loads(pickle.dumps(SendError(2, "too busy", "h:1")))
    assert (copied.code, copied.remark, copied.address) == (2, "too busy", "h:1")


def test_every_error_of_a_client_is_one_of_ours():
    assert issubclass(ClientError, ShmqError)


@pytest.mark.parametrize(("code", "name"), [(0, "SUCCESS (0)"), (-1, "-1")])
def test_a_code_is_told_with_its_name_if_it_has_one(code, name):
    assert code_name(code) == name


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (UnreachableError("x"), True),
        (NoAnswerError("x"), True),
        (NoRouteError("x"), True),
        (PullError(2, None, "h:1"), True),
        (PullError(16, None, "h:1"), False),
        (ClosedError("x"), False),
        (ShmqError("x"), False),
    ],
)
def test_some_errors_may_pass_by_themselves(error, passes):
    assert may_pass(error) is passes
