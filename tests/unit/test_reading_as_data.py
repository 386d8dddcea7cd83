"""The examples of docs/reading-as-data.md run, and print what they promise."""

import re
from pathlib import Path

import pytest

from tests.support.small_store import SmallStore

PAGE = Path(__file__).parents[2] / "docs" / "reading-as-data.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
PRINTED = (
    "8 {'Others': 16, 'Orders': 16}\n",
    "b'body' Orders {'TAGS': 'TagA', 'color': 'red'}\n",
    "",
)


@pytest.fixture
def store(tmp_path):
    made = SmallStore(tmp_path)
    for number in range(10):
        topic = b"Orders" if number % 2 else b"Others"
        store_ms = 1_700_000_000_000 + 1000 * (number - 2)
        made.append(topic, body=b"body", store_ms=store_ms, properties=b"TAGS\x01TagA\x02color\x01red\x02")
    return made


@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_an_example_runs(store, capsys, number):
    assert len(EXAMPLES) == len(PRINTED)
    exec(compile(EXAMPLES[number], PAGE.name, "exec"), {"STORE": store.root})
    printed = capsys.readouterr().out
    if PRINTED[number]:
        assert printed == PRINTED[number]
    else:
        assert "stored_max" in printed
        assert printed.endswith("\n40\n")
