"""Lives of a commit writer: one that may be killed at any store, and the successor that must make it good."""

from contextlib import closing

from shmq.shared import commit
from tests.support.writer_ground import until_idle

BATCH_BYTES_MAX = 1 << 20
NOW_MS = 1_700_000_000_000


class BareWriter:
    """The writer's kernels and nothing else: what a CommitWriter does, without its flush thread."""

    def __init__(self, ground):
        self.ground = ground
        self.segment = ground.log.create(0)

    def turn(self, sender=0, *, now_ms=NOW_MS, batch_bytes_max=BATCH_BYTES_MAX):
        """Commit a batch of one ring, and go on in the next file where the kernel wants one."""
        places = self.ground.places(self.segment)
        outcome = commit.commit(places, self.ground.sender(sender), now_ms, batch_bytes_max)
        if outcome == commit.NEEDS_FILE:
            self.roll()
        return outcome

    def roll(self):
        following = self.ground.log.create(self.segment.end)
        self.close_file()
        self.segment.close()
        self.segment = following

    def close_file(self):
        commit.close_file(self.ground.places(self.segment))


def succeed(ground):
    """Let a successor start, do all there is to do, and end; return it."""
    writer = ground.writer()
    writer.start()
    with closing(writer):
        if ground.pool is None:  # with one, its thread may be about to move the log's end
            assert not any(ground.bytes_behind()), "nothing of a dead writer's is left behind the log's end"
        until_idle(writer)
    return writer


def check(ground, sent, answers):
    """Each submission is stored once and answered, and nothing else is there.

    Args:
        ground: whose log is looked at.
        sent: the records of each submission by its tag, in the order in which they were sent.
        answers: all completions that the sender ever read.
    """
    stored = ground.stored()
    contents = [bytes(each.body) for each in stored]
    expected = [bytes(each.body) for records in sent.values() for each in records]
    assert sorted(contents) == sorted(expected), "each is stored once"
    counts = {}
    for each in stored:
        queue = (each.topic, each.queue_id)
        assert each.queue_offset == counts.get(queue, 0), "offsets have neither gap nor duplicate"
        counts[queue] = each.queue_offset + 1
    for queue, count in counts.items():
        assert ground.next_of(queue) == count
    by_tag = {}
    for answer in answers:
        assert by_tag.setdefault(answer.tag, answer) == answer, "a second answer says the same"
    assert by_tag.keys() == sent.keys(), "each is answered"
    at = {each.position: each for each in stored}
    for tag, records in sent.items():
        position = by_tag[tag].position
        assert (by_tag[tag].status, by_tag[tag].count) == (0, len(records))
        assert by_tag[tag].queue_offset == at[position].queue_offset
        assert by_tag[tag].store_ms == at[position].store_timestamp_ms
        for each in records:
            assert bytes(at[position].body) == bytes(each.body)
            position += at[position].total_size
    assert not any(ground.bytes_behind()), "nothing lies behind the log's end"
