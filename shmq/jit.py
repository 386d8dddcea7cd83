"""How we compile: `@kernel` marks a function for Numba, `@entry` one that Python calls; `compile_kernels()` compiles.

A kernel's annotations are its signature, so that nothing is compiled by surprise with other types:

    int      int64         Words      int64[::1]       Bytes      uint8[::1]
    float    float64       IntArray   int32[::1]       ReadBytes  read-only uint8[::1]
    bool     boolean       None       void             a NamedTuple of the above

Importing compiles nothing. The supervisor calls `compile_kernels()` before it forks anybody, so each
worker inherits machine code and none compiles. It compiles the entries; whatever kernels these call becomes part of
them, so the others need not be looked for in the cache at each start (`tests/test_tidy.py` holds Python to entries). The compiled code is cached in a directory named after a
hash of all source that kernels can reach, because Numba's own key misses a constant or callee changed in
another file.

The longest, with many callers or much below them, are `@kernel_apart`: compiled once instead of into each caller,
which finds it by its symbol. What a message passes one by one is not: there a call costs what it saves in compiling.

Kernels release the GIL, follow C's rules for division (`error_model="numpy"`), allocate nothing and read
no clock. With `NUMBA_DISABLE_JIT=1` each runs as plain Python instead, for coverage and the debugger.
"""

import gc
import hashlib
import inspect
import os
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread, and a thread forbids fork

import llvmlite.binding
import numba
import numpy as np
from numba import types
from numpy.typing import NDArray


class _ReadBytes(np.ndarray[Any, np.dtype[np.uint8]]):
    """A marker for annotations: bytes that the kernel may only read (a write does not compile)."""


Words: TypeAlias = NDArray[np.int64]
IntArray: TypeAlias = NDArray[np.int32]
Bytes: TypeAlias = NDArray[np.uint8]
ReadBytes: TypeAlias = _ReadBytes

JIT_ENABLED: Final[bool] = not getattr(numba.config, "DISABLE_JIT", False)

_Function = TypeVar("_Function", bound=Callable[..., Any])
_kernels: list[tuple[Any, Any]] = []
_entries: list[tuple[Any, Any]] = []
_apart: list["Apart"] = []
_is_compiling: list[bool] = []
_c_functions: list[Any] = []


_TYPES: Final[dict[Any, Any]] = {
    int: types.int64,
    float: types.float64,
    bool: types.boolean,
    None: types.void,
    type(None): types.void,
    Words: types.int64[::1],
    IntArray: types.int32[::1],
    Bytes: types.uint8[::1],
    _ReadBytes: types.Array(types.uint8, 1, "C", readonly=True),
}


def kernel(function: _Function) -> _Function:
    """Mark a function for compilation with the signature that its annotations state."""
    if not JIT_ENABLED:
        return function
    _choose_cache_directory()
    compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    compile_alone = compiled.compile

    def compile_behind_apart(signature: Any) -> Any:
        _compile_apart()
        return compile_alone(signature)

    compiled.compile = compile_behind_apart
    _kernels.append((compiled, function))
    return typing.cast("_Function", compiled)


def entry(function: _Function) -> _Function:
    """Mark a kernel that Python calls: it is ready before anybody is forked."""
    compiled = kernel(function)
    if JIT_ENABLED:
        _entries.append((compiled, function))
    return compiled


