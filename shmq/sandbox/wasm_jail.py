"""The process in which an uploaded filter in WebAssembly runs: `python -I -m shmq.sandbox.wasm_jail MEMORY_BYTES FUEL`.

The module is compiled when almost everything is given up, and instantiated and run when all is
(`confinement.py`, `seccomp.py`). It gets no imports: it can compute, in a bounded memory of its own, so many
instructions a message. It must export

- `memory`;
- `allocate(size) -> address`: room for so many bytes, until it is called again;
- `matches(properties, properties_size, body, body_size) -> i32`: not 0 where the message matches. Both lie in
  one allocation. Properties are `name 0x01 value 0x02` repeated; the body is as stored.

The module may come as a binary or as text. A trap ends the instance: the next message gets a new one.
"""

import os
import sys
from typing import Final

import wasmtime

from shmq.sandbox.confinement import give_up_calls, give_up_privileges
from shmq.sandbox.frames import OK, Parts, read_frame, split_messages, write_failure, write_frame

ENGINE_BYTES_MAX: Final = 1 << 30
"""Addresses for the engine and its compiler, beside the memory of the module."""

_PAGE_BYTES: Final = 1 << 16


class WasmFilter:
    """A module, and the instance that runs now."""

    def __init__(self, source: bytes, memory_bytes_max: int, fuel: int) -> None:
        """Compile a module, binary or text.

        Raises:
            wasmtime.WasmtimeError: it is none.
        """
        config = wasmtime.Config()
        config.consume_fuel = True
        config.parallel_compilation = False  # no thread but this one
        config.memory_init_cow = False  # it would map a file of memory
        config.memory_reservation = (
            memory_bytes_max  # not the 4 GiB that a memory may have: addresses are bounded
        )
        config.memory_guard_size = _PAGE_BYTES
        self._engine = wasmtime.Engine(config)
        self._module = wasmtime.Module(self._engine, source.decode() if source[:1] == b"(" else source)
        self._memory_bytes_max = memory_bytes_max
        self._fuel = fuel
        self._instance: tuple[wasmtime.Store, wasmtime.Instance] | None = None

    def start(self) -> None:
        """Make an instance.

        Raises:
            wasmtime.WasmtimeError: it wants imports, or its start fails.
            ValueError: it does not export what it must.
        """
        store = wasmtime.Store(self._engine)
        store.set_limits(memory_size=self._memory_bytes_max, instances=1, memories=1, tables=4)
        store.set_fuel(self._fuel)
        instance = wasmtime.Instance(store, self._module, [])
        exports = instance.exports(store)
        for name, kind in (
            ("memory", wasmtime.Memory),
            ("allocate", wasmtime.Func),
            ("matches", wasmtime.Func),
        ):
            if not isinstance(exports.get(name), kind):
                raise ValueError(f"the module exports no {kind.__name__.lower()} `{name}`")  # noqa: TRY004
        self._instance = store, instance

    def matches(self, message: Parts) -> bool:
        """Whether a message matches.

        Raises:
            wasmtime.WasmtimeError: a trap, or no fuel is left.
        """
        if self._instance is None:
            self.start()
        assert self._instance is not None
        store, instance = self._instance
        try:
            store.set_fuel(self._fuel)
            exports = instance.exports(store)
            memory, allocate, matches = exports["memory"], exports["allocate"], exports["matches"]
            text = message.properties + message.body
            address = allocate(store, len(text)) & 0xFFFF_FFFF  # type: ignore[operator]
            memory.write(store, text, address)  # type: ignore[union-attr]
            body = address + len(message.properties)
            sizes = len(message.properties), len(message.body)
            return bool(matches(store, address, sizes[0], body, sizes[1]))  # type: ignore[operator]
        except BaseException:
            self._instance = None
            raise


def main() -> None:
    """Serve until the parent is gone."""
    source = read_frame()
    memory_bytes_max, fuel = int(sys.argv[1]), int(sys.argv[2])
    give_up_privileges(memory_bytes_max + ENGINE_BYTES_MAX)
    if source is None:
        return
    try:
        wasm = WasmFilter(source, memory_bytes_max, fuel)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it
        write_failure(str(error))
        return
    give_up_calls()
    try:
        wasm.start()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it
        write_failure(str(error))
        return
    write_frame(OK)
    while (payload := read_frame()) is not None:
        try:
            write_frame(OK + bytes(wasm.matches(each) for each in split_messages(payload)))
        except Exception as error:  # noqa: BLE001 - a trap, or what it exports has other types
            write_failure(str(error))


if __name__ == "__main__":
    main()
    os._exit(0)  # the interpreter's own end makes calls that are not allowed any more
