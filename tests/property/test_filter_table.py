"""The expressions of groups against a plain model, with workers that hear of every change and conductors that die."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shmq.broker.effects import Publish
from shmq.broker.filter_table import FilterTable
from shmq.broker.updates import FilterUpdate
from shmq.config.settings import Config
from shmq.wire import fastjson
from shmq.wire.heartbeat_bodies import SubscriptionData

TOPICS, GROUPS = ("T", "U"), ("g", "h")
GOOD, BAD = ("a > 5", "b = 'x'", "a > 5 AND b = 'x'"), ("a >", "5")
RETENTION_MS = 1000
subscriptions = st.lists(
    st.builds(
        lambda topic, expression, version, kind: SubscriptionData(
            topic, expression, version=version, expression_type=kind
        ),
        st.sampled_from(TOPICS),
        st.sampled_from(GOOD + BAD),
        st.integers(1, 4),
        st.sampled_from(["SQL92", "SQL92", "SQL92", "TAG", "XPATH"]),
    ),
    max_size=2,
    unique_by=lambda each: each.topic,
)


class Filters(RuleBasedStateMachine):
    """The model: (topic, group) -> expression, version, when it died (None: it lives)."""

    def __init__(self):
        super().__init__()
        self.now_ms = 1_700_000_000_000
        self.model = {}
        self.workers = {}
        self.settings = Config(store_root="/nowhere", filter_retention_ms=RETENTION_MS)
        self.begin(None)

    def begin(self, document):
        self.effects = []
        self.table = FilterTable(self.settings, self.effects)
        self.table.load(document, self.now_ms)
        for update in self.table.snapshot():  # what a conductor says to workers that it welcomes
            self.workers[update.topic, update.group] = update

    def tell(self):
        for effect in self.effects:
            if isinstance(effect, Publish):
                update = effect.update
                if update.expression is None:
                    self.workers.pop((update.topic, update.group), None)
                else:
                    self.workers[update.topic, update.group] = update
        self.effects.clear()

    @rule(group=st.sampled_from(GROUPS), said=subscriptions)
    def a_heartbeat(self, group, said):
        self.table.hear(group, tuple(said), self.now_ms)
        self.tell()
        for each in said:
            key = each.topic, group
            old = self.model.get(key)
            if each.expression_type == "TAG":
                continue
            if old is not None and each.version <= old[1]:
                if each.version == old[1]:
                    self.model[key] = (*old[:2], None)
            elif (old is not None and each.expression == old[0]) or (
                each.expression in GOOD and each.expression_type == "SQL92"
            ):
                self.model[key] = each.expression, each.version, None
            else:
                self.model.pop(key, None)
        named = {each.topic for each in said}
        for (topic, owner), (expression, version, dead) in self.model.items():
            if owner == group and topic not in named and dead is None:
                self.model[topic, owner] = expression, version, self.now_ms

    @rule(online=st.sets(st.sampled_from(GROUPS)), passed_ms=st.integers(1, RETENTION_MS))
    def time_passes(self, online, passed_ms):
        self.now_ms += passed_ms
        self.table.expire(online, self.now_ms)
        self.tell()
        for key, (expression, version, dead) in list(self.model.items()):
            if dead is None and key[1] not in online:
                self.model[key] = expression, version, self.now_ms
            elif dead is not None and self.now_ms - dead >= RETENTION_MS:
                del self.model[key]

    @rule()
    def the_conductor_is_another(self):
        """All are dead to it, since half a minute or since they were born."""
        born = {(each.topic, each.group): each.born_ms for each in self.table}
        self.begin(fastjson.loads(fastjson.dumps(self.table.to_json())))
        self.tell()
        for key, (expression, version, dead) in self.model.items():
            gone = max(born[key], self.now_ms - 30_000) if dead is None else dead
            self.model[key] = expression, version, gone

    @invariant()
    def the_table_is_the_model(self):
        found = {
            (each.topic, each.group): (each.expression, each.version, each.dead_ms if each.is_dead else None)
            for each in self.table
        }
        assert found == self.model

    @invariant()
    def workers_know_what_the_table_holds(self):
        assert self.workers == {
            key: FilterUpdate(*key, expression, version)
            for key, (expression, version, _) in self.model.items()
        }


TestFilters = Filters.TestCase
TestFilters.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
