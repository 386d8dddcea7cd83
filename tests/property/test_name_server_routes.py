"""Routes after any history of registrations and losses are those of a model that keeps only what each broker said."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.route_bodies import TopicRouteData
from shmq.wire.topic_bodies import TopicConfig
from tests.support.broker_registrations import NameServer, version

TOPICS = ("T", "U", "V")
BROKERS = ("a", "b")
LEASE_MS = 120_000

registrations = st.tuples(
    st.just("register"),
    st.sampled_from(BROKERS),
    st.integers(0, 1),
    st.sets(st.sampled_from(TOPICS), max_size=3).map(frozenset),
    st.integers(1, 8),
)
losses = st.tuples(st.sampled_from(["unregister", "close"]), st.sampled_from(BROKERS), st.integers(0, 1))
deletions = st.tuples(st.just("delete"), st.sampled_from(TOPICS))
waits = st.tuples(st.just("wait"), st.integers(1, LEASE_MS))
histories = st.lists(st.one_of(registrations, registrations, losses, deletions, waits), max_size=25)


@dataclass
class Member:
    last_ms: int
    channel_id: int


@dataclass
class Model:
    """What each member and broker said last; master topics only, as brokers before 5.0 have it."""

    now_ms: int
    members: dict[tuple[str, int], Member] = field(default_factory=dict)
    topics: dict[tuple[str, str], int] = field(default_factory=dict)

    def register(
        self, name: str, broker_id: int, topics: frozenset[str], queues: int, channel_id: int
    ) -> bool:
        if (name, broker_id) not in self.members and len(topics) == 1:
            return False
        self.members[name, broker_id] = Member(self.now_ms, channel_id)
        if broker_id == 0:
            self.topics.update({(topic, name): queues for topic in topics})
        return True

    def lose(self, name: str, broker_id: int) -> None:
        self.members.pop((name, broker_id), None)
        if all(member_name != name for member_name, _ in self.members):
            self.topics = {key: queues for key, queues in self.topics.items() if key[1] != name}

    def expire(self) -> None:
        for key, member in tuple(self.members.items()):
            if member.last_ms + LEASE_MS < self.now_ms:
                self.lose(*key)

    def route(self, topic: str) -> dict[str, tuple[int, set[int]]]:
        return {
            name: (queues, {broker_id for member, broker_id in self.members if member == name})
            for (has, name), queues in self.topics.items()
            if has == topic
        }


def address_of(name: str, broker_id: int) -> str:
    return f"10.0.{BROKERS.index(name)}.{broker_id}:10911"


def channel_of(name: str, broker_id: int) -> int:
    return 10 * BROKERS.index(name) + broker_id + 1


def play(server: NameServer, model: Model, step: tuple, count: int) -> None:
    match step:
        case ("register", name, broker_id, topics, queues):
            answer = server.register(
                [TopicConfig(topic, queues, queues) for topic in sorted(topics)],
                version(count),
                name=name,
                broker_id=broker_id,
                address=address_of(name, broker_id),
                channel_id=channel_of(name, broker_id),
            )
            taken = model.register(name, broker_id, topics, queues, channel_of(name, broker_id))
            assert (answer.code == ResponseCode.SUCCESS) == taken
        case ("unregister", name, broker_id):
            server.unregister(name, address_of(name, broker_id), broker_id)
            model.lose(name, broker_id)
        case ("close", name, broker_id):
            server.naming.channel_closed(channel_of(name, broker_id), server.now_ms)
            model.lose(name, broker_id)
        case ("delete", topic):
            server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic=topic)
            model.topics = {key: queues for key, queues in model.topics.items() if key[0] != topic}
        case ("wait", elapsed_ms):
            server.now_ms += elapsed_ms
            model.now_ms = server.now_ms
            server.naming.expire(server.now_ms)
            model.expire()


def shown(server: NameServer, topic: str) -> dict[str, tuple[int, set[int]]]:
    answer = server.route(topic)
    if answer.code != ResponseCode.SUCCESS:
        assert answer.code == ResponseCode.TOPIC_NOT_EXIST
        assert len((answer.remark or "").split("\n")) == 3
        return {}
    route = TopicRouteData.from_bytes(answer.body)
    ids = {broker.broker_name: set(broker.addresses) for broker in route.brokers}
    assert [queue.broker_name for queue in route.queues] == [broker.broker_name for broker in route.brokers]
    return {queue.broker_name: (queue.read_queue_count, ids[queue.broker_name]) for queue in route.queues}


def check_tables(server: NameServer) -> None:
    """What must hold of the tables whatever has happened."""
    routes = server.naming.routes
    assert all(routes.topics.values())
    assert all(name in routes.brokers for queues in routes.topics.values() for name in queues)
    assert all(broker.addresses for broker in routes.brokers.values())
    assert set().union(*routes.clusters.values()) == set(routes.brokers)
    addresses = {
        (broker.cluster, address)
        for broker in routes.brokers.values()
        for address in broker.addresses.values()
    }
    assert addresses == set(routes.live)


@settings(max_examples=200, deadline=None)
@given(histories)
def test_any_history_leaves_the_routes_of_the_model(history: list[tuple]) -> None:
    server = NameServer()
    model = Model(server.now_ms)
    for count, step in enumerate(history):
        play(server, model, step, count)
        assert {topic: shown(server, topic) for topic in TOPICS} == {
            topic: model.route(topic) for topic in TOPICS
        }
        check_tables(server)
