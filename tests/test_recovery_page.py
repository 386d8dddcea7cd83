"""docs/recovery.md names a test for each row, and each of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "recovery.md").read_text(encoding="utf-8")
STORE_TESTS = ROOT / "tests" / "unit" / "store"
NAMED = re.compile(r"`((?:[\w/]+\.py)?)(?:::)?((?:test_\w+|Test\w+)?)`")


def references() -> set[tuple[Path, str]]:
    found = set()
    for file, name in NAMED.findall(PAGE):
        if not file and not name:
            continue
        path = ROOT / file if "/" in file else STORE_TESTS / (file or "test_damaged_files.py")
        found.add((path, name))
    return found


@pytest.mark.parametrize(("path", "name"), sorted(references()), ids=str)
def test_what_the_page_names_exists(path: Path, name: str) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not name or name in {
        each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.ClassDef)
    }


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 50
    bare = [line for line in rows if "test" not in line.rsplit("|", 2)[1].lower() and "the same" not in line]
    assert bare == []
