from dataclasses import fields

from shmq.config.settings import Config
from tools.write_configuration_page import PAGE, page


def test_the_page_in_the_repository_is_the_one_the_settings_give():
    assert PAGE.read_text(encoding="utf-8") == page(), "run tools/write_configuration_page.py"


def test_the_page_names_every_setting_once_as_a_row():
    rows = [line.split("|")[1].strip(" `") for line in page().splitlines() if line.startswith("| `")]
    names = {declared.name for declared in fields(Config)}
    assert sorted(row for row in rows if row in names) == sorted(names)
