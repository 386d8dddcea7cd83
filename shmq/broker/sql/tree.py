"""The tree of an expression, and what RocketMQ refuses when it builds one.

A node is a value or a condition. Values are a property, which is a text or missing, and constants. A condition is
true, false, or unknown. The functions that make nodes raise SqlError for what RocketMQ does not take: a number as a
condition, an order of texts, a constant compared with NULL.

Several things are not what SQL has: a property alone is a condition that is never true; `x = NULL` is refused; a
negative number is no constant, so that the bounds of `BETWEEN -1 AND -2` are not checked.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

INT32_MAX: Final = (1 << 31) - 1
INT64_MAX: Final = (1 << 63) - 1
INT32_BITS: Final = 32
INT64_BITS: Final = 64
REAL: Final = 0
"""The bits of a number with a fraction."""


class SqlError(ValueError):
    """The text is no expression that RocketMQ would take."""


class Property(NamedTuple):
    """The value of a property; missing where the message has none of that name."""

    name: str


class Text(NamedTuple):
    """A text in quotation marks."""

    value: str


class Number(NamedTuple):
    """A number that is written out; `bits` is what texts are read as that are compared with it, REAL a double."""

    bits: int
    value: int | float


class Truth(NamedTuple):
    """TRUE, FALSE, or NULL."""

    value: bool | None


class Negated(NamedTuple):
    """Minus a value; missing unless that is a number."""

    operand: "Node"


class Not(NamedTuple):
    """The opposite of a condition."""

    operand: "Node"


class Bare(NamedTuple):
    """A property as a condition: false, or unknown where it is missing."""

    operand: Property


class Logic(NamedTuple):
    """AND or OR, from left to right."""

    symbol: Literal["AND", "OR"]
    operands: tuple["Node", ...]


class Equal(NamedTuple):
    """Whether two are equal."""

    left: "Node"
    right: "Node"


class Order(NamedTuple):
    """Whether two numbers, or texts that are numbers, are in this order."""

    symbol: str
    left: "Node"
    right: "Node"


class IsNull(NamedTuple):
    """Whether a value is missing, or a condition unknown."""

    operand: "Node"


class In(NamedTuple):
    """Whether a property is one of some texts, or none of them."""

    operand: Property
    texts: tuple[str, ...]
    is_not: bool


class Search(NamedTuple):
    """Whether a text holds, begins or ends with another, or does not; false where it is missing, both ways."""

    symbol: str
    operand: "Node"
    text: str
    is_not: bool


Value: TypeAlias = Property | Text | Number | Negated
Condition: TypeAlias = Truth | Not | Bare | Logic | Equal | Order | IsNull | In | Search
Node: TypeAlias = Value | Condition

_CONSTANTS: Final = (Text, Number, Truth)
_CONDITIONS: Final = (Truth, Not, Bare, Logic, Equal, Order, IsNull, In, Search)


def text(quoted: str) -> Text:
    """A text of a token: within quotation marks, and each within it doubled."""
    return Text(quoted[1:-1].replace("''", "'"))


def whole_number(digits: str) -> Number:
    """A number of a token without a point, with or without an L at its end."""
    value = int(digits.rstrip("lL"))
    if value > INT64_MAX:
        raise SqlError(f"{digits} has more than 64 bits")
    return Number(INT32_BITS if value <= INT32_MAX else INT64_BITS, value)


def real_number(digits: str) -> Number:
    """A number of a token with a point or an exponent; nothing that rounds to zero is taken, nor is zero."""
    value = float(digits)
    if value in {0.0, float("inf")}:
        raise SqlError(f"{digits} is not between the smallest and the largest double")
    return Number(REAL, value)


def condition(node: Node) -> Node:
    """A node where a condition is wanted."""
    if isinstance(node, Property):
        return Bare(node)
    if not isinstance(node, _CONDITIONS):
        raise SqlError("a value stands where a condition is wanted")
    return node


def logic(symbol: Literal["AND", "OR"], left: Node, right: Node) -> Logic:
    """Join two conditions; what was joined by the same word before is continued."""
    first = condition(left)
    begun = first.operands if isinstance(first, Logic) and first.symbol == symbol else (first,)
    return Logic(symbol, (*begun, condition(right)))


def equal(left: Node, right: Node) -> Equal:
    """Compare two for equality."""
    for operand in (left, right):
        if isinstance(operand, Truth) and operand.value is None:
            raise SqlError("NULL cannot be compared")
    if isinstance(left, Truth) and isinstance(right, Text | Number):
        raise SqlError("a truth value cannot be compared with this constant")
    return Equal(left, right)


def order(symbol: str, left: Node, right: Node) -> Order:
    """Compare two for order."""
    for operand in (left, right):
        if isinstance(operand, (*_CONDITIONS, Text)):
            raise SqlError("only numbers and properties have an order")
    return Order(symbol, left, right)


def between(value: Node, low: Node, high: Node, *, is_not: bool) -> Logic:
    """Whether a value lies between two, these included, or outside."""
    if is_not:
        return logic("OR", order("<", value, low), order(">", value, high))
    if isinstance(low, Number) and isinstance(high, Number) and high.value < low.value:
        raise SqlError("BETWEEN wants the lower bound first")
    return logic("AND", order(">=", value, low), order("<=", value, high))


def is_in(operand: Node, texts: tuple[str, ...], *, is_not: bool) -> In:
    """Whether a property is among some texts."""
    if not isinstance(operand, Property):
        raise SqlError("IN wants a property on its left")
    return In(operand, texts, is_not)
