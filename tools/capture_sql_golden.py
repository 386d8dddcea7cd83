"""Write tests/golden/sql_filter.json: expressions, messages, and what RocketMQ's own filter module says of them.

    python tools/capture_sql_golden.py [count [seed [file]]]

It needs a JDK, and the libraries of RocketMQ's broker that `make interop-java` lays down. Expressions written by hand
are joined by `count` random ones; another seed and file make a longer test of a moment.
"""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LIBRARIES: Final = ROOT / "tests" / "interop" / "java" / "broker" / "target" / "lib"
GOLDEN: Final = ROOT / "tests" / "golden" / "sql_filter.json"
COUNT: Final = 2500

MESSAGES: Final = (
    {},
    {"a": "5"},
    {"a": "-5", "b": "x"},
    {"a": "5.0", "b": "5"},
    {"a": "5", "b": "5"},
    {"a": "x", "b": "5"},
    {"a": "true", "b": "TRUE"},
    {"a": "False", "b": "true", "c": "it's"},
    {"a": "3000000000", "b": "-3000000000"},
    {"a": "9223372036854775807", "b": "-9223372036854775808"},
    {"a": "9223372036854775808", "b": "1e3"},
    {"a": "NaN", "b": "Infinity"},
    {"a": "-Infinity", "b": "NaN", "c": "NaN"},
    {"a": "0.0", "b": "-0.0", "c": "0"},
    {"a": " 5", "b": "5 ", "c": "\t5.5\n"},
    {"a": "5f", "b": "0x1p2", "c": "5D"},
    {"a": "+5", "b": "+5.5", "c": "5."},
    {"a": "\u0665", "b": "\uff15", "c": "\U0001d7f3"},
    {"a": "1_000", "b": "inf", "c": "nan"},
    {"a": "abc", "b": "b", "c": "abcabc"},
    {"a": "007", "b": ".5", "c": "1e-400"},
    {"a": "2147483648", "b": "2147483647", "c": "1e400"},
    {"a": "00000000000000000000000000000000000000005", "b": "5e", "c": "0x1p99999"},
    {"TAGS": "TagA", "KEYS": "k1 k2", "a": "10", "$x_1": "y"},
    {"a": "-", "b": "+", "c": "--5"},
)
BY_HAND: Final = (
    "", " ", "a", "NOT a", "a = 1", "a=1", "A = 1", "a == 1", "a != 1", "a <> 5", "a <> 'x'", "a = 5L", "a = 5l",
    "a = 05", "a = 0", "a = 00", "a = 0l", "a = 0.0", "a = .5", "a = 5.", "a = 5.e0", "a = 5e0", "a = 5E+0",
    "a = 1e400", "a = 1e-400", "a = 4.9e-324", "a = 2e-324", "a = 9223372036854775807", "a = 9223372036854775808",
    "a = -9223372036854775808", "a = -9223372036854775807", "a = 0x5", "a > 5", "a >= 5", "a < 5", "a <= 5",
    "5 > a", "5 >= a", "5 < a", "5 <= a", "a > 5.5", "5.5 > a", "5.5 >= a", "5.5 < a", "5.5 <= a", "a >= 5.5",
    "a < 5.5", "a <= 5.5", "a > 3000000000", "3000000000 > a", "a > -5", "a > - 5", "a > --5", "a > +5", "a > + + 5",
    "a > -b", "a > - 'x'", "a = -5", "a = -5.5", "a = -b", "-a IS NULL", "-a = -b", "-(a > 5) IS NULL", "-5 < a",
    "a > 'x'", "'x' > a", "a > TRUE", "TRUE > a", "a > NULL", "a = NULL", "NULL = a", "a <> NULL", "NULL IS NULL",
    "NULL IS NOT NULL", "NULL", "TRUE", "FALSE", "NOT NULL", "NOT TRUE", "true", "tRuE", "5", "'x'", "5.5", "-5",
    "a = TRUE", "a = FALSE", "a <> TRUE", "TRUE = a", "FALSE = a", "TRUE = TRUE", "TRUE = FALSE", "TRUE <> FALSE",
    "TRUE = 1", "1 = TRUE", "'true' = TRUE", "TRUE = 'true'", "1 = 1", "1 = 1.0", "1 = '1'", "'1' = 1", "'x' = 1",
    "1 = 'x'", "1 < 2", "2 < 1", "1 < 1.5", "1.5 < 1", "3000000000 > 1", "1 < 3000000000", "3000000000 > 1.5",
    "1.5 < 3000000000", "5 = 5L", "3000000000 = 3e9", "'x' = 'x'", "'x' = 'y'", "'x' <> 'y'", "'' = ''", "a = ''",
    "'' = a", "a = 'x'", "'x' = a", "a = 'it''s'", "c = 'it''s'", "a = b", "a <> b", "a = zz", "zz = a", "zz = yy",
    "zz <> yy", "a <> zz", "zz <> a", "a > b", "a >= b", "a < b", "a <= b", "b > c", "b >= c", "b = c", "c >= a",
    "(a > 5) = TRUE", "TRUE = (a > 5)", "(a > 5) = (b > 5)", "(a > 5) = a", "a = (b > 5)", "(a > 5) = 1",
    "1 = (a > 5)", "'true' = (a > 5)", "(a > 5) > 1", "a > 5 > 1", "a > 5 = TRUE", "(a > 5) IS NULL",
    "(a > 5) IS NOT NULL", "a IS NULL", "a IS NOT NULL", "a is not null", "NOT a IS NULL", "NOT (a IS NULL)",
    "5 IS NULL", "'x' IS NULL", "a IS NULL IS NULL", "a IS NULL = TRUE", "a IS", "a IS NOT", "a IS 5",
    "a BETWEEN 1 AND 10", "a BETWEEN 10 AND 1", "a NOT BETWEEN 1 AND 10", "a NOT BETWEEN 10 AND 1",
    "a BETWEEN -10 AND -1", "a BETWEEN -1 AND -10", "a BETWEEN 1.5 AND 10", "a BETWEEN 10 AND 1.5",
    "a BETWEEN 1 AND 1", "a BETWEEN b AND c", "a NOT BETWEEN b AND c", "5 BETWEEN a AND b", "'x' BETWEEN a AND b",
    "a BETWEEN 'a' AND 'z'", "a BETWEEN 'a' AND 5", "a BETWEEN 1 AND 'z'", "a BETWEEN NULL AND 5",
    "a BETWEEN TRUE AND FALSE", "a BETWEEN 1 AND 10 AND b = 'x'", "a BETWEEN (b) AND c", "a BETWEEN 1", "a BETWEEN",
    "a BETWEEN 1 AND (b > 5)", "(a > 1) BETWEEN 1 AND 2", "a BETWEEN 1 OR 2",
    "a IN ('x')", "a IN ('5', 'x', 'abc')", "a NOT IN ('x')", "a NOT IN ('5')", "NOT a IN ('x')", "NOT (a IN ('x'))",
    "a IN (5)", "a IN ()", "a IN ('x',)", "a IN 'x'", "5 IN ('5')", "'x' IN ('x')", "(a) IN ('x')", "+a IN ('x')",
    "a IN ('1','2','3','4','5','6')", "a NOT IN ('1','2','3','4','5','6')", "a IN ('x') = TRUE", "a IN ('x', b)",
    "a CONTAINS 'b'", "a NOT CONTAINS 'b'", "a STARTSWITH 'a'", "a NOT STARTSWITH 'a'", "a ENDSWITH 'c'",
    "a NOT ENDSWITH 'c'", "a CONTAINS ''", "a NOT CONTAINS ''", "a STARTSWITH ''", "a ENDSWITH ''", "5 CONTAINS '5'",
    "'abc' CONTAINS 'b'", "'abc' NOT CONTAINS 'b'", "TRUE CONTAINS 't'", "a CONTAINS b", "a CONTAINS 5",
    "NOT a CONTAINS 'b'", "NOT (a CONTAINS 'b')", "a CONTAINS 'a' CONTAINS 'b'", "a contains 'b'", "(a > 5) CONTAINS ''",
    "(a > 5) CONTAINS 'x'", "-a CONTAINS 'x'", "a LIKE 'x%'", "a NOT LIKE 'x%'", "a NOT 'b'", "a NOT b",
    "a = 5 AND b = 5", "a = 5 OR b = 5", "b = 5 OR a = 5", "b = 5 AND a = 5", "a = 'x' OR b = 5", "b = 5 OR a = 'x'",
    "zz = 'x' OR b = '5'", "zz = 'x' AND b = '5'", "b = '5' AND zz = 'x'", "b = '5' OR zz = 'x'",
    "zz = 'x' AND a > 5", "NOT (zz = 'x')", "NOT (zz = 'x' OR b = '5')", "a AND b", "a OR b = '5'", "a OR TRUE",
    "TRUE OR a = 5", "FALSE AND a = 5", "a = 5 OR TRUE", "a = 5 AND FALSE", "NULL AND a = 5", "NULL OR a = 5",
    "NULL OR TRUE", "NULL AND FALSE", "5 AND a = 5", "a = 5 AND", "AND", "a = 5 OR OR b = 5", "a = 5 AND NOT b = 5",
    "a = 5 AND NOT (b = 5)", "NOT NOT a", "NOT NOT (a = 5)", "a = 5 OR b = 5 AND c = 5", "(a = 5 OR b = 5) AND c = 5",
    "a = 5 trailing", "a = 5 )", "a = 5 #", "a = 5 trailing #", "a = 5 5", "a = 5 'x'", "a = 5 (", "a = 5 NOT",
    "a = 5 NOT x", "a = 5 IS", "a = 5 + 1", "a = 5 - 1", "a + 1 = 5", "a * 2 = 5", "a = 5;", "a = 5 ,", "a = 5 TRUE",
    "a = 5 = TRUE", "a = b = c", "a = 5 <> TRUE", "(a = 5", "((a = 5))", "()", "(a)", "((a)) = 5", "(5) = a",
    "a = 5 -- comment", "a = 5 -- comment\n", "a = 5 -- comment\n AND b = 5", "a = 5 /* x */ AND b = 5",
    "a = 5 /* x * y **/ AND b = 5", "a = 5 /* x", "/* x */ a = 5", "--\na = 5", "a /**/ = /***/ 5", "a--b\n = 5",
    "a\t=\n5\r\f", "a\u00a0= 5", "a = \u06655", "\u00e4 = 5", "a.b = 5", "a-b = 5", "$x_1 = 'y'", "_a IS NULL",
    "TAGS = 'TagA'", "KEYS CONTAINS 'k2'", "TAGS IN ('TagA')", "tags = 'TagA'", "not = 5", "IN = 5", "null IS NULL",
    "nulla IS NULL", "a = 'x", "a = x'", 'a = "x"', "a = 'x' 'y'", "a = 'x''y'", "a = ''''", "a = 5e", "a = 5e+",
    "a = 5.5.5", "a = 5x", "a = 5lx", "a = 1.e", "a = .", "a = .e5", "a>5AND b=5", "a>5and(b=5)", "a=5OR b=5",
    "a = 5L AND b = 5", "a = 5.0 AND b = 5.0", "\u212a = 5", "a \u0131s null", "a i\u017f null", "a = '\U0001d7f3'",
    "c = '\U0001d7f3'", "a = '\u0665'", "a >= 0 AND a <= 3", "a > b AND b > c", "a <> 'x' AND a IS NOT NULL",
)  # fmt: skip


