"""What LLVM can do that Numba cannot say: loads, stores and order on raw addresses.

Nobody but `atomics`, `endian` and `block` imports this. Addresses are plain int64. Typed pointers are used
because an atomic store needs to know the type it points to. A plain load in a spin loop would be hoisted
out of it, so whatever is waited for goes through the atomic forms.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_Function = TypeVar("_Function", bound=Callable[..., Any])

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_NUMBA_TYPE = {8: types.uint8, 16: types.int16, 32: types.int32, 64: types.int64}


def _pointer(builder: Any, address: Any, to: Any) -> Any:
    return builder.inttoptr(address, to.as_pointer())


@intrinsic
def load_acquire_i64(typingctx: Any, address: Any) -> Any:
    """The word at address; what its writer stored before it is visible after."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0], _I64), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def load_relaxed_i64(typingctx: Any, address: Any) -> Any:
    """The word at address, never torn and never hoisted, in no order with others."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0], _I64), "monotonic", 8)

    return types.int64(types.int64), codegen


@intrinsic
def store_release_i64(typingctx: Any, address: Any, value: Any) -> Any:
    """Store after all that came before it."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], _pointer(builder, args[0], _I64), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def store_relaxed_i64(typingctx: Any, address: Any, value: Any) -> Any:
    """Store without tearing, in no order with others."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], _pointer(builder, args[0], _I64), "monotonic", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def full_fence(typingctx: Any) -> Any:
    """No load after it moves before a store ahead of it."""

    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def _loader(bits: int, swap: bool) -> Any:
    integer = ir.IntType(bits)

    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = builder.load(_pointer(builder, args[0], integer), align=1)
            if swap:
                value = builder.bswap(value)
            if bits == 64:
                return value
            return builder.zext(value, _I64) if bits == 8 else builder.sext(value, _I64)

        return types.int64(types.int64), codegen

    return load


def _storer(bits: int, swap: bool) -> Any:
    integer = ir.IntType(bits)

    @intrinsic
    def store(typingctx: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            narrowed = args[1] if bits == 64 else builder.trunc(args[1], integer)
            if swap:
                narrowed = builder.bswap(narrowed)
            builder.store(narrowed, _pointer(builder, args[0], integer), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


_SWAP = sys.byteorder == "little"

load_u8 = _loader(8, swap=False)
load_be_i16 = _loader(16, _SWAP)
load_be_i32 = _loader(32, _SWAP)
load_be_i64 = _loader(64, _SWAP)
load_native_i32 = _loader(32, swap=False)
load_native_i64 = _loader(64, swap=False)
store_u8 = _storer(8, swap=False)
store_be_i16 = _storer(16, _SWAP)
store_be_i32 = _storer(32, _SWAP)
store_be_i64 = _storer(64, _SWAP)
store_native_i32 = _storer(32, swap=False)
store_native_i64 = _storer(64, swap=False)


@intrinsic
def copy_bytes(typingctx: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy between ranges that do not overlap."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        cgutils.raw_memcpy(
            builder, _pointer(builder, args[0], _I8), _pointer(builder, args[1], _I8), args[2], 1
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def zero_bytes(typingctx: Any, target: Any, size: Any) -> Any:
    """Set a range to zero."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        cgutils.memset(builder, _pointer(builder, args[0], _I8), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def array_address(typingctx: Any, array: Any) -> Any:
    """Where the first byte of an array, bytes object or memoryview lies."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.ptrtoint(made.data, _I64)

    return types.int64(array), codegen


def inline_in_kernels(machine: Any) -> Callable[[_Function], _Function]:
    """Let a Python function stand for an intrinsic: kernels get the intrinsic, Python the function."""

    def mark(function: _Function) -> _Function:
        names = ", ".join(inspect.signature(function).parameters)
        # Numba wants the implementation to have the very parameters that callers may name.
        made: dict[str, Any] = {"machine": machine}
        exec(f"def choose({names}):\n    return lambda {names}: machine({names})", made)  # noqa: S102
        overload(function)(made["choose"])
        return function

    return mark
