"""Compile an expression to one Python function of the properties that it names.

The tree becomes the source of a function, in which a missing property is an empty text, unknown is None, and every
constant has a name: nothing of the expression's text gets into the source. Conditions that are deep become functions
of their own, since Python bounds how deep an expression may nest.

A text that is compared with a number and is none ends the evaluation, and the message does not match: so does every
other error. Conditions are looked at from left to right and no further than needed, as RocketMQ does, so that one that
would fail may not be reached.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any, Final

from shmq.broker.sql import java_values, tree
from shmq.broker.sql.grammar import parse
from shmq.broker.sql.java_values import number_order
from shmq.broker.sql.tree import (
    INT32_BITS,
    REAL,
    Bare,
    Equal,
    In,
    IsNull,
    Logic,
    Negated,
    Node,
    Not,
    Number,
    Order,
    Property,
    Search,
    SqlError,
    Text,
    Truth,
)

FILTERS_CACHED: Final = 256
DEPTH_MAX: Final = 200
"""An expression that nests deeper is refused. Words joined by AND or by OR alone are one level."""

NAMES_MAX: Final = 256
"""An expression that names more properties is refused."""

_DEPTH_IN_FUNCTION: Final = 12

Matches = Callable[..., bool]


@dataclass(frozen=True, slots=True)
class SqlFilter:
    """A compiled expression; two of the same text are equal.

    Attributes:
        expression: its text.
        names: the properties that it names.
        matches: takes their values in this order, an empty text for a missing one; whether the message matches.
    """

    expression: str
    names: tuple[str, ...] = field(compare=False)
    matches: Matches = field(compare=False)


@lru_cache(maxsize=FILTERS_CACHED)
def compile_sql(expression: str) -> SqlFilter:
    """Return the filter that an expression means.

    Raises:
        SqlError: it is none, or one that is too long or too deep.
    """
    condition = parse(expression)
    if _depth(condition) > DEPTH_MAX:
        raise SqlError(f"the expression nests more than {DEPTH_MAX} deep")
    source = _Source()
    body, _ = source.write(condition)
    source.define(
        "matches", f"    try:\n        return ({body}) is True\n    except ValueError:\n        return False"
    )
    if len(source.names) > NAMES_MAX:
        raise SqlError(f"the expression names more than {NAMES_MAX} properties")
    space: dict[str, Any] = {**_CALLED, **source.constants}
    exec(source.text(), space)  # noqa: S102 - of our own making: no text of the expression is in it
    return SqlFilter(expression, tuple(source.names), space["matches"])


class _Source:
    """The source of a filter while it is written."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.constants: dict[str, Any] = {}
        self._functions: list[tuple[str, str]] = []
        self._numbers = count()

    def define(self, name: str, body: str) -> None:
        """Add a function of all properties."""
        self._functions.append((name, body))

    def text(self) -> str:
        """All functions, which may take properties that were named after they were written."""
        parameters = ", ".join(self.names.values())
        return "\n".join(f"def {name}({parameters}):\n{body}" for name, body in self._functions).replace(
            _PARAMETERS, parameters
        )

    def write(self, node: Node) -> tuple[str, int]:
        """Return an expression of Python for a node, and how deep it nests."""
        writer = _WRITERS[type(node)]
        written, depth = writer(self, node)
        if depth < _DEPTH_IN_FUNCTION:
            return written, depth + 1
        name = f"f{next(self._numbers)}"
        self.define(name, f"    return {written}")
        return f"{name}({_PARAMETERS})", 0

    def truth(self, node: Truth) -> tuple[str, int]:
        return repr(node.value), 0

    def text_value(self, node: Text) -> tuple[str, int]:
        return self._constant(node.value), 0

    def number(self, node: Number) -> tuple[str, int]:
        return self._constant(node), 0

    def property(self, node: Property) -> tuple[str, int]:
        return f"({self._variable(node)} or None)", 0

    def negated(self, node: Negated) -> tuple[str, int]:
        number = _number(node)
        if number is not None:
            return self._constant(number), 0
        inner, depth = self.write(node.operand)
        return f"missing({inner})", depth

    def inverted(self, node: Not) -> tuple[str, int]:
        inner, depth = self.write(node.operand)
        saved = self._temporary()
        return f"(None if ({saved} := {inner}) is None else not {saved})", depth

    def bare(self, node: Bare) -> tuple[str, int]:
        return f"(False if {self._variable(node.operand)} else None)", 0

    def logic(self, node: Logic) -> tuple[str, int]:
        """Stop at the first that decides; else it is unknown if one was."""
        decides = node.symbol == "OR"
        written = []
        depths = []
        saved = []
        for operand in node.operands:
            inner, depth = self.write(operand)
            saved.append(self._temporary())
            written.append(f"({saved[-1]} := {inner}) is {decides}")
            depths.append(depth)
        unknown = " or ".join(f"{each} is None" for each in saved)
        return f"({decides} if {' or '.join(written)} else None if {unknown} else {not decides})", max(depths)

    def equal(self, node: Equal) -> tuple[str, int]:
        left, right = node.left, node.right
        if isinstance(left, Property):
            variable = self._variable(left)
            same = self._same(variable, right)
            if same is not None:
                return f"({same} if {variable} else None)", 0
        if isinstance(right, Property) and isinstance(left, Text | Number | Negated):
            variable = self._variable(right)
            same = self._same(variable, left)
            if same is not None:
                return f"({same} if {variable} else False)", 0
        first, first_depth = self.write(left)
        second, second_depth = self.write(right)
        return f"is_equal({first}, {second})", max(first_depth, second_depth)

    def order(self, node: Order) -> tuple[str, int]:
        left, right = _number(node.left), _number(node.right)
        if left is not None and right is not None:
            return repr(_SYMBOLS[node.symbol](number_order(left, right))), 0
        if isinstance(node.left, Property) and right is not None:
            return self._order(self._variable(node.left), node.symbol, right), 0
        if isinstance(node.right, Property) and left is not None:
            return self._order(self._variable(node.right), _MIRRORED[node.symbol], left), 0
        if isinstance(node.left, Property) and isinstance(node.right, Property):
            first, second = self._variable(node.left), self._variable(node.right)
            return f"(order_of({first}, {second}) {node.symbol} 0 if {first} and {second} else None)", 0
        return self._missing_order(node)

    def is_null(self, node: IsNull) -> tuple[str, int]:
        if isinstance(node.operand, Property):
            return f"(not {self._variable(node.operand)})", 0
        inner, depth = self.write(node.operand)
        return f"({inner} is None)", depth

    def is_in(self, node: In) -> tuple[str, int]:
        variable = self._variable(node.operand)
        word = "not in" if node.is_not else "in"
        return f"({variable} {word} {self._constant(frozenset(node.texts))} if {variable} else None)", 0

    def search(self, node: Search) -> tuple[str, int]:
        if not node.text:
            return "False", 0
        wanted = self._constant(node.text)
        if isinstance(node.operand, Property | Text):
            missing = ""
            if isinstance(node.operand, Text):
                text = self._constant(node.operand.value)
            else:
                text = self._variable(node.operand)
                missing = f"{text} != '' and " if node.is_not else ""
            found = (
                f"{wanted} in {text}"
                if node.symbol == "CONTAINS"
                else f"{text}.{node.symbol.lower()}({wanted})"
            )
            return f"({missing}{'not ' if node.is_not else ''}{found})", 0
        inner, depth = self.write(node.operand)
        return f"(missing({inner}) is not None)", depth

    def _same(self, variable: str, other: Node) -> str | None:
        """Python for whether a property that is there equals another value; None where that is no constant or property."""
        number = _number(other)
        if number is not None:
            return f"{_READERS[number.bits]}({variable}) == {self._constant(number.value)}"
        if isinstance(other, Text):
            return f"{variable} == {self._constant(other.value)}"
        if isinstance(other, Truth):
            return f"to_truth({variable}) is {other.value}"
        return None

    def _order(self, variable: str, symbol: str, number: Number) -> str:
        """Python for the order of a property and a number. NaN lies above all numbers, hence the double negation."""
        read = f"{_READERS[number.bits]}({variable})"
        constant = self._constant(number.value)
        if number.bits == REAL and symbol in _OPPOSITE:
            compared = f"not {read} {_OPPOSITE[symbol]} {constant}"
        else:
            compared = f"{read} {symbol} {constant}"
        return f"({compared} if {variable} else None)"

    def _missing_order(self, node: Order) -> tuple[str, int]:
        """One side is the negative of what is no number, and so is missing; what is before it is looked at all the same."""
        left_missing = isinstance(node.left, Negated) and _number(node.left) is None
        first, first_depth = self.write(node.left)
        if left_missing:
            return f"missing({first})", first_depth
        second, second_depth = self.write(node.right)
        return f"(None if {first} is None else missing({second}))", max(first_depth, second_depth)

    def _variable(self, node: Property) -> str:
        return self.names.setdefault(node.name, f"v{len(self.names)}")

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def _temporary(self) -> str:
        return f"t{next(self._numbers)}"


