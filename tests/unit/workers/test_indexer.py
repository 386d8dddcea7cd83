"""The thread that puts keys into the key index."""

import errno
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shmq.errors import StoreError
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import commit, gates, plan
from shmq.store import key_files
from shmq.store.checkpoint import Checkpoint
from shmq.store.key_files import list_key_files
from shmq.store.key_mark import KeyMark, read_key_mark, write_key_mark
from shmq.store.key_recover import LogExtent, recover_keys
from shmq.store.log import LogReader
from shmq.store.store_files import StoreSizes
from shmq.store.watermarks import TRIMMED
from shmq.workers import indexer
from shmq.workers.dispatcher import Dispatcher
from tests.support.key_index_model import KeyIndexModel
from tests.support.waiting import eventually
from tests.support.writer_ground import QUEUES, WriterGround, message
from tests.support.writer_lives import NOW_MS, BareWriter

SHAPE = {"key_index_slots": 5, "key_index_entries": 11}


class Ground(WriterGround):
    """A log that grows, and dispatchers with indexers."""

    def __init__(self, root, **settings):
        super().__init__(root, **(SHAPE | settings))
        self.writer_part = BareWriter(self)
        self.model = KeyIndexModel(*SHAPE.values())
        self.count = 0
        self.dispatcher = self.started()

    def started(self):
        made = Dispatcher(self.config, self.memory, self.paths)
        made.start()
        return made

    def append(self, count, *, has_keys=True):
        begin = self.marks.appended
        for _ in range(count):
            unique, key = f"u{self.count}", f"k{self.count % 3}"
            text = f"UNIQ_KEY\x01{unique}\x02KEYS\x01{key}\x02" if has_keys else ""
            self.submit(message(QUEUES[0], b"x", properties=text.encode()))
            self.count += 1
        while self.writer_part.turn(now_ms=NOW_MS) != commit.IDLE:
            continue
        if has_keys:
            for each in self.stored():
                if each.position >= begin:
                    pairs = dict(
                        pair.split("\x01") for pair in each.properties.decode().split("\x02") if pair
                    )
                    topic = each.topic.decode()
                    self.model.put_message(
                        topic, pairs["UNIQ_KEY"], pairs["KEYS"], each.position, each.store_timestamp_ms
                    )

    def dispatch(self):
        while self.dispatcher.do_work(0):
            continue
        assert self.marks.dispatched == self.marks.appended

    def is_indexed(self):
        return self.marks.indexed == self.marks.dispatched

    def check(self):
        files = [path.read_bytes() for path in list_key_files(self.paths.index)]
        assert files == [bytes(file.content) for file in self.model.files]

    @property
    def marks(self):
        return self.memory.watermarks


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    made.dispatcher.close()


def test_what_is_dispatched_is_indexed(ground):
    ground.append(20)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.check()


def test_what_is_not_dispatched_is_not_indexed(ground):
    ground.append(3)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.append(3)
    ground.dispatcher.wake()
    assert ground.marks.indexed == ground.marks.dispatched < ground.marks.appended


def test_it_is_woken_when_it_has_rested(ground, monkeypatch):
    monkeypatch.setattr(indexer, "IDLE_AFTER_NS", 0)
    for _ in range(5):
        ground.append(4)
        ground.dispatch()
        eventually(ground.is_indexed)
    ground.check()


def test_a_close_syncs_what_was_written_and_leaves_the_mark(ground):
    ground.append(20)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.dispatcher.close()
    names = [int(path.name) for path in list_key_files(ground.paths.index)]
    assert read_key_mark(ground.paths.index_checkpoint) == KeyMark(
        ground.marks.dispatched, names[0], names[-1], 4, 11
    )
    ground.dispatcher = ground.started()


def test_full_files_are_vouched_for_once_they_are_on_disk(ground):
    assert ground.marks.full_keys_ms == 0
    ground.append(20)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.dispatcher.close()
    full = list_key_files(ground.paths.index)[-2].read_bytes()
    assert ground.marks.full_keys_ms == int.from_bytes(full[8:16]) >= NOW_MS
    ground.dispatcher = ground.started()
    ground.append(1)
    ground.dispatch()
    eventually(ground.is_indexed)
    assert ground.dispatcher._indexer._files.full_ms == ground.marks.full_keys_ms


