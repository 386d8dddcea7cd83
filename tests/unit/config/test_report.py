import tomllib
from dataclasses import asdict

from shmq.config.loading import Sources, load
from shmq.config.report import report


def test_every_setting_is_printed_with_its_value_and_origin():
    lines = report(load(Sources(assignments=("broker_name=b",)))).splitlines()
    assert lines[0].split("#")[0].strip() == 'broker_name = "b"'
    assert lines[0].endswith("# command line")
    assert sum(line.endswith("# default") for line in lines) == len(lines) - 1


def test_what_is_printed_gives_the_same_configuration_again(tmp_path):
    given = ("namesrvAddr=a:1;b:2", "store_root=/data/#1", "flush_interval_ms=2s", "trace_topic_enable=true")
    loaded = load(Sources(assignments=given))
    path = tmp_path / "printed.toml"
    path.write_text(report(loaded))
    again = load(Sources(toml_file=str(path)))
    assert asdict(again.config) == asdict(loaded.config)
    assert again.warnings == ()
    assert len(tomllib.loads(path.read_text())) == len(loaded.origins)
