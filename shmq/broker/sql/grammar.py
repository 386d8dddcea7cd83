"""The grammar of SQL92 filters: a text to the tree of its expression.

The words and the order of precedence are RocketMQ's: OR, AND, equality and IS, comparison, then what stands before a
single value. As there, the text is read as far as it makes sense: what follows a whole expression is ignored, but the
first word of it must be one.
"""

from functools import cache
from typing import Any, Final

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError, UnexpectedCharacters, UnexpectedToken

from shmq.broker.sql import tree
from shmq.broker.sql.tree import Node, SqlError

EXPRESSION_CHARACTERS_MAX: Final = 1 << 16
"""A longer text is refused, which RocketMQ does not; it would keep a worker busy for long."""

_KEYWORDS: Final = frozenset(
    ["NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "FALSE", "NULL", "IS", "CONTAINS", "STARTSWITH", "ENDSWITH"]
)

_GRAMMAR: Final = r"""
%declare NOT AND OR BETWEEN IN TRUE FALSE NULL IS CONTAINS STARTSWITH ENDSWITH

?start: or

?or: and
   | or OR and                               -> either

?and: equality
   | and AND equality                        -> both

?equality: comparison
   | equality "=" comparison                 -> equal
   | equality "<>" comparison                -> not_equal
   | equality IS NULL                        -> is_null
   | equality IS NOT NULL                    -> is_not_null

?comparison: unary
   | comparison ">" unary                    -> greater
   | comparison ">=" unary                   -> greater_or_equal
   | comparison "<" unary                    -> less
   | comparison "<=" unary                   -> less_or_equal
   | comparison BETWEEN unary AND unary      -> between
   | comparison NOT BETWEEN unary AND unary  -> not_between
   | comparison IN texts                     -> is_in
   | comparison NOT IN texts                 -> is_not_in
   | comparison search TEXT                  -> searched
   | comparison NOT search TEXT              -> not_searched

search: CONTAINS | STARTSWITH | ENDSWITH

texts: "(" TEXT ("," TEXT)* ")"

?unary: primary
   | "+" unary                               -> same
   | "-" unary                               -> negated
   | NOT unary                               -> inverted

?primary: TEXT                               -> text
   | WHOLE                                   -> whole
   | REAL                                    -> real
   | TRUE                                    -> true
   | FALSE                                   -> false
   | NULL                                    -> null
   | NAME                                    -> property
   | "(" or ")"                              -> same

TEXT: /'(?:''|[^'])*'/
REAL.3: /[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+/
WHOLE.2: /0|[1-9][0-9]*[lL]?/
NAME: /[A-Za-z_$][A-Za-z0-9_$]*/
LINE_COMMENT.4: /--[^\r\n]*[\r\n]/
BLOCK_COMMENT.4: /\/\*[^*]*\*(?:\*|[^*\/][^*]*\*)*\//
BLANKS: /[ \t\n\r\f]+/
%ignore LINE_COMMENT
%ignore BLOCK_COMMENT
%ignore BLANKS
"""


def parse(expression: str) -> Node:
    """Return the condition that an expression states.

    Raises:
        SqlError: RocketMQ would not take it, or it is longer than we take.
    """
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise SqlError(f"the expression has more than {EXPRESSION_CHARACTERS_MAX} characters")
    try:
        return tree.condition(_parse(expression))
    except UnexpectedCharacters as error:
        raise SqlError(f"no word begins with {error.char!r}, at character {error.pos_in_stream}") from error
    except LarkError as error:
        raise SqlError("it ends, or goes on, where something else is wanted") from error


def _parse(expression: str) -> Any:
    parsing = _parser().parse_interactive(expression)
    token = None
    try:
        for token in parsing.iter_parse():  # noqa: B007 - the last one says where the end is
            pass
    except UnexpectedToken:
        pass  # whatever follows, if this can be an end
    return parsing.feed_eof(token)  # type: ignore[no-untyped-call]  # lark has no types here


def _name(token: Token) -> Token:
    """A name, unless it is a word of the language."""
    word = token.upper()
    return token.update(type=word) if word in _KEYWORDS else token


class _TreeMaker(Transformer[Token, Any]):
    """What each rule of the grammar makes of its parts."""

    def either(self, parts: list[Any]) -> Node:
        return tree.logic("OR", parts[0], parts[2])

    def both(self, parts: list[Any]) -> Node:
        return tree.logic("AND", parts[0], parts[2])

    def equal(self, parts: list[Any]) -> Node:
        return tree.equal(parts[0], parts[1])

    def not_equal(self, parts: list[Any]) -> Node:
        return tree.Not(tree.equal(parts[0], parts[1]))

    def is_null(self, parts: list[Any]) -> Node:
        return tree.IsNull(parts[0])

    def is_not_null(self, parts: list[Any]) -> Node:
        return tree.Not(tree.IsNull(parts[0]))

    def greater(self, parts: list[Any]) -> Node:
        return tree.order(">", parts[0], parts[1])

    def greater_or_equal(self, parts: list[Any]) -> Node:
        return tree.order(">=", parts[0], parts[1])

    def less(self, parts: list[Any]) -> Node:
        return tree.order("<", parts[0], parts[1])

    def less_or_equal(self, parts: list[Any]) -> Node:
        return tree.order("<=", parts[0], parts[1])

    def between(self, parts: list[Any]) -> Node:
        return tree.between(parts[0], parts[2], parts[4], is_not=False)

    def not_between(self, parts: list[Any]) -> Node:
        return tree.between(parts[0], parts[3], parts[5], is_not=True)

    def is_in(self, parts: list[Any]) -> Node:
        return tree.is_in(parts[0], parts[-1], is_not=False)

    def is_not_in(self, parts: list[Any]) -> Node:
        return tree.is_in(parts[0], parts[-1], is_not=True)

    def searched(self, parts: list[Any]) -> Node:
        return tree.Search(parts[1], parts[0], tree.text(parts[2]).value, is_not=False)

    def not_searched(self, parts: list[Any]) -> Node:
        return tree.Search(parts[2], parts[0], tree.text(parts[3]).value, is_not=True)

    def search(self, parts: list[Any]) -> str:
        return str(parts[0].type)

    def texts(self, parts: list[Any]) -> tuple[str, ...]:
        return tuple(tree.text(part).value for part in parts)

    def same(self, parts: list[Any]) -> Any:
        return parts[0]

    def negated(self, parts: list[Any]) -> Node:
        return tree.Negated(parts[0])

    def inverted(self, parts: list[Any]) -> Node:
        return tree.Not(tree.condition(parts[1]))

    def text(self, parts: list[Any]) -> Node:
        return tree.text(parts[0])

    def whole(self, parts: list[Any]) -> Node:
        return tree.whole_number(parts[0])

    def real(self, parts: list[Any]) -> Node:
        return tree.real_number(parts[0])

    def true(self, _parts: list[Any]) -> Node:
        return tree.Truth(True)

    def false(self, _parts: list[Any]) -> Node:
        return tree.Truth(False)

    def null(self, _parts: list[Any]) -> Node:
        return tree.Truth(None)

    def property(self, parts: list[Any]) -> Node:
        return tree.Property(str(parts[0]))


@cache
def _parser() -> Lark:
    """The parser, made when the first expression comes: its tables take a tenth of a second."""
    return Lark(
        _GRAMMAR, parser="lalr", lexer="basic", transformer=_TreeMaker(), lexer_callbacks={"NAME": _name}
    )