def test_what_has_no_keys_is_passed_over_without_a_look(ground, monkeypatch):
    ground.append(5)
    ground.dispatch()
    eventually(ground.is_indexed)
    with monkeypatch.context() as blind:
        blind.delattr(indexer.KeyBuild, "step")
        ground.append(50, has_keys=False)
        ground.dispatch()
        eventually(ground.is_indexed)
    ground.append(5)
    ground.append(5, has_keys=False)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.check()


def test_messages_without_keys_move_the_mark_too(ground):
    ground.append(5, has_keys=False)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.dispatcher.close()
    assert read_key_mark(ground.paths.index_checkpoint) == KeyMark(ground.marks.dispatched)
    ground.dispatcher = ground.started()


def test_while_it_works_the_mark_follows(ground, monkeypatch):
    monkeypatch.setattr(indexer, "SYNC_NS", 1)
    ground.append(7)
    ground.dispatch()

    def is_marked():
        mark = read_key_mark(ground.paths.index_checkpoint)
        return mark is not None and mark.indexed == ground.marks.dispatched

    eventually(is_marked)


def test_a_successor_goes_on_at_the_watermark(ground):
    ground.append(7)
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.dispatcher.close()
    ground.append(7)
    ground.dispatcher = ground.started()
    ground.dispatch()
    eventually(ground.is_indexed)
    ground.check()


def test_a_full_disk_holds_up_keys_and_nothing_else(ground, monkeypatch):
    refused = []

    def no_room(*_):
        refused.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(indexer, "RETRY_NS", 1)
    with monkeypatch.context() as full:
        full.setattr(key_files, "preallocate", no_room)
        ground.append(20)
        ground.dispatch()
        eventually(lambda: len(refused) > 2)
        assert ground.marks.indexed < ground.marks.dispatched
    eventually(ground.is_indexed)
    ground.check()


def test_a_thread_that_dies_is_the_end_of_the_process(ground, monkeypatch):
    def broken(*_):
        raise RuntimeError("broken")

    died = []
    monkeypatch.setattr("threading.excepthook", lambda args: died.append(args.exc_type))
    monkeypatch.setattr(key_files, "preallocate", broken)
    ground.append(1)
    assert ground.dispatcher.do_work(0) == 1
    eventually(lambda: died)
    with pytest.raises(AssertionError, match="indexer"):
        ground.dispatcher.do_work(0)
    monkeypatch.undo()
    ground.dispatcher = ground.started()


def test_a_sync_that_fails_is_the_end_of_the_process(ground, monkeypatch):
    def refuse(*_):
        raise StoreError("cannot write the mark")

    monkeypatch.setattr(indexer, "write_key_mark", refuse)
    monkeypatch.setattr(indexer, "SYNC_NS", 1)
    ground.append(1)

    def has_failed():
        try:
            ground.dispatcher.do_work(0)
        except StoreError as error:
            return "cannot write the mark" in str(error)
        return False

    eventually(has_failed)
    monkeypatch.undo()


def test_it_may_be_turned_off(tmp_path):
    ground = Ground(tmp_path, key_index=False)
    ground.append(5)
    ground.dispatch()
    assert ground.dispatcher.is_ready
    assert not ground.paths.index.exists()
    ground.dispatcher.close()
    assert read_key_mark(ground.paths.index_checkpoint) is None


LOG_BEGIN = indexer.Indexer._log_begin


@pytest.fixture(autouse=True)
def _log_files_are_of_any_size(monkeypatch):
    """Let positions be trimmed where no file of the log ends."""
    monkeypatch.setattr(indexer.Indexer, "_log_begin", lambda self: self._marks.trimmed)


def trim(ground, position):
    ground.marks.move(TRIMMED, position)
    tell(ground)


def tell(ground):
    """Tell, as retention does, that files have gone."""
    at = ground.memory.place("gates") + gates.CLEANUPS
    store_word(at, load_word(at) + 1)
    doorbell.ring_bell(ground.memory.bell(plan.BELL_INDEXER))


def test_while_a_file_of_the_log_is_there_its_keys_are(tmp_path, monkeypatch):
    """After a death of all processes it would be served again."""
    monkeypatch.setattr(indexer.Indexer, "_log_begin", LOG_BEGIN)
    ground = Ground(tmp_path, commit_log_file_bytes=4096)
    names, ends = indexed_files(ground)
    file_bytes = ground.log.file_bytes
    assert len(ground.log.starts()) > 1
    trim(ground, file_bytes)
    eventually(lambda: not ground.dispatcher._indexer._has_to_let_go)
    assert index_names(ground) == names
    ground.log.file(0).unlink()
    tell(ground)
    eventually(
        lambda: index_names(ground) == [n for n, end in zip(names, ends, strict=True) if end >= file_bytes]
    )
    ground.dispatcher.close()