_PARAMETERS: Final = "<parameters>"
_READERS: Final = {INT32_BITS: "to_int32", tree.INT64_BITS: "to_int64", REAL: "to_double"}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE: Final = {">": "<=", ">=": "<"}
_SYMBOLS: Final[dict[str, Callable[[int], bool]]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_CALLED: Final = {
    "missing": lambda _: None,
    "is_equal": java_values.is_equal,
    "order_of": java_values.order_of,
    "to_int32": java_values.to_int32,
    "to_int64": java_values.to_int64,
    "to_double": java_values.to_double,
    "to_truth": java_values.to_truth,
}
_WRITERS: Final[dict[type, Callable[[_Source, Any], tuple[str, int]]]] = {
    Truth: _Source.truth,
    Text: _Source.text_value,
    Number: _Source.number,
    Property: _Source.property,
    Negated: _Source.negated,
    Not: _Source.inverted,
    Bare: _Source.bare,
    Logic: _Source.logic,
    Equal: _Source.equal,
    Order: _Source.order,
    IsNull: _Source.is_null,
    In: _Source.is_in,
    Search: _Source.search,
}


def _number(node: Node) -> Number | None:
    """The number that a node is, with any signs before it; None where it is something else."""
    is_negative = False
    while isinstance(node, Negated):
        is_negative = not is_negative
        node = node.operand
    if not isinstance(node, Number):
        return None
    return Number(node.bits, -node.value) if is_negative else node


def _depth(root: Node) -> int:
    """How deep a tree nests."""
    deepest = 0
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in _children(node)]
    return deepest


def _children(node: Node) -> Iterator[Node]:
    match node:
        case Logic(_, operands):
            yield from operands
        case Equal(left, right) | Order(_, left, right):
            yield left
            yield right
        case Negated(operand) | Not(operand) | IsNull(operand) | Search(_, operand, _, _):
            yield operand
        case _:
            return