def main() -> None:
    """Ask Java, and write what it says."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    source = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    target = Path(sys.argv[3]) if len(sys.argv) > 3 else GOLDEN
    expressions = list(dict.fromkeys([*BY_HAND, *(_random(source) for _ in range(count))]))
    asked = json.dumps({"expressions": expressions, "messages": MESSAGES})
    command = ["java", "-cp", f"{LIBRARIES}/*", ROOT / "tools" / "SqlTruth.java"]
    done = subprocess.run(command, input=asked.encode(), capture_output=True, check=True)
    answers = json.loads(done.stdout)
    assert len(answers) == len(expressions), f"{len(answers)} answers to {len(expressions)} expressions"
    lines = [json.dumps(pair, separators=(",", ":")) for pair in zip(expressions, answers, strict=True)]
    messages = ",\n".join(json.dumps(each) for each in MESSAGES)
    target.write_text(f'{{"messages": [\n{messages}],\n"answers": [\n' + ",\n".join(lines) + "]}\n")
    print(f"{len(answers)} expressions, of which {answers.count(None)} are refused")


def _random(source: random.Random) -> str:
    """A random expression; most make sense, some are only words, and now and then one has a word too many or too few."""
    words = (
        _sensible(source, source.randint(0, 3))
        if source.random() < 0.8
        else _either(source, source.randint(0, 1))
    )
    if source.random() < 0.12:
        at = source.randrange(len(words) + 1)
        if source.random() < 0.5 and at < len(words):
            del words[at]
        else:
            words.insert(at, source.choice([*_WORDS, "x", "5", "'y'", "#", "-5"]))
    return source.choice([" ", " ", " ", "\n"]).join(words)


_WORDS: Final = (
    "NOT",
    "AND",
    "OR",
    "(",
    ")",
    "=",
    "<>",
    "<",
    ">",
    "IS",
    "NULL",
    "IN",
    "BETWEEN",
    ",",
    "+",
    "TRUE",
)
_VALUES: Final = ("a", "a", "a", "b", "b", "c", "zz", "5", "-5", "5.5", "3000000000", "'x'", "'5'", "'true'", "1000L",
    "TRUE", "FALSE", "NULL", "- a", "+ b", "( a )", "0", "2147483647", "1e3", "- - 5", "5.0", "'abc'")  # fmt: skip


def _sensible(source: random.Random, depth: int) -> list[str]:
    """Words that Java is likely to take."""
    chance = source.random()
    if depth > 0 and chance < 0.5:
        return [*_sensible(source, depth - 1), source.choice(["AND", "OR"]), *_sensible(source, depth - 1)]
    if depth > 0 and chance < 0.75:
        return [*source.choice([[], ["NOT"]]), "(", *_sensible(source, depth - 1), ")"]
    if depth > 0 and chance < 0.8:
        return [
            "(",
            *_sensible(source, depth - 1),
            ")",
            *source.choice(["= TRUE", "<> FALSE", "IS NULL"]).split(),
        ]
    name, number = (
        source.choice("aaabbcz"),
        source.choice(["5", "-5", "5.5", "0", "3000000000", "1e3", "b", "- a"]),
    )
    text, is_not = source.choice(["'x'", "'5'", "'b'", "'abc'", "'true'"]), source.choice(["", "NOT"])
    order, kind = source.choice(["<", "<=", ">", ">="]), source.choice(["CONTAINS", "STARTSWITH", "ENDSWITH"])
    return source.choice([
        f"{name} = {number}", f"{name} <> {number}", f"{number} = {name}", f"{name} = {text}", f"{text} <> {name}",
        f"{name} {order} {number}", f"{name} {order} {number}", f"{number} {order} {name}", f"{name} = c",
        f"{name} {is_not} BETWEEN {number} AND 7", f"{name} {is_not} BETWEEN -7 AND {number}", f"{name} {order} c",
        f"{name} {is_not} IN ( {text} , 'c' )", f"{name} {is_not} {kind} {text}", f"{name} IS {is_not} NULL",
        f"{name} = TRUE", f"FALSE = {name}", f"{is_not} {name}", "TRUE", "NULL",
    ]).split()  # fmt: skip


def _either(source: random.Random, depth: int) -> list[str]:
    words = _both(source, depth)
    while source.random() < 0.25:
        words += ["OR", *_both(source, depth)]
    return words


def _both(source: random.Random, depth: int) -> list[str]:
    words = _equality(source, depth)
    while source.random() < 0.25:
        words += ["AND", *_equality(source, depth)]
    return words


def _equality(source: random.Random, depth: int) -> list[str]:
    words = _comparison(source, depth)
    for chance in (0.45, 0.08):
        if source.random() >= chance:
            return words
        kind = source.choice(["=", "=", "=", "<>", "<>", "null", "not null"])
        if kind == "null":
            words += ["IS", "NULL"]
        elif kind == "not null":
            words += ["IS", "NOT", "NULL"]
        else:
            words += [kind, *_comparison(source, depth)]
    return words


def _comparison(source: random.Random, depth: int) -> list[str]:
    words = _unary(source, depth)
    for chance in (0.6, 0.08):
        if source.random() >= chance:
            return words
        text = source.choice(["'x'", "'5'", "'b'", "''", "'it''s'", "'a'"])
        kind = source.choice(["<", "<=", ">", ">=", "BETWEEN", "IN", "CONTAINS", "STARTSWITH", "ENDSWITH"])
        if kind in {"<", "<=", ">", ">="}:
            words += [kind, *_unary(source, depth)]
            continue
        words += source.choice([[], ["NOT"]])
        if kind == "BETWEEN":
            words += [kind, *_unary(source, 0), "AND", *_unary(source, 0)]
        elif kind == "IN":
            texts = [text, *(word for _ in range(source.choice([0, 0, 1, 5])) for word in (",", "'abc'"))]
            words += [kind, "(", *texts, ")"]
        else:
            words += [kind, text]
    return words


def _unary(source: random.Random, depth: int) -> list[str]:
    chance = source.random()
    if chance < 0.06:
        return ["-", *_unary(source, depth)]
    if chance < 0.15:
        return ["NOT", *_unary(source, depth)]
    if depth > 0 and chance < 0.7:
        return ["(", *_either(source, depth - 1), ")"]
    return source.choice(_VALUES).split()


if __name__ == "__main__":
    main()
