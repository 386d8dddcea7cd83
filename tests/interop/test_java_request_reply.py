"""Java producers that wait for a reply, and Java consumers that give it, over a broker of two network workers."""

from collections.abc import Iterator

import pytest

from tests.support.drivers import Client, event_of
from tests.support.endpoints import SHMQ, UNDER_TEST, Endpoint, start_endpoint
from tests.support.mishaps import kill_conductor
from tests.support.processes import Process

pytestmark = [pytest.mark.interop, pytest.mark.feature("Request-reply")]

COUNT = 200
DEADLINE_S = 60.0
REPLY_TOPIC = "DefaultCluster_REPLY_TOPIC"


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker with two network workers: who asks and who replies need not be on the same."""
    own = {"network_workers": "2"} if request.param == SHMQ else {}
    started = start_endpoint(request.param, tmp_path_factory.mktemp("replies"), overrides=own)
    try:
        yield started
    finally:
        started.discard()


def _start_replier(client: Client, topic: str, listener_ms: int = 0) -> Process:
    replier = client.start(
        "reply", topic=topic, group=f"{topic}-repliers", run="r", binary=True, listener_ms=listener_ms
    )
    event_of(replier, "ready", DEADLINE_S)
    return replier


def _start_requester(client: Client, topic: str, mode: str) -> Process:
    return client.start(
        "request",
        topic=topic,
        group=f"{topic}-requesters",
        run="r",
        binary=True,
        count=COUNT,
        mode=mode,
        timeout_ms=5000,
    )


def test_each_request_gets_its_own_reply_though_one_who_replies_and_the_conductor_are_killed(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    stored = _stored(java_client)
    with _start_replier(java_client, warm_topic) as first, _start_replier(java_client, warm_topic) as second:
        waiting = _start_requester(java_client, warm_topic, "sync")
        calling = _start_requester(java_client, warm_topic, "async")
        with waiting, calling:
            event_of(waiting, "progress", DEADLINE_S)
            event_of(calling, "progress", DEADLINE_S)
            first.kill()
            kill_conductor(endpoint)
            for requester in (waiting, calling):
                result = event_of(requester, "result", DEADLINE_S)
                assert requester.wait_exit(DEADLINE_S) == 0
                assert result["faults"] == []
                assert result["replied"] == COUNT
        second.say("stop")
        replied = event_of(second, "result", DEADLINE_S)
    assert replied["replied"] > 0
    assert _stored(java_client) - stored >= 2 * COUNT, "each reply is stored as well"


def test_a_reply_to_one_who_was_killed_is_refused_and_counted(java_client: Client, warm_topic: str) -> None:
    group = f"{warm_topic}-repliers"
    with _start_replier(java_client, warm_topic, listener_ms=200) as replier:
        with _start_requester(java_client, warm_topic, "async") as requester:
            event_of(requester, "progress", DEADLINE_S)
            requester.kill()
        refusal = event_of(replier, "refused", DEADLINE_S)["reason"]
        assert refusal.startswith("1 push reply message"), "SYSTEM_ERROR, and why"
        asked = handled = 0
        while asked < (stored := _asked(java_client, warm_topic, group)):
            asked = stored  # what was on its way when the requester died may have come since
            while handled < asked:
                handled = event_of(replier, "handled", DEADLINE_S)["count"]
        replier.say("stop")
        result = event_of(replier, "result", DEADLINE_S)
    assert result["replied"] > 0  # of the replies that it had, the last ones may not have been answered
    assert result["replied"] + sum(result["refused"].values()) == asked


def _asked(client: Client, topic: str, group: str) -> int:
    """How many requests are stored, behind the one that made the topic."""
    return sum(queue["max"] for queue in client.queue_bounds(topic, group=group).values()) - 1


def _stored(client: Client) -> int:
    return sum(queue["max"] for queue in client.queue_bounds(REPLY_TOPIC, group="nobody").values())