class Apart:
    """A kernel that is compiled for itself: kernels call it by its symbol, Python by its address.

    It takes and gives integers, or nothing: other types have another form in C than here. What it raises gets no farther than here, so it must be the end of its
    process: see `die_of_broken_kernels`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._call: Callable[..., Any] | None = None
        name = f"{function.__module__}.{function.__qualname__}"
        signature = _signature(function)
        if not {signature.return_type, *signature.args} <= {types.int64, types.void}:
            raise TypeError(f"{name} is compiled for itself, so it can take and give integers only")
        self._external = types.ExternalFunction("kernel_" + name.replace(".", "_"), signature)

    @property
    def _numba_type_(self) -> Any:
        return self._external

    def compile(self) -> None:
        """Compile or load it, and give its address to callers that are compiled or loaded from now on."""
        if self._call is not None:
            return
        signature = _signature(self._function)
        compiled = numba.cfunc(signature, cache=True, error_model="numpy")(self._function)
        _c_functions.append(compiled)
        llvmlite.binding.add_symbol(self._external.symbol, compiled.address)
        self._call = compiled.ctypes

    def __call__(self, *arguments: Any) -> Any:
        """Call it from Python."""
        _compile_apart()
        assert self._call is not None
        return self._call(*arguments)


def kernel_apart(function: _Function) -> _Function:
    """Mark a kernel that is compiled for itself, so that none of its callers is as long as all of them together."""
    if not JIT_ENABLED:
        return function
    _choose_cache_directory()
    made = Apart(function)
    _apart.append(made)
    return typing.cast("_Function", made)


def die_of_broken_kernels() -> None:
    """Let the process end where a kernel that is compiled for itself finds an invariant broken.

    Its callers are compiled code, through which no exception goes: Python reports it as one that nobody can catch.
    """
    report = sys.unraisablehook

    def end(unraisable: Any) -> None:
        report(unraisable)
        if isinstance(unraisable.object, str):  # the compiler's own; Python names a function here
            os.abort()

    sys.unraisablehook = end


def _compile_apart() -> None:
    """Have every one ready, the callees first: a caller that is loaded from the cache asks for its symbol."""
    if _is_compiling:
        return  # one of them, for whose callees the compiler asks
    _is_compiling.append(True)
    try:
        while _apart:
            _apart.pop(0).compile()
    finally:
        _is_compiling.pop()


def compile_now(*kernels: Callable[..., Any]) -> None:
    """Compile these kernels, or load them from the cache, before they are first called."""
    wanted = {id(each) for each in kernels}
    for compiled, function in _kernels:
        if id(compiled) in wanted:
            _compile(compiled, function)


def c_function(function: Callable[..., Any]) -> int:
    """Compile a function, with the signature that its annotations state, for callers in C; return its address.

    Who calls it holds the GIL throughout. It must run compiled, so ask `JIT_ENABLED` first.
    """
    _choose_cache_directory()
    compiled = numba.cfunc(_signature(function), cache=True)(function)
    _c_functions.append(compiled)  # its machine code lives as long as it does
    return typing.cast("int", compiled.address)


def compile_kernels(*, also_inner: bool = False) -> Iterator[tuple[str, int, int]]:
    """Compile each entry imported so far, or load it from the cache.

    Args:
        also_inner: begin with the kernels that only kernels call. An entry takes no longer for it, and whoever waits
            sees how far it is.

    Yields:
        (qualified name, how many are done, how many there are), after each one.
    """
    wanted = _kernels if also_inner else _entries
    total = len(wanted)
    for done, (compiled, function) in enumerate(wanted, start=1):
        _compile(compiled, function)
        yield f"{function.__module__}.{function.__qualname__}", done, total
    _forget_compiler_garbage()


def cache_directory() -> Path:
    """Where machine code of this very source is kept, below `$SHMQ_CACHE_DIR` or the user's cache folder."""
    root = os.environ.get("SHMQ_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "shmq" / f"kernels-{_source_hash()}"


def _compile(compiled: Any, function: Callable[..., Any]) -> None:
    """Compile a kernel, or load it, under the key that it has in the cache if another kernel calls it.

    That key is its arguments alone. A signature with its result would be a second key, which a later process, that
    loads the caller whole, looks for in vain.
    """
    signature = _signature(function)
    if signature.args not in compiled.overloads:
        compiled.compile(signature.args)
    found = compiled.overloads[signature.args].signature.return_type
    if found != signature.return_type:
        raise TypeError(f"the kernel {function.__qualname__} gives {found}, not {signature.return_type}")


def _signature(function: Callable[..., Any]) -> Any:
    hints = typing.get_type_hints(function)
    names = list(inspect.signature(function).parameters)
    return _numba_type(hints["return"])(*(_numba_type(hints[name]) for name in names))


def _numba_type(annotation: Any) -> Any:
    if annotation in _TYPES:
        return _TYPES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = typing.get_type_hints(annotation)
        return types.BaseTuple.from_types(
            [_numba_type(hints[name]) for name in annotation._fields], annotation
        )
    if typing.get_origin(annotation) is tuple:
        return types.BaseTuple.from_types([_numba_type(each) for each in typing.get_args(annotation)])
    supertype = getattr(annotation, "__supertype__", None)  # a NewType, such as LogPosition
    if supertype is not None:
        return _numba_type(supertype)
    raise TypeError(f"no kernel type for the annotation {annotation!r}")


_KERNEL_PACKAGES: Final = frozenset(
    {"memory", "ring", "wire", "store", "shared", "fastpath", "local", "inspect"}
)
_MARKS: Final = (b"@kernel", b"@entry")
_hash_found: list[str] = []


def _source_hash() -> str:
    if not _hash_found:
        digest = hashlib.sha256()
        package = Path(__file__).parent
        for path in sorted(package.rglob("*.py")):
            source = path.read_bytes()
            if _may_hold_kernels(path, source):
                digest.update(str(path.relative_to(package)).encode() + source)
        digest.update(f"{numba.__version__} {np.__version__}".encode())
        _hash_found.append(digest.hexdigest()[:16])
    return _hash_found[0]


def _may_hold_kernels(path: Path, source: bytes) -> bool:
    return path.parent.name in _KERNEL_PACKAGES or any(mark in source for mark in _MARKS)


def _choose_cache_directory() -> None:
    if "NUMBA_CACHE_DIR" not in os.environ:
        setattr(numba.config, "CACHE_DIR", str(cache_directory()))  # noqa: B010 - Numba makes it at run time


def _forget_compiler_garbage() -> None:
    """Leave nothing of the compiler's for a later garbage collection to copy into each worker."""
    gc.collect()
    gc.freeze()
