"""The Python side of a reactor: who is connected, and what the kernels leave to Python.

It accepts, which is rare, and gives each connection a row; kernels do the rest (`workers/reactor.py`). A poll
runs rounds until there is something for Python: frames that the fast path does not serve, connections that are
over, descriptors that the owner watches, or the owner's news. What is sent from here waits beside the answers of
kernels, and goes with them in the next round.

Whatever the reason, a connection that goes away is put into `closed` once, and leaves one log line.
"""

import ctypes
import mmap
import os
import select
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from shmq.errors import PeerError
from shmq.fastpath import connections, desk
from shmq.memory import epoll
from shmq.store.host import Host
from shmq.wire.frame import HEADER_BYTES_MAX, PREFIX_BYTES, Frame, FrameReader
from shmq.workers import reactor, reactor_input, reactor_output, reactor_rows, reactor_state
from shmq.workers.accepting import Acceptor
from shmq.workers.connection import Accepted, Connection, Limits, Listener, name_of

_NODE: Final = struct.Struct("<qqqqq")
_WORD: Final = struct.Struct("<q")
_PREFIX: Final = struct.Struct(">II")

assert _NODE.size == reactor_state.NODE_SIZE


class RowConnection(Connection):
    """A connection whose bytes wait in a row that kernels work with.

    Attributes:
        index: of the row.
    """

    __slots__ = ("index",)

    def __init__(self, accepted: Accepted, index: int) -> None:
        super().__init__(accepted)
        self.index = index