def index_names(ground):
    return [path.name for path in list_key_files(ground.paths.index)]


def indexed_files(ground):
    """Index much; return the files, and where the last record of each lies."""
    ground.append(60)
    ground.dispatch()
    eventually(ground.is_indexed)
    paths = list_key_files(ground.paths.index)
    ends = [int.from_bytes(path.read_bytes()[24:32], "big") for path in paths]
    assert len(paths) > 5
    return [path.name for path in paths], ends


def test_when_the_log_is_trimmed_the_files_of_what_is_gone_go(ground):
    names, ends = indexed_files(ground)
    trim(ground, ends[2])
    eventually(lambda: index_names(ground) == names[2:])
    trim(ground, ends[2] + 1)
    eventually(lambda: index_names(ground) == names[3:])
    mark = read_key_mark(ground.paths.index_checkpoint)
    assert (mark.first_file, mark.files) == (int(names[3]), len(names) - 3)
    trim(ground, ground.marks.indexed)
    eventually(lambda: index_names(ground) == names[-1:])
    ground.append(5)
    ground.dispatch()
    eventually(ground.is_indexed)


def test_one_that_rests_is_woken_for_it(ground, monkeypatch):
    monkeypatch.setattr(indexer, "IDLE_AFTER_NS", 0)
    names, ends = indexed_files(ground)
    bell = ground.memory.bell(plan.BELL_INDEXER)
    eventually(lambda: load_word(bell + doorbell.SLEEPING) == 1)
    trim(ground, ends[0] + 1)
    eventually(lambda: index_names(ground) == names[1:])


@pytest.mark.parametrize("killed_at", ["before the mark", "before the files go", "between two files"])
def test_wherever_it_is_killed_recovery_misses_no_file(ground, monkeypatch, killed_at):
    names, ends = indexed_files(ground)
    position = ends[2] + 1
    gone = {"before the mark": 0, "before the files go": 0, "between two files": 1}[killed_at]
    before = read_key_mark(ground.paths.index_checkpoint)
    reached = []
    with monkeypatch.context() as killed:

        def remove(_indexer, paths):
            for path in paths[:gone]:
                path.unlink()
            if paths:  # a sync without a trim removes none
                reached.append(paths)

        killed.setattr(indexer.Indexer, "_remove", remove)
        trim(ground, position)
        eventually(lambda: reached)
    if killed_at == "before the mark":
        whole = KeyMark(ground.marks.indexed, int(names[0]), int(names[-1]), len(names), before_end(ground))
        write_key_mark(ground.paths.index_checkpoint, whole)
    assert before is None or before.files <= len(names)
    ground.dispatcher.close()
    reader = LogReader(ground.paths.commitlog, ground.config.commit_log_file_bytes)
    log = LogExtent(reader, position, ground.marks.appended)
    shape = StoreSizes.of(ground.config).key_index
    said = []
    for is_clean in (True, False):
        indexed = recover_keys(ground.paths, shape, log, Checkpoint(), is_clean, said.append)
        assert index_names(ground) == names[gone:]
        assert indexed == ground.marks.appended
    assert [line for line in said if "missing" in line] == []
    reader.close()
    ground.dispatcher = ground.started()
    eventually(lambda: index_names(ground) == names[3:])


def before_end(ground):
    """The number of the next entry of the newest index file."""
    return int.from_bytes(list_key_files(ground.paths.index)[-1].read_bytes()[36:40], "big")


def test_what_cannot_be_removed_is_said_and_holds_up_nothing(ground, monkeypatch):
    names, ends = indexed_files(ground)
    with capture_logs() as lines, monkeypatch.context() as refusing:

        def refuse(*_, **__):
            raise PermissionError(1, "Operation not permitted")

        refusing.setattr(Path, "unlink", refuse)
        trim(ground, ends[0] + 1)
        eventually(lambda: any(line["event"] == "index files stay" for line in lines))
    ground.append(5)
    ground.dispatch()
    eventually(ground.is_indexed)
    assert index_names(ground)[0] == names[0]
