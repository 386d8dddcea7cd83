import os
import resource
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from shmq.cli import main
from shmq.commands.arrow_files import ArrowFile
from shmq.store.arrow import SCHEMA
from shmq.store.scanning import scan
from tests.support.small_store import SmallStore

COUNT = 100


@pytest.fixture
def store(tmp_path):
    made = SmallStore(tmp_path / "store")
    for number in range(COUNT):
        tag = b"TAGS\x01even\x02" if number % 2 == 0 else b""
        made.append(
            b"T%d" % (number // 10),
            number % 3,
            store_ms=1000 + number,
            body=bytes([number]) * 40,
            properties=tag + b"KEYS\x01k%d all\x02name\x01v%d\x02" % (number, number),
        )
    made.run()
    made.files.close()
    return made


@pytest.fixture
def export(store, tmp_path):
    def run(name, *arguments):
        return CliRunner().invoke(
            main,
            ["store", "export", "--store-root", str(store.root), "-o", str(tmp_path / name), *arguments],
        )

    return run


def beside(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "store")


def check(table):
    """Every message is there, as it was written."""
    table.validate(full=True)
    assert table.schema.names == SCHEMA.names
    assert table["topic"].to_pylist() == [f"T{number // 10}" for number in range(COUNT)]
    assert table["queue_id"].to_pylist() == [number % 3 for number in range(COUNT)]
    assert table["stored"].cast(pa.int64()).to_pylist() == [1000 + number for number in range(COUNT)]
    assert table["tag"].to_pylist() == [None if number % 2 else "even" for number in range(COUNT)]
    assert table["keys"].to_pylist() == [[f"k{number}", "all"] for number in range(COUNT)]
    assert table["unique_id"].null_count == COUNT
    assert table["properties"].to_pylist() == [[("name", f"v{number}")] for number in range(COUNT)]
    assert table["body"].to_pylist() == [bytes([number]) * 40 for number in range(COUNT)]


def test_parquet_has_every_message(export, tmp_path):
    result = export("out.parquet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"exported {COUNT} messages to {tmp_path / 'out.parquet'}\n"
    assert beside(tmp_path) == ["out.parquet"]
    file = pq.ParquetFile(tmp_path / "out.parquet")
    check(file.read())
    batches = sum(1 for _ in scan(tmp_path / "store"))
    assert file.num_row_groups == batches > 1


def test_arrow_has_every_message(export, tmp_path):
    """Later batches name more topics than the first."""
    assert export("out.arrow", "--format", "arrow").exit_code == 0
    with pa.ipc.open_file(tmp_path / "out.arrow") as file:
        assert file.num_record_batches > 1
        check(file.read_all())


def test_columns_and_messages_are_chosen(export, tmp_path):
    assert (
        export("out.parquet", "--columns", "body,queue_id", "--tag", "even", "--topic", "T3").exit_code == 0
    )
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["body", "queue_id"]
    assert table["queue_id"].to_pylist() == [number % 3 for number in range(30, 40, 2)]


def test_no_message_makes_a_file_without_rows(export, tmp_path):
    assert export("out.parquet", "--topic", "none").exit_code == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert (table.num_rows, table.schema.names) == (0, SCHEMA.names)


def test_a_file_that_is_there_is_replaced(export, tmp_path):
    (tmp_path / "out.parquet").write_text("old")
    assert export("out.parquet", "--topic", "T3").exit_code == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 10


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_damage_leaves_no_file_and_the_old_one(export, store, tmp_path, kind):
    (tmp_path / "out").write_text("old")
    store.write(store.records[60][0], b"damaged!")
    result = export("out", "--format", kind)
    assert result.exit_code == 1
    assert f"position {store.records[60][0]}" in result.stderr
    assert beside(tmp_path) == ["out"]
    assert (tmp_path / "out").read_text() == "old"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_until_it_is_whole_it_has_another_name(store, tmp_path, kind):
    with ArrowFile(tmp_path / "out", kind, None) as file:
        for batch in scan(store.root):
            file.write(batch)
            assert beside(tmp_path) == [f".out.{os.getpid()}.partial"]
    assert beside(tmp_path) == ["out"]
    assert file.count == COUNT


def test_a_directory_that_is_not_there_is_told(export):
    result = export("none/out.parquet")
    assert result.exit_code == 1
    assert result.stderr.endswith("none/out.parquet: No such file or directory\n")


@pytest.mark.parametrize("room_bytes", [0, 2, 1000])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_disk_without_room_is_told(export, tmp_path, kind, room_bytes):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, before[1]))
    try:
        result = export("out", "--format", kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.exit_code == 1
    assert result.stderr == f"error: cannot write {tmp_path / 'out'}: File too large\n"
    assert beside(tmp_path) == []


def test_nothing_is_written_into_the_store(export, store):
    result = export("store/commitlog/out.parquet")
    assert result.exit_code == 2
    assert "lies in the store" in result.stderr
    assert "out.parquet" not in {path.name for path in store.root.rglob("*")}


@pytest.mark.parametrize("columns", ["topic,size", "topic,topic", ""])
def test_columns_that_are_none_are_told(export, columns):
    result = export("out.parquet", "--columns", columns)
    assert result.exit_code == 2
    assert "error: --columns: columns are some of position" in result.stderr


def test_without_pyarrow_it_says_what_to_install(export, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "shmq.store.arrow")
    monkeypatch.delitem(sys.modules, "shmq.commands.arrow_files")
    result = export("out.parquet")
    assert (result.exit_code, beside(tmp_path)) == (2, [])
    assert "pip install 'shmq[arrow]'" in result.stderr