class ReactorServer:
    """Serves the peers of some listeners, and watches other descriptors for its owner.

    Attributes:
        closed: who went away since the owner last cleared it; frames of theirs may come from the same poll.
        state: address of what the kernels work with (`workers/reactor_state.py`), for the owner to add to.
    """

    def __init__(self, limits: Limits, store_host: Callable[[Host], Host], log: Any) -> None:
        """Take how to find our address, as a record has it, from the address that a peer dialled."""
        self.closed: list[RowConnection] = []
        self._limits = limits
        self._store_host = store_host
        self._log = log
        self._epoll = select.epoll()
        self._rows = _Memory(limits.connections_max * connections.SIZE)
        self._row_views = np.frombuffer(self._rows.mapping, dtype=connections.LAYOUT)
        self._memory = _Memory(
            reactor_state.SIZE
            + desk.SIZE
            + reactor.EVENTS_MAX * (epoll.SIZE + 8)
            + reactor_input.SCRATCH_BYTES
            + reactor_input.PADDING_BYTES
        )
        self.state = self._memory.address
        self._view = np.frombuffer(self._memory.mapping, dtype=reactor_state.LAYOUT, count=1)[0]
        self._lay_out()
        self._by_index: dict[int, RowConnection] = {}
        self._by_id: dict[int, RowConnection] = {}
        self._free: list[int] = []
        self._watched: dict[int, Callable[[], None]] = {}
        self._acceptor = Acceptor(self._open_gate, self._unregister, limits.connections_max, log)

    def _lay_out(self) -> None:
        at = self.state + reactor_state.SIZE
        places = (
            ("desk", desk.SIZE),
            ("ready", 8 * reactor.EVENTS_MAX),
            ("events", epoll.SIZE * reactor.EVENTS_MAX),
            ("scratch", 0),
        )
        for name, size_bytes in places:
            self._view[name] = at
            at += size_bytes
        self._view["epoll"] = self._epoll.fileno()
        self._view["rows"] = self._rows.address
        self._view["frame_bytes_max"] = self._limits.frame_bytes_max
        self._view["output_bytes_max"] = self._limits.output_bytes_max
        self._view["wanted_flushed"] = self._view["seen_dispatched"] = reactor_state.NONE

    @property
    def desk(self) -> int:
        """Address of the desk of the kernels that serve, for the owner to fill."""
        return int(self._view["desk"])

    @property
    def now_ms(self) -> int:
        """The wall clock as of the last round."""
        (now_ms,) = _WORD.unpack_from(self._memory.mapping, reactor_state.SIZE + desk.NOW_MS)
        return int(now_ms)

    def listen(self, listener: Listener) -> None:
        """Accept connections from a listener, from now on."""
        self._acceptor.listen(listener)

    def find(self, connection_id: int) -> RowConnection | None:
        """The open connection of an id."""
        return self._by_id.get(connection_id)

    @property
    def connections(self) -> Sequence[RowConnection]:
        """Who is connected."""
        return tuple(self._by_index.values())

    @property
    def has_connections(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._by_index)

    @property
    def output_bytes(self) -> int:
        """Bytes that wait for peers to read, in all."""
        return reactor_rows.output_bytes_of_all(self.state)

    def row_of(self, connection: RowConnection) -> Any:
        """A connection's row, as a record whose fields follow it."""
        return self._row_views[connection.index]

    def sleep_on(self, bell: int, descriptor: int) -> None:
        """Let an eventfd bell end sleeps; every ring is heard once, and nobody needs to read it."""
        self._view["bell"] = bell
        self._register(descriptor, epoll.READABLE | epoll.ON_CHANGE, reactor.BELL_DATA)

    def listen_for_letters(self, inbox: int) -> None:
        """Let a poll return when a letter lies in a ring."""
        self._view["inbox"] = inbox

    def wait_by(self, strategy: int, spin_ns: int) -> None:
        """Set how to wait: one of `ring/waiting.py`, and for how long to look again before a sleep."""
        self._view["strategy"] = strategy
        self._view["spin_ns"] = spin_ns

    def want(self, news: int, flushed: int, dispatched: int) -> None:
        """State for what a poll shall return.

        Args:
            news: for which the bell shall be rung, the doorbell's bits.
            flushed: once the log is flushed so far, or NONE.
            dispatched: once it is dispatched farther, or NONE.
        """
        self._view["news"] = news
        self._view["wanted_flushed"] = flushed
        self._view["seen_dispatched"] = dispatched

    def watch(self, descriptor: int, on_ready: Callable[[], None], events: int = epoll.READABLE) -> None:
        """Call on_ready in poll() while descriptor is ready for events, or broken; again: change them."""
        if descriptor in self._watched:
            self._unregister(descriptor)
        self._register(descriptor, events, reactor.FIRST_DESCRIPTOR_DATA - descriptor)
        self._watched[descriptor] = on_ready

    def unwatch(self, descriptor: int) -> None:
        """Forget a watched descriptor; call it before closing it."""
        if self._watched.pop(descriptor, None) is not None:
            self._unregister(descriptor)

    def poll(self, timeout_ms: int) -> list[tuple[RowConnection, Frame]]:
        """Do rounds, until there is something for Python or the time is over; return the frames that are for it."""
        if self._acceptor.is_resting:
            reactor.read_clocks(self.state)
            timeout_ms = self._acceptor.reopen(timeout_ms, self.now_ms)
        reactor.react(self.state, timeout_ms)
        frames = self._take_frames()
        self._bury()
        for descriptor in self._ready_descriptors():
            if descriptor in self._watched:
                self._watched[descriptor]()
            elif self._acceptor.owns(descriptor):
                for accepted in self._acceptor.accept(descriptor, len(self._by_index), self.now_ms):
                    self._admit(accepted)
        return frames

    def send(self, connection: RowConnection, pieces: Sequence[bytes | memoryview]) -> None:
        """Send the pieces of one or more frames in the next round, what the peer does not take then as it takes it.

        One answer may exceed the limit of waiting output, which is there for peers that do not read.
        """
        if not connection.is_open:
            return
        output = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
        as_array: Any = np.frombuffer(output, dtype=np.uint8)
        reactor_output.add_output(self.state, self._address_of(connection), as_array)
        self._bury()

    def flush(self) -> None:
        """Send what waits now."""
        reactor_output.send_dirty(self.state)
        self._bury()

    def close(self, connection: RowConnection, reason: str) -> None:
        """Close a connection for a fault of its peer; what waits to be sent is dropped."""
        if connection.is_open:
            self._log.warning("connection closed", peer=name_of(connection.peer), reason=reason)
            self._forget(connection)

    def stop_accepting(self) -> None:
        """Close the listeners; connections stay."""
        self._acceptor.stop()

    def pause_reading(self) -> None:
        """Read from nobody until resume_reading(); accept, write and watch as before."""
        self._view["is_paused"] = 1

    def resume_reading(self) -> None:
        """Read again."""
        if self._view["is_paused"]:
            reactor_rows.resume_reading(self.state)

    def expire_idle(self, now_ms: int) -> None:
        """Close the connections on which nothing has moved for the limit's idle_ms; none while reading is paused."""
        if not self._view["is_paused"]:
            reactor_rows.expire(self.state, now_ms, self._limits.idle_ms)
            self._bury()

    def close_all(self) -> None:
        """Close everything; what peers take at once is still sent."""
        self.stop_accepting()
        self.flush()
        for connection in self.connections:
            self._forget(connection)
        self._watched.clear()
        self._epoll.close()

    def _take_frames(self) -> list[tuple[RowConnection, Frame]]:
        """The frames that kernels left for Python, in the order in which they came."""
        frames: list[tuple[RowConnection, Frame]] = []
        node = int(self._view["first_handed_up"])
        if not node:
            return frames
        while node:
            node, _, connection_id, at, size_bytes = _NODE.unpack(ctypes.string_at(node, _NODE.size))
            _, word = _PREFIX.unpack(ctypes.string_at(at, PREFIX_BYTES))
            header_bytes = word & HEADER_BYTES_MAX
            header = ctypes.string_at(at + PREFIX_BYTES, header_bytes)
            behind = PREFIX_BYTES + header_bytes
            body = ctypes.string_at(at + behind, size_bytes - behind)
            frames.append((self._by_id[connection_id], Frame(word, header, body)))
        reactor_state.drop_handed_up(self.state)
        return frames

    def _bury(self) -> None:
        """Close the connections that the kernels have ended."""
        while self._view["first_ended"]:
            row = reactor_state.take_ended(self.state)
            connection = self._by_index[(row - self._rows.address) // connections.SIZE]
            end = self.row_of(connection)
            self._report(connection, int(end["end"]), int(end["end_detail"]))
            self._forget(connection)

    def _report(self, connection: RowConnection, code: int, detail: int) -> None:
        """Write the log line of a connection that kernels have ended."""
        log = self._log.warning
        match code:
            case reactor_state.CLOSED_BY_PEER:
                log, reason = self._level_of_loss(connection), "closed by the peer"
            case reactor_state.LOST:
                log, reason = self._level_of_loss(connection), f"lost: {os.strerror(detail)}"
            case reactor_state.NO_FRAME:
                reason = self._explain(detail)
            case reactor_state.TOO_SLOW:
                reason = f"too slow a reader: {detail} bytes wait for it"
            case reactor_state.IDLE:
                log, reason = self._log.info, f"idle for {detail} ms"
            case _:
                reason = "no memory for it"
        log("connection closed", peer=name_of(connection.peer), reason=reason)

    def _level_of_loss(self, connection: RowConnection) -> Any:
        """A connection that went by itself is news only where it leaves something unfinished."""
        row = self.row_of(connection)
        is_unfinished = row["input_bytes"] or row["output_end"] > row["output_begin"]
        return self._log.info if is_unfinished else self._log.debug

    def _explain(self, start: int) -> str:
        """Why no frame can start with these eight bytes."""
        try:
            FrameReader(self._limits.frame_bytes_max).feed(_WORD.pack(start))
        except PeerError as error:
            return str(error)
        raise AssertionError("the kernel and the reader of frames disagree")

    def _ready_descriptors(self) -> list[int]:
        count = int(self._view["ready_count"])
        return list(struct.unpack(f"<{count}q", ctypes.string_at(int(self._view["ready"]), 8 * count)))

    def _admit(self, accepted: Accepted) -> None:
        index = self._free.pop() if self._free else len(self._by_index)
        connection = RowConnection(accepted, index)
        row = self._row_views[index]
        for name, host in (("born_host", accepted.peer), ("store_host", self._store_host(accepted.local))):
            packed = host.address + struct.pack(">i", host.port)
            row[name] = packed
            row[f"{name}_bytes"] = len(packed)
        self._by_index[index] = self._by_id[connection.id] = connection
        flags = connections.VIP if accepted.is_vip else 0
        descriptor = accepted.socket.fileno()
        error = -reactor_rows.open_row(self.state, index, descriptor, connection.id, flags)
        if error:
            self.close(connection, f"epoll does not take it: {os.strerror(error)}")

    def _address_of(self, connection: RowConnection) -> int:
        return self._rows.address + connection.index * connections.SIZE

    def _forget(self, connection: RowConnection) -> None:
        connection.is_open = False
        del self._by_index[connection.index]
        del self._by_id[connection.id]
        reactor_rows.free_row(self.state, self._address_of(connection))
        self._free.append(connection.index)
        connection.socket.close()
        self.closed.append(connection)

    def _open_gate(self, descriptor: int) -> None:
        # Exclusive: of the workers that share a listener, one connection wakes one, not all.
        data = reactor.FIRST_DESCRIPTOR_DATA - descriptor
        self._register(descriptor, epoll.READABLE | epoll.EXCLUSIVE, data)

    def _register(self, descriptor: int, events: int, data: int) -> None:
        event = self.state + reactor_state.EVENT
        epoll.write_event(event, events, data)
        error = -epoll.control(self._epoll.fileno(), epoll.ADD, descriptor, event)
        if error:
            raise OSError(error, os.strerror(error))

    def _unregister(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)


class _Memory:
    """Zeroed memory of this process alone; what is not touched costs nothing."""

    def __init__(self, size_bytes: int) -> None:
        self.mapping = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.mapping))
