"""What LLVM can do that Numba cannot say: loads, stores and order on raw addresses.

Only modules of `memory` import this. Addresses are plain int64. Typed pointers are used
because an atomic store needs to know the type it points to. A plain load in a spin loop would be hoisted
out of it, so whatever is waited for goes through the atomic forms.
"""

import inspect
import platform
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, overload, register_model

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


def _fence(order: str) -> Any:
    @intrinsic
    def fence(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.fence(order)
            return context.get_dummy_value()

        return types.void(), codegen

    return fence


full_fence = _fence("seq_cst")
release_fence = _fence("release")
acquire_fence = _fence("acquire")


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


class _Vector(types.Type):
    """128 bits as two words, the low one first: kernels pass it on, nobody else sees one."""

    def __init__(self) -> None:
        super().__init__(name="Vector128")


_VECTOR: Final = _Vector()
_PAIR: Final = ir.VectorType(_I64, 2)


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _PAIR)


def _has_carryless() -> bool:
    if platform.machine() != "x86_64":
        return False
    if getattr(config, "CPU_NAME", None):  # somebody chose what is compiled for, through Numba's own settings
        return "+pclmul" in (getattr(config, "CPU_FEATURES", "") or "")
    return bool(binding.get_host_cpu_features().get("pclmul"))


HAS_CARRYLESS: Final = _has_carryless()
"""Whether the processor multiplies without carry (PCLMULQDQ); the next four need it."""


def _carryless(builder: Any, left: Any, right: Any, halves: int) -> Any:
    """Multiply a half of each, the high one where its bit (1: left, 16: right) is set."""
    signature = ir.FunctionType(_PAIR, [_PAIR, _PAIR, _I8])
    multiply = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.pclmulqdq")
    return builder.call(multiply, [left, right, ir.Constant(_I8, halves)])


def _pair(builder: Any, low: Any, high: Any) -> Any:
    made = builder.insert_element(ir.Constant(_PAIR, ir.Undefined), low, ir.Constant(_I32, 0))
    return builder.insert_element(made, high, ir.Constant(_I32, 1))


@intrinsic
def vector_at(typingctx: Any, address: Any, low: Any, shift_bits: Any) -> Any:
    """The 16 bytes at address, a word xored to their low half, shifted up by less than 128 bits."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        loaded = builder.load(_pointer(builder, args[0], wide), align=1)
        mixed = builder.xor(loaded, builder.zext(args[1], wide))
        return builder.bitcast(builder.shl(mixed, builder.zext(args[2], wide)), _PAIR)

    return _VECTOR(types.int64, types.int64, types.int64), codegen


@intrinsic
def fold_vector(typingctx: Any, vector: Any, low: Any, high: Any, address: Any) -> Any:
    """vector.low * low ^ vector.high * high ^ the 16 bytes at address, multiplied without carry."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        factors = _pair(builder, args[1], args[2])
        products = (_carryless(builder, args[0], factors, halves) for halves in (0x00, 0x11))
        loaded = builder.load(_pointer(builder, args[3], _PAIR), align=1)
        return builder.xor(builder.xor(*products), loaded)

    return _VECTOR(_VECTOR, types.int64, types.int64, types.int64), codegen


@intrinsic
def join_vectors(typingctx: Any, vector: Any, low: Any, high: Any, other: Any) -> Any:
    """As fold_vector, with another vector in place of the bytes at an address."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        factors = _pair(builder, args[1], args[2])
        products = (_carryless(builder, args[0], factors, halves) for halves in (0x00, 0x11))
        return builder.xor(builder.xor(*products), args[3])

    return _VECTOR(_VECTOR, types.int64, types.int64, _VECTOR), codegen


@intrinsic
def words_of(typingctx: Any, vector: Any) -> Any:
    """The low and the high word."""
    result = types.UniTuple(types.int64, 2)

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        words = [builder.extract_element(args[0], ir.Constant(_I32, index)) for index in (0, 1)]
        return context.make_tuple(builder, result, words)

    return result(_VECTOR), codegen


@intrinsic
def multiply_carryless(typingctx: Any, left: Any, right: Any) -> Any:
    """The low and the high word of two words' product without carry."""
    result = types.UniTuple(types.int64, 2)

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        zero = ir.Constant(_I64, 0)
        product = _carryless(builder, _pair(builder, args[0], zero), _pair(builder, args[1], zero), 0)
        words = [builder.extract_element(product, ir.Constant(_I32, index)) for index in (0, 1)]
        return context.make_tuple(builder, result, words)

    return result(types.int64, types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Let the processor know that this is a spin."""

    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        if _PAUSE:
            hint = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [_I32] if _PAUSE_ARGUMENTS else []), _PAUSE
            )
            builder.call(hint, [ir.Constant(_I32, each) for each in _PAUSE_ARGUMENTS])
        return context.get_dummy_value()

    return types.void(), codegen


_PAUSE, _PAUSE_ARGUMENTS = {
    "x86_64": ("llvm.x86.sse2.pause", ()),
    "aarch64": ("llvm.aarch64.hint", (1,)),  # yield
}.get(platform.machine(), ("", ()))


def _fetch(builder: Any, address: Any, to_write: int) -> None:
    signature = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    fetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    # 3: keep it in every cache; 1: it is data
    arguments = [ir.Constant(_I32, each) for each in (to_write, 3, 1)]
    builder.call(fetch, [_pointer(builder, address, _I8), *arguments])


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Fetch the line at an address, which need not be mapped, to be read soon."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _fetch(builder, args[0], 0)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def prefetch_to_write(typingctx: Any, address: Any) -> Any:
    """Take the line at an address, which need not be mapped, from every other processor, to be written soon."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _fetch(builder, args[0], 1)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


_LANES: Final = ir.VectorType(_I8, 32)


def _lanes_at(builder: Any, address: Any) -> Any:
    return builder.load(_pointer(builder, address, _LANES), align=1)


def _lanes_of(byte: int) -> Any:
    return ir.Constant(_LANES, [byte] * 32)


def _bits_of(builder: Any, lanes: Any) -> Any:
    return builder.zext(builder.bitcast(lanes, _I32), _I64)


@intrinsic
def json_stops(typingctx: Any, address: Any) -> Any:
    """Of the 32 bytes at address, a bit for each that is no plain character of a JSON string."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        lanes = _lanes_at(builder, args[0])
        stops = builder.icmp_signed("<", lanes, _lanes_of(0x20))  # so are bytes from 0x80 on
        for byte in b'"\\':
            stops = builder.or_(stops, builder.icmp_signed("==", lanes, _lanes_of(byte)))
        return _bits_of(builder, stops)

    return types.int64(types.int64), codegen


@intrinsic
def bytes_up_to(typingctx: Any, address: Any, limit: Any) -> Any:
    """Of the 32 bytes at address, a bit for each whose value is at most a limit, unsigned."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        one = builder.insert_element(
            ir.Constant(_LANES, ir.Undefined), builder.trunc(args[1], _I8), ir.Constant(_I32, 0)
        )
        limits = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, 32), [0] * 32))
        return _bits_of(builder, builder.icmp_unsigned("<=", _lanes_at(builder, args[0]), limits))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def lowest_bit(typingctx: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set; 64 where none is."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen


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
