"""The table of requests."""

import inspect

import pytest

from shmq.broker.requests import REQUESTS, Plane
from shmq.wire.codes import RequestCode

PARAMETERS = {Plane.DATA: 4, Plane.CONTROL: 5}


@pytest.mark.parametrize("code", REQUESTS)
def test_a_handler_takes_what_its_plane_gives(code):
    row = REQUESTS[code]
    assert row.code == code
    assert len(inspect.signature(row.handler).parameters) == PARAMETERS[row.plane]


def test_pulls_are_not_served_on_the_vip_port():
    barred = {code for code, row in REQUESTS.items() if not row.on_vip}
    assert barred == {
        RequestCode.PULL_MESSAGE,
        RequestCode.LITE_PULL_MESSAGE,
        RequestCode.POP_MESSAGE,
        RequestCode.NOTIFICATION,
        RequestCode.POLLING_INFO,
    }


def test_what_a_worker_can_answer_alone_is_not_forwarded():
    data = {code for code, row in REQUESTS.items() if row.plane is Plane.DATA}
    pops = {200_050, 200_051, 200_053, 200_054, 200_055, 200_151}
    assert data == {10, 11, 12, 14, 15, 29, 30, 31, 32, 33, 310, 320, 321, 361, 370} | pops


def test_a_code_that_is_not_here_is_not_supported():
    assert REQUESTS.get(RequestCode.CHECK_TRANSACTION_STATE) is None, "it is the broker's own"
    assert REQUESTS.get(9999) is None
