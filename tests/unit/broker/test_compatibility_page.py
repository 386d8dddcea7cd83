from tools.write_compatibility_page import PAGE, page


def test_the_page_is_that_of_the_tables():
    assert PAGE.read_text(encoding="utf-8") == page(), "run tools/write_compatibility_page.py"
