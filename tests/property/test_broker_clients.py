"""Locks and clients against models that say the same more slowly."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.broker.clients import Client, Clients
from shmq.broker.effects import Publish, Push
from shmq.broker.locks import LOCK_LIFE_MS, QueueLocks
from shmq.broker.outcome import Channel
from shmq.broker.updates import SubscriptionUpdate
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import Language
from shmq.wire.heartbeat_bodies import ConsumerData, MessageModel, SubscriptionData

QUEUES = [MessageQueue("T", "b", queue_id) for queue_id in range(3)]

lock_steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "give back", "expire"]),
        st.sampled_from("gh"),
        st.sampled_from("xyz"),
        st.lists(st.sampled_from(QUEUES), max_size=3),
        st.sampled_from([0, 1, LOCK_LIFE_MS // 2, LOCK_LIFE_MS, LOCK_LIFE_MS + 1]),
    ),
    max_size=40,
)


@given(lock_steps)
@settings(max_examples=200)
def test_no_two_clients_ever_hold_one_queue(steps):
    locks, model, now = QueueLocks(), {}, 0
    for verb, group, client, queues, passed in steps:
        now += passed
        if verb == "take":
            expected = []
            for queue in dict.fromkeys(queues):
                holder, since = model.get((group, queue), (client, now))
                if holder == client or now - since > LOCK_LIFE_MS:
                    model[group, queue] = (client, now)
                    expected.append(queue)
            assert locks.take(group, client, queues, now) == tuple(expected)
        elif verb == "give back":
            locks.give_back(group, client, queues)
            for queue in queues:
                if model.get((group, queue), ("", 0))[0] == client:
                    del model[group, queue]
        else:
            locks.expire(now)
        held = any(each == group and now - since <= LOCK_LIFE_MS for (each, _), (_, since) in model.items())
        assert locks.is_any_held(group, now) == held


CHANNELS = [Channel(worker, 1, connection) for worker in range(2) for connection in range(2)]

client_steps = st.lists(
    st.tuples(
        st.sampled_from(["hear", "hear", "hear again", "leave", "close", "expire"]),
        st.sampled_from(CHANNELS),
        st.sampled_from("gh"),
        st.dictionaries(st.sampled_from("TUV"), st.integers(0, 2), max_size=3),
        st.sampled_from(list(MessageModel)),
    ),
    max_size=40,
)


class Replica:
    """What a worker makes of the updates, and whom the conductor notified."""

    def __init__(self, effects):
        self.effects = effects
        self.groups = {}

    def apply(self):
        notified = []
        for effect in self.effects:
            if isinstance(effect, Publish):
                self.take(effect.update)
            elif isinstance(effect, Push):
                notified.append((effect.command.fields["consumerGroup"], effect.channel))
        self.effects.clear()
        return notified

    def take(self, update):
        assert isinstance(update, SubscriptionUpdate)
        if update.subscriptions is None:
            del self.groups[update.group]
        else:
            self.groups[update.group] = {each.topic: each.version for each in update.subscriptions}


@given(client_steps)
@settings(max_examples=200)
def test_workers_know_what_the_conductor_knows_and_members_are_told_of_each_change(steps):
    effects = []
    clients, replica = Clients(effects), Replica(effects)
    members, subscribed, models, seen = {}, {}, {}, {}
    for now, (verb, channel, group, said, model) in enumerate(steps):
        before = {name: (set(each), set(subscribed[name])) for name, each in members.items()}
        client = Client(channel, str(channel), Language.JAVA, 1, "", now)
        data = ConsumerData(
            group,
            message_model=model,
            subscriptions=tuple(SubscriptionData(topic, version=version) for topic, version in said.items()),
        )
        if verb.startswith("hear"):
            members.setdefault(group, set()).add(channel)
            known = subscribed.setdefault(group, {})
            models[group], seen[group, channel] = model, now
        if verb == "hear":
            clients.hear_consumer(client, data, 0, notify=True)
            newest = {topic: max(version, known.get(topic, version)) for topic, version in said.items()}
            subscribed[group] = newest
        elif verb == "hear again":
            clients.hear_again(client, data, 0, notify=True)
        elif verb == "leave":
            clients.leave_consumers(group, channel, notify=True)
            members.get(group, set()).discard(channel)
        elif verb == "close":
            clients.close(channel)
            for each in members.values():
                each.discard(channel)
        else:
            clients.expire(now - 3)
            for name, each in members.items():
                each -= {member for member in set(each) if seen[name, member] < now - 3}
        for name in [name for name, each in members.items() if not each]:
            del members[name], subscribed[name]
        notified = replica.apply()
        assert {name: set(each.clients) for name, each in clients.consumers.items()} == members
        assert replica.groups == subscribed
        expected = {
            (name, member)
            for name, each in members.items()
            for member in each
            if verb != "expire"
            and models[name] == MessageModel.CLUSTERING
            and before.get(name) != (each, set(subscribed[name]))
        }
        assert set(notified) == expected
        assert len(notified) == len(expected)
