"""Who is online, and what is subscribed to."""

import pytest

from shmq.broker.clients import Client, Clients
from shmq.broker.effects import CloseChannel, Publish, Push
from shmq.broker.outcome import Channel
from shmq.broker.updates import SubscriptionUpdate
from shmq.wire.codes import Language, RequestCode
from shmq.wire.heartbeat_bodies import ConsumerData, ConsumeType, MessageModel, SubscriptionData

PUSH, SHARED, ALL = ConsumeType.CONSUME_PASSIVELY, MessageModel.CLUSTERING, MessageModel.BROADCASTING
ONE, TWO = Channel(0, 1, 1), Channel(1, 1, 1)


class Hall:
    """Clients, and what they wanted done."""

    def __init__(self):
        self.effects = []
        self.clients = Clients(self.effects)

    def hear(
        self, channel=ONE, client_id="x", topics=("T",), *, version=1, model=SHARED, notify=True, now_ms=0
    ):
        """A heartbeat of a consumer in the group g."""
        subscriptions = tuple(SubscriptionData(topic, version=version) for topic in topics)
        data = ConsumerData("g", message_model=model, subscriptions=subscriptions)
        return self.clients.hear_consumer(member(channel, client_id, now_ms), data, 0, notify=notify)

    def done(self):
        """What was wanted since the last call: channels that were notified, and what was published."""
        notified = [each.channel for each in self.effects if isinstance(each, Push)]
        published = [each.update for each in self.effects if isinstance(each, Publish)]
        self.effects.clear()
        return notified, published


@pytest.fixture
def hall():
    return Hall()


def member(channel=ONE, client_id="x", now_ms=0):
    return Client(channel, client_id, Language.JAVA, 479, "127.0.0.1:5", now_ms)


def update(*subscriptions, model=SHARED):
    return SubscriptionUpdate("g", model, PUSH, subscriptions)


NOBODY = SubscriptionUpdate("g", SHARED, PUSH, None)


def test_the_first_consumer_is_notified_and_its_subscriptions_are_published(hall):
    hall.hear()
    (published, pushed) = hall.effects
    assert published == Publish(update(SubscriptionData("T", version=1)))
    command = pushed.command
    assert (pushed.channel, command.code, command.fields) == (
        ONE,
        RequestCode.NOTIFY_CONSUMER_IDS_CHANGED,
        {"consumerGroup": "g"},
    )
    assert command.is_oneway
    assert hall.clients.client_ids("g") == ("x",)


def test_a_heartbeat_that_says_nothing_new_does_nothing(hall):
    hall.hear()
    hall.done()
    hall.hear(now_ms=5)
    assert hall.done() == ([], [])


def test_a_newcomer_makes_everybody_share_anew(hall):
    hall.hear()
    hall.done()
    hall.hear(TWO, "y")
    assert hall.done() == ([ONE, TWO], [])
    assert hall.clients.client_ids("g") == ("x", "y")


def test_members_who_want_no_notice_get_none(hall):
    hall.hear(notify=False)
    assert hall.done()[0] == []


def test_who_all_get_every_message_have_nothing_to_share(hall):
    hall.hear(model=ALL)
    hall.hear(TWO, "y", model=ALL)
    hall.clients.close(ONE)
    assert hall.done() == ([], [update(SubscriptionData("T", version=1), model=ALL)])


def test_an_expression_gives_way_to_a_higher_version_only_and_nobody_is_notified(hall):
    hall.hear(version=5)
    hall.done()
    hall.hear(version=4)
    assert hall.done() == ([], [])
    hall.hear(version=6)
    assert hall.done() == ([], [update(SubscriptionData("T", version=6))])


def test_the_last_heartbeat_says_which_topics_a_group_has(hall):
    hall.hear(topics=("T", "U"))
    hall.done()
    hall.hear(TWO, "y", topics=("U", "V"))
    topics = update(SubscriptionData("U", version=1), SubscriptionData("V", version=1))
    assert hall.done() == ([ONE, TWO], [topics])
    hall.hear(TWO, "y", topics=("U",))
    assert hall.done() == ([ONE, TWO], [update(SubscriptionData("U", version=1))])


