"""Python's own objects from compiled code: builtins whose body is a kernel, and what such a body may do.

A builtin made here costs a call of some 20 ns, a jitted function called from Python 150 to 300. It gets its
arguments as raw object addresses and holds the GIL throughout. Objects are read through Python's C interface
alone, so nothing here depends on how a version of Python lays them out. References are borrowed unless a
function's text says otherwise; 0 is "an exception is set".

There is no form without the compiler: who offers such a builtin has a Python function that does the same.
"""

import ctypes
from typing import Any, Final

from numba import types

from shmq.jit import c_function

_METH_O: Final = 0x8
_METH_FASTCALL_KEYWORDS: Final = 0x82

_I64 = types.int64

bytes_address: Any = types.ExternalFunction("PyBytes_AsString", _I64(_I64))
"""Where the bytes of a bytes object lie; 0, with TypeError set, where it is none."""
bytes_size: Any = types.ExternalFunction("PyBytes_Size", _I64(_I64))
"""How many bytes a bytes object has."""
list_size: Any = types.ExternalFunction("PyList_Size", _I64(_I64))
"""How many items a list has; -1, with an error set, where it is none."""
list_item: Any = types.ExternalFunction("PyList_GetItem", _I64(_I64, _I64))
"""An item of a list."""
add_reference: Any = types.ExternalFunction("Py_IncRef", types.void(_I64))
"""Make a borrowed reference one's own, to return it."""
integer: Any = types.ExternalFunction("PyLong_FromLongLong", _I64(_I64))
"""A new int."""
drop_reference: Any = types.ExternalFunction("Py_DecRef", types.void(_I64))
"""Give up a reference of one's own."""
new_of_items: Any = types.ExternalFunction("PyType_GenericAlloc", _I64(_I64, _I64))
"""A new object of a class derived from tuple, of so many items, all to be set; 0 where there is no memory."""
set_item: Any = types.ExternalFunction("PyTuple_SetItem", types.int32(_I64, _I64, _I64))
"""Set an item of a tuple that nobody else has, which takes over the reference; one of 0 may be let go of, not used."""
integer_value: Any = types.ExternalFunction("PyLong_AsVoidPtr", _I64(_I64))
"""The value of an int that holds an address."""
call_vector: Any = types.ExternalFunction("PyObject_Vectorcall", _I64(_I64, _I64, _I64, _I64))
"""Call a callable with the arguments that a builtin was given; a new reference, or 0."""
clear_error: Any = types.ExternalFunction("PyErr_Clear", types.void())
"""Forget the exception that is set."""
thread_identity: Any = types.ExternalFunction("PyThread_get_thread_ident", _I64())
"""What threading.get_ident() gives."""


class _MethodDefinition(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("text", ctypes.c_char_p),
    )


_definitions: dict[Any, _MethodDefinition] = {}
"""Of each body, for as long as the process lives: builtins point to it."""


def builtin_of_one(body: Any, own: int) -> Any:
    """A builtin of one argument.

    Args:
        body: (own: int, argument: int) -> int, annotated so; its result is a new reference or 0.
        own: the address that it gets first, as an int object (`integer_value`).
    """
    return _make(body, _METH_O, own)


def builtin_of_many(body: Any, own: int) -> Any:
    """A builtin of any arguments: (own: int, arguments: int, count: int, names: int) -> int, else the same."""
    return _make(body, _METH_FASTCALL_KEYWORDS, own)


def _make(body: Any, flags: int, own: int) -> Any:
    if body not in _definitions:
        _definitions[body] = _MethodDefinition(body.__name__.encode(), c_function(body), flags, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.POINTER(_MethodDefinition), ctypes.py_object, ctypes.c_void_p)
    return make(ctypes.byref(_definitions[body]), own, None)
