"""Every order in which small actors can touch shared words, store buffers included.

The real functions are run, not copies of them: their source is turned into generators that stop at each load,
store, fence and system call. A world holds the actors and decides who goes on; `explore` tries every order.
Memory behaves as x86's does: a store waits in its actor's buffer, seen by nobody else, until it is flushed,
which may happen at any later moment, in order. A fence or a system call first needs an empty buffer.

An actor is a generator: `yield from functions.claim(ring, 8)` runs a real function step by step, and
`yield ("load_acquire", address)` makes a step of its own.
"""

import ast
import ctypes
import inspect
import textwrap
from collections import deque
from types import SimpleNamespace

_WIDTHS = {
    "load_acquire": ctypes.c_int64,
    "load_relaxed": ctypes.c_int64,
    "load_native_i64": ctypes.c_int64,
    "load_native_i32": ctypes.c_int32,
    "store_release": ctypes.c_int64,
    "store_relaxed": ctypes.c_int64,
    "store_native_i64": ctypes.c_int64,
    "store_native_i32": ctypes.c_int32,
}
_CALLS = {"full_fence", "futex_wait", "futex_wake", "write_word", "eventfd_wait"}
_STEPS = _WIDTHS.keys() | _CALLS


class _Stepping(ast.NodeTransformer):
    """Turns calls of primitives into yields, calls of a module's own functions into yields from them."""

    def __init__(self, own):
        self._own = own

    def visit_Call(self, node):
        self.generic_visit(node)
        if not isinstance(node.func, ast.Name):
            return node
        if node.func.id in _STEPS:
            return ast.Yield(ast.Tuple([ast.Constant(node.func.id), *node.args], ast.Load()))
        return ast.YieldFrom(node) if node.func.id in self._own else node


def stepping(module, *, without=()):
    """The functions of a module as generators; steps named in `without` are left out."""
    own = {
        name: getattr(value, "py_func", value)
        for name, value in vars(module).items()
        if callable(value)
        and not isinstance(value, type)
        and getattr(value, "__module__", "") == module.__name__
    }
    namespace = dict(vars(module))
    for function in own.values():
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        made = _Stepping(own).visit(tree).body[0]
        made.decorator_list = []
        made.returns = None
        made.body += ast.parse("if False: yield").body  # a generator, whether or not it has a step
        exec(compile(ast.fix_missing_locations(tree), module.__name__, "exec"), namespace)  # our own source
    if without:
        inner = {name: namespace[name] for name in own}
        for name, function in inner.items():
            namespace[name] = _leaving_out(function, without)
    return SimpleNamespace(**{name: namespace[name] for name in own})


def _leaving_out(function, without):
    def run(*args):
        steps = function(*args)
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            answer = None if step[0] in without else (yield step)

    return run


class _Actor:
    def __init__(self, name, steps):
        self.name = name
        self.steps = steps
        self.buffer = deque()
        self.sleeps_on = 0
        self.is_done = False
        self.pending = ()

    def advance(self, answer):
        try:
            self.pending = self.steps.send(answer)
        except StopIteration:
            self.pending = ()
            self.is_done = True

    def state(self):
        """Where it stands: each frame's next instruction and variables."""
        frames, steps = [], self.steps
        while steps is not None and getattr(steps, "gi_frame", None) is not None:
            frames.append(
                (steps.gi_frame.f_lasti, repr(sorted(steps.gi_frame.f_locals.items(), key=lambda i: i[0])))
            )
            steps = steps.gi_yieldfrom
        return (self.pending, tuple(frames), tuple(self.buffer), self.sleeps_on, self.is_done)


class World:
    """Actors over shared memory.

    Attributes:
        eventfds: the count of each eventfd, by descriptor.
    """

    def __init__(self, memory, **actors):
        """Take the shared memory, an array, and the actors by name."""
        self._memory = memory
        self._actors = {name: _Actor(name, steps) for name, steps in actors.items()}
        self.eventfds = {}
        for actor in self._actors.values():
            actor.advance(None)

    def options(self):
        """What may happen next: an actor's step, or the flush of its oldest store."""
        found = [("step", actor.name) for actor in self._actors.values() if self._can_step(actor)]
        return found + [("flush", actor.name) for actor in self._actors.values() if actor.buffer]

    def take(self, option):
        kind, name = option
        actor = self._actors[name]
        if kind == "flush":
            step, address, value = actor.buffer.popleft()
            _WIDTHS[step].from_address(address).value = value
        else:
            self._perform(actor, *actor.pending)

    def key(self):
        """The whole state, as something to compare."""
        actors = tuple(actor.state() for actor in self._actors.values())
        return self._memory.tobytes(), actors, tuple(sorted(self.eventfds.items()))

    @property
    def stuck(self):
        """The actors that wait for ever, when nothing can happen any more."""
        return [actor.name for actor in self._actors.values() if not actor.is_done]

    def _can_step(self, actor):
        if actor.is_done or actor.sleeps_on:
            return False
        if actor.pending[0] == "eventfd_wait":
            return not actor.buffer and self.eventfds.get(actor.pending[1], 0) > 0
        return actor.pending[0] not in _CALLS or not actor.buffer

    def _perform(self, actor, step, *args):
        if step.startswith("load"):
            actor.advance(self._load(actor, step, args[0]))
            return
        if step.startswith("store"):
            actor.buffer.append((step, *args))
        elif step == "futex_wait":
            address, expected, _timeout_ns = args
            if ctypes.c_int32.from_address(address).value == expected:
                actor.sleeps_on = address
                return  # it goes on when it is woken
        elif step == "futex_wake":
            self._wake(args[0])
        elif step == "write_word":
            self.eventfds[args[0]] = self.eventfds.get(args[0], 0) + 1
        elif step == "eventfd_wait":
            self.eventfds[args[0]] = 0
        actor.advance(None)

    def _load(self, actor, step, address):
        for stored, at, value in reversed(actor.buffer):  # one's own stores are seen at once
            if at == address:
                assert _WIDTHS[stored] is _WIDTHS[step], "a word is stored and loaded in one width"
                return value
        return _WIDTHS[step].from_address(address).value

    def _wake(self, address):
        for actor in self._actors.values():
            if actor.sleeps_on == address:
                actor.sleeps_on = 0
                actor.advance(None)
                return


def explore(make_world, check):
    """Try every order; call check(world) at each end. Return how many different states there were.

    Args:
        make_world: gives the same world, new, each time.
        check: sees a world in which nothing can happen any more.
    """
    seen = set()
    paths = [[]]
    while paths:
        path = paths.pop()
        world = make_world()
        for option in path:
            world.take(option)
        while True:
            options = world.options()
            key = world.key()
            if key in seen:
                break
            seen.add(key)
            if not options:
                check(world)
                break
            paths += [[*path, option] for option in options[1:]]
            path = [*path, options[0]]
            world.take(options[0])
    return len(seen)