def test_a_client_that_comes_back_is_listed_once(hall):
    hall.hear(ONE, "x")
    hall.hear(TWO, "x")
    assert hall.clients.client_ids("g") == ("x",)
    hall.clients.close(ONE)
    assert hall.clients.client_ids("g") == ("x",)


def test_a_closed_connection_leaves_all_its_groups(hall):
    hall.hear()
    hall.hear(TWO, "y")
    hall.clients.hear_producer("p", member())
    hall.done()
    hall.clients.close(ONE)
    assert hall.done() == ([TWO], [])
    assert hall.clients.producers == {}
    hall.clients.close(TWO)
    assert hall.done() == ([], [NOBODY])
    assert hall.clients.client_ids("g") == ()


def test_who_unregisters_is_gone_and_the_others_are_told(hall):
    hall.hear()
    hall.hear(TWO, "y")
    hall.done()
    hall.clients.leave_consumers("g", ONE, notify=True)
    hall.clients.leave_consumers("g", ONE, notify=True)
    hall.clients.leave_consumers("h", TWO, notify=True)
    assert hall.done() == ([TWO], [])


def test_producers_leave_one_by_one(hall):
    hall.clients.hear_producer("p", member())
    hall.clients.hear_producer("p", member(TWO, "y"))
    hall.clients.leave_producers("p", ONE)
    assert list(hall.clients.producers["p"]) == [TWO]
    hall.clients.leave_producers("p", TWO)
    hall.clients.leave_producers("p", TWO)
    assert hall.clients.producers == {}


def test_silent_clients_are_forgotten_and_their_connections_closed_without_notice(hall):
    hall.hear(now_ms=10)
    hall.hear(TWO, "y", now_ms=20)
    hall.clients.hear_producer("p", member(now_ms=10))
    hall.effects.clear()
    hall.clients.expire(11)
    assert hall.effects == [CloseChannel(ONE)]
    assert hall.clients.client_ids("g") == ("y",)
    assert hall.clients.producers == {}
    hall.clients.expire(21)
    assert hall.effects[1:] == [Publish(NOBODY), CloseChannel(TWO)]


def test_a_workers_new_life_closes_the_connections_of_its_earlier_ones(hall):
    old, other = Channel(1, 4, 1), Channel(0, 4, 1)
    hall.hear(old, "old")
    hall.hear(other, "other")
    hall.hear(Channel(1, 5, 1), "new")
    hall.clients.close_worker(1, 5)
    assert hall.clients.client_ids("g") == ("other", "new")


def again(hall, fingerprint=7, channel=ONE):
    data = ConsumerData("g")
    return hall.clients.hear_again(member(channel), data, fingerprint, notify=True)


def full(hall, fingerprint=7, channel=ONE):
    data = ConsumerData("g", subscriptions=(SubscriptionData("T"),))
    return hall.clients.hear_consumer(member(channel), data, fingerprint, notify=True)


def test_a_short_heartbeat_keeps_what_was_subscribed_to(hall):
    assert not full(hall)
    hall.done()
    assert not again(hall)
    assert hall.done() == ([], [])
    assert not again(hall, channel=TWO)
    assert hall.done() == ([ONE, TWO], [])


def test_another_fingerprint_makes_clients_say_all_again(hall):
    full(hall, 7)
    assert again(hall, 8)
    assert not again(hall, 8)
    assert full(hall, 9)


def test_a_short_heartbeat_of_a_group_that_nobody_knows_makes_the_client_say_all_again(hall):
    assert again(hall)
    assert again(hall)
    assert not full(hall)
    assert not again(hall)


def test_a_snapshot_holds_every_group_that_is_online(hall):
    hall.hear()
    assert hall.clients.snapshot() == [update(SubscriptionData("T", version=1))]
