"""The language of calculated tags: arithmetic, comparison and logic over tags. Parsed into steps; nothing of it is ever Python.

    sum of   a + b  a - b  a * b  a / b  a ^ b  -a     comparisons  a < b  <=  >  >=  ==  !=     logic  and  or  not
    functions    abs ceil clamp exp floor if ln log10 max min mod round sqrt
    tags         speed   press.speed   'line-1.speed'  (in quotes where a name has a hyphen or begins with a digit)

There are numbers and Booleans, and nothing turns one into the other but a comparison and if(condition, then, else).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

MAX_CHARS = 1000

_GRAMMAR = r"""
?start: or_
?or_: and_ | or_ OR and_ -> binary
?and_: not_ | and_ AND not_ -> binary
?not_: comparison | NOT not_ -> unary
?comparison: sum | sum COMPARE sum -> binary
?sum: product | sum (PLUS | MINUS) product -> binary
?product: sign | product (TIMES | OVER) sign -> binary
?sign: power | MINUS sign -> unary
?power: atom | atom POWER sign -> binary
?atom: "(" or_ ")" | NUMBER -> number | (TRUE | FALSE) -> truth | NAME -> tag | QUOTED -> quoted
    | NAME "(" or_ ("," or_)* ")" -> call
OR: "or"
AND: "and"
NOT: "not"
TRUE: "true"
FALSE: "false"
COMPARE: "<=" | ">=" | "==" | "!=" | "<" | ">"
PLUS: "+"
MINUS: "-"
TIMES: "*"
OVER: "/"
POWER: "^"
NAME: /[A-Za-z_][A-Za-z0-9_.]*/
QUOTED: /'[A-Za-z0-9_.-]+'/
NUMBER: /([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?/
%ignore /[ \t\r\n]+/
"""

_ARGUMENTS = {
    "abs": (1, 1), "ceil": (1, 1), "clamp": (3, 3), "exp": (1, 1), "floor": (1, 1), "if": (3, 3), "ln": (1, 1), "log10": (1, 1),
    "max": (2, 100), "min": (2, 100), "mod": (2, 2), "round": (1, 1), "sqrt": (1, 1),
}  # fmt: skip
"""Each function's least and greatest number of arguments."""
_LOGIC = ("and", "or", "not")
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_SAME_UNIT = ("+", "-", "min", "max", "if", "mod", *_COMPARISONS)
"""What needs both sides in one unit."""
_KEEPS_UNIT = ("+", "-", "min", "max", "if", "mod", "negate", "abs", "ceil", "floor", "round")


class ExpressionMistake(ValueError):
    """An expression that can't be used; says why, and `column` (1-based) where."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Step:
    """One operation; its arguments are earlier steps, by their place."""

    op: str
    """number, true, false, tag, or what is done: + - * / ^ negate, a comparison, and or not, a function of one or two, if."""
    args: tuple[int, ...]
    column: int
    number: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """What is known of a step's result."""

    is_bool: bool
    unit: str | None = None
    """None where it isn't known: it then fits any."""


def parse(text: str) -> tuple[Step, ...]:
    """The steps of an expression, arguments before what uses them; the last one's result is the expression's.

    Raises:
        ExpressionMistake
    """
    if len(text) > MAX_CHARS:
        raise ExpressionMistake(MAX_CHARS, f"an expression has at most {MAX_CHARS} characters")
    parser, builder = _parser()
    steps: list[Step] = []
    builder.steps = steps
    try:
        parser.parse(text)
    except UnexpectedInput as error:
        raise ExpressionMistake(*_explain(error, text)) from None
    return tuple(steps)


def judge(steps: Sequence[Step], tag: Callable[[str], Operand | None]) -> Operand:
    """Check types and units.

    Args:
        tag: what is known of a tag; None when there is no such tag. It may raise ValueError, which says why it can't be used.

    Returns:
        What is known of the result.

    Raises:
        ExpressionMistake
    """
    known: list[Operand] = []
    for step in steps:
        known.append(_judge_step(step, [known[place] for place in step.args], tag))
    return known[-1]


def _judge_step(step: Step, args: list[Operand], tag: Callable[[str], Operand | None]) -> Operand:
    if step.op == "tag":
        try:
            found = tag(step.name)
        except ValueError as error:
            raise ExpressionMistake(step.column, str(error)) from None
        if found is None:
            raise ExpressionMistake(step.column, f"there is no tag {step.name!r}")
        return found
    if step.op in ("number", "true", "false"):
        return Operand(step.op != "number")
    wants_bool = step.op in _LOGIC
    numeric = args[1:] if step.op == "if" else args
    if step.op == "if":
        if not args[0].is_bool:
            raise ExpressionMistake(step.column, "the first argument of if must be a Boolean")
        if args[1].is_bool != args[2].is_bool:
            raise ExpressionMistake(step.column, "if gives a number in one case and a Boolean in the other")
    elif step.op in ("==", "!="):
        if args[0].is_bool != args[1].is_bool:
            raise ExpressionMistake(step.column, "a number can't be compared with a Boolean")
    elif any(arg.is_bool != wants_bool for arg in args):
        wanted = "Booleans: write x != 0 for a number" if wants_bool else "numbers: write if(x, 1, 0) for a Boolean"
        raise ExpressionMistake(step.column, f"{step.op} needs {wanted}")
    units = [arg.unit for arg in numeric if arg.unit is not None]
    if step.op in _SAME_UNIT and len(set(units)) > 1:
        raise ExpressionMistake(step.column, f"{step.op} of {units[0]} and {units[1]}: the units differ")
    is_bool = wants_bool or step.op in _COMPARISONS or (step.op == "if" and args[1].is_bool)
    return Operand(is_bool, units[0] if units and not is_bool and step.op in _KEEPS_UNIT else None)


class _Builder(Transformer[Token, int]):
    """Collects steps while the parser reduces; each rule's value is the place of its step. Nothing recurses."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    def _add(self, op: str, args: tuple[int, ...], token: Token, number: float = 0.0, name: str = "") -> int:
        self.steps.append(Step(op, args, _column(token), number, name))
        return len(self.steps) - 1

    @v_args(inline=True)
    def number(self, token: Token) -> int:
        if float(token) == float("inf"):
            raise ExpressionMistake(_column(token), f"{token} is too large a number")
        return self._add("number", (), token, float(token))

    @v_args(inline=True)
    def truth(self, token: Token) -> int:
        return self._add(str(token), (), token)

    @v_args(inline=True)
    def tag(self, token: Token) -> int:
        return self._add("tag", (), token, name=str(token))

    @v_args(inline=True)
    def quoted(self, token: Token) -> int:
        return self._add("tag", (), token, name=str(token)[1:-1])

    @v_args(inline=True)
    def unary(self, token: Token, arg: int) -> int:
        return self._add("negate" if token.type == "MINUS" else str(token), (arg,), token)

    @v_args(inline=True)
    def binary(self, left: int, token: Token, right: int) -> int:
        return self._add(str(token), (left, right), token)

    def call(self, children: list[Any]) -> int:
        token, *args = children
        name = str(token)
        if name not in _ARGUMENTS:
            raise ExpressionMistake(_column(token), f"there is no function {name}; there are {', '.join(_ARGUMENTS)}")
        least, most = _ARGUMENTS[name]
        if not least <= len(args) <= most:
            wanted = f"{least}" if least == most else f"at least {least}"
            noun = "argument" if most == 1 else "arguments"
            raise ExpressionMistake(_column(token), f"{name} takes {wanted} {noun}, not {len(args)}")
        if name == "clamp":
            return self._add("min", (self._add("max", (args[0], args[1]), token), args[2]), token)
        if name in ("min", "max"):
            place: int = args[0]
            for arg in args[1:]:
                place = self._add(name, (place, arg), token)
            return place
        return self._add(name, tuple(args), token)


@cache
def _parser() -> tuple[Lark, _Builder]:
    """The builder is called while the parser reduces: there is no tree, and nothing to be too deep."""
    builder = _Builder()
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=builder), builder


def _column(token: Token) -> int:
    return 1 if token.start_pos is None else token.start_pos + 1


def _explain(error: UnexpectedInput, text: str) -> tuple[int, str]:
    """Column and message."""
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        char = text[at : at + 1]
        hint = {"=": "equality is ==", "%": "the remainder is mod(a, b)", "&": "write and", "|": "write or", "!": "write not"}
        return at + 1, f"{char!r} means nothing here" + (f": {hint[char]}" if char in hint else "")
    if not isinstance(error, UnexpectedToken) or error.token.type == "$END":
        return len(text) + 1, "the expression ends where something is missing"
    column = _column(error.token)
    if error.token.type == "TIMES" and text[column - 2 : column - 1] == "*":
        return column - 1, "a power is written ^"
    return column, f"{str(error.token)!r} doesn't fit here"
