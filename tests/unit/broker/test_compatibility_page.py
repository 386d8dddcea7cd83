import ast
from pathlib import Path

from tools.write_compatibility_page import PAGE, page, results

INTEROP = Path(__file__).parents[2] / "interop"


def test_the_page_is_that_of_the_tables_and_of_the_last_run():
    assert PAGE.read_text(encoding="utf-8") == page(), "run tools/write_compatibility_page.py"


def test_what_the_last_run_has_shown_still_has_tests():
    texts = {
        node.value
        for path in INTEROP.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    gone = set(results()) - texts
    assert not gone, "run make interop-table: these features have no tests any more"
