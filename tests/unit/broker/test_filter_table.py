"""The expressions of groups: which one counts, how long, and what is written of them."""

import pytest

from shmq.broker.effects import DocumentName, Persist, Publish
from shmq.broker.filter_table import FilterTable
from shmq.broker.updates import FilterUpdate
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.wire import fastjson
from shmq.wire.heartbeat_bodies import SubscriptionData

NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000
JAVA = (
    '{"filterDataByTopic":{"T":{"groupFilterData":{"g":{"bloomFilterData":{"bitNum":112,"bitPos":[9,19,29]},'
    '"bornTime":1699999000000,"clientVersion":7,"consumerGroup":"g","dead":false,"deadTime":0,"expression":"a > 5",'
    '"expressionType":"SQL92","topic":"T"}},"topic":"T"}}}'
)


@pytest.fixture
def effects():
    return []


@pytest.fixture
def table(tmp_path, effects):
    return FilterTable(Config(store_root=str(tmp_path)), effects)


def sql(expression, version, topic="T", kind="SQL92"):
    return SubscriptionData(topic, expression, version=version, expression_type=kind)


def published(effects):
    found = [each.update for each in effects if isinstance(each, Publish)]
    effects.clear()
    return found


def test_an_expression_is_published_and_saved(table, effects):
    table.hear("g", (sql("a > 5", 1), SubscriptionData("U")), NOW_MS)
    assert Persist(DocumentName.FILTERS) in effects
    assert published(effects) == table.snapshot() == [FilterUpdate("T", "g", "a > 5", 1)]


def test_a_higher_version_replaces_it(table, effects):
    table.hear("g", (sql("a > 5", 5),), NOW_MS)
    table.hear("g", (sql("a > 6", 4),), NOW_MS)
    table.hear("g", (sql("a > 7", 5),), NOW_MS)
    assert published(effects) == [FilterUpdate("T", "g", "a > 5", 5)]
    table.hear("g", (sql("a > 8", 6),), NOW_MS + 1)
    assert published(effects) == [FilterUpdate("T", "g", "a > 8", 6)]
    assert table.find("T", "g").born_ms == NOW_MS + 1


def test_the_same_expression_takes_the_version_only(table, effects):
    table.hear("g", (sql("a > 5", 5),), NOW_MS)
    table.hear("g", (sql("a > 5", 6),), NOW_MS + 1)
    assert published(effects)[-1] == FilterUpdate("T", "g", "a > 5", 6)
    assert table.find("T", "g").born_ms == NOW_MS


def test_a_heartbeat_that_repeats_it_changes_nothing(table, effects):
    table.hear("g", (sql("a > 5", 5),), NOW_MS)
    effects.clear()
    table.hear("g", (sql("a > 5", 5),), NOW_MS + 1)
    assert effects == []


@pytest.mark.parametrize("wrong", [sql("a >", 6), sql("a > 6", 6, kind="XPATH")])
def test_a_wrong_one_takes_away_what_it_should_replace(table, effects, wrong):
    table.hear("g", (wrong,), NOW_MS)
    assert published(effects) == []
    table.hear("g", (sql("a > 5", 5),), NOW_MS)
    table.hear("g", (wrong,), NOW_MS)
    assert published(effects)[-1] == FilterUpdate("T", "g", None, 5)
    assert table.snapshot() == []


def test_it_outlives_its_group_by_a_day(table, effects):
    table.hear("g", (sql("a > 5", 5),), NOW_MS)
    table.expire({"g"}, NOW_MS + DAY_MS)
    assert not table.find("T", "g").is_dead
    table.expire(set(), NOW_MS + DAY_MS)
    assert table.find("T", "g").dead_ms == NOW_MS + DAY_MS
    table.expire(set(), NOW_MS + 2 * DAY_MS - 1)
    assert table.find("T", "g").is_dead
    effects.clear()
    table.expire(set(), NOW_MS + 2 * DAY_MS)
    assert table.find("T", "g") is None
    assert published(effects) == [FilterUpdate("T", "g", None, 5)]


def test_a_group_that_comes_back_has_it_again(table):
    table.hear("g", (sql("a > 5", 5),), NOW_MS)
    table.expire(set(), NOW_MS + 1)
    table.hear("g", (sql("a > 5", 5),), NOW_MS + 2)
    assert not table.find("T", "g").is_dead


def test_a_topic_that_is_no_longer_subscribed_dies(table):
    table.hear("g", (sql("a > 5", 5), sql("b > 5", 5, "U")), NOW_MS)
    table.hear("g", (sql("a > 5", 5),), NOW_MS + 1)
    assert [each.is_dead for each in table] == [False, True]


def test_rocketmqs_document_is_read_and_written(table, effects):
    table.load(fastjson.loads(JAVA.encode()), NOW_MS)
    assert published(effects) == [FilterUpdate("T", "g", "a > 5", 7)]
    assert table.find("T", "g").dead_ms == NOW_MS - 30_000
    table.hear("g", (sql("a > 5", 7),), NOW_MS)
    assert fastjson.dumps(table.to_json()).decode() == JAVA


def test_one_with_other_bit_maps_is_passed_over(table):
    table.load(fastjson.loads(JAVA.replace("112", "120").encode()), NOW_MS)
    assert table.snapshot() == []


def test_an_expression_that_is_none_is_passed_over(table):
    table.load(fastjson.loads(JAVA.replace("a > 5", "a >").encode()), NOW_MS)
    assert table.snapshot() == []


@pytest.mark.parametrize(
    "text", ["[]", '{"filterDataByTopic":{"T":1}}', "{}", JAVA.replace('"clientVersion":7,', "")]
)
def test_another_document_is_refused(table, text):
    with pytest.raises(StoreError, match="consumerFilter"):
        table.load(fastjson.loads(text.encode()), NOW_MS)


def test_no_document_is_an_empty_table(table):
    table.load(None, NOW_MS)
    assert table.to_json() == {"filterDataByTopic": {}}
