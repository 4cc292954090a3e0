"""What pydantic complains of, in the words of those who wrote the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from config.composer import resolve

_SHOWN = 40
"""How much of a wrong value a message repeats, in characters."""

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "unknown key",
    "int_type": "must be a whole number, not {input}",
    "int_parsing": "must be a whole number, not {input}",
    "int_parsing_size": "must be a whole number, not {input}",
    "int_from_float": "must be a whole number, not {input}",
    "float_type": "must be a number, not {input}",
    "float_parsing": "must be a number, not {input}",
    "finite_number": "must be a finite number, not {input}",
    "string_type": "must be text, not {input}",
    "bool_type": "must be true or false, not {input}",
    "bool_parsing": "must be true or false, not {input}",
    "none_required": "must be empty, not {input}",
    "greater_than": "must be more than {gt}, not {input}",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than": "must be less than {lt}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "multiple_of": "must be a multiple of {multiple_of}, not {input}",
    "too_short": "needs at least {min_length}, has {actual_length}",
    "too_long": "takes at most {max_length}, has more",
    "string_too_short": "must have at least {min_length} characters, not {input}",
    "string_too_long": "must have at most {max_length} characters, not {input}",
    "string_pattern_mismatch": "{input} doesn't have the form {pattern}",
    "enum": "must be {expected}, not {input}",
    "literal_error": "must be {expected}, not {input}",
    "list_type": "must be a list, not {input}",
    "tuple_type": "must be a list, not {input}",
    "set_type": "must be a list, not {input}",
    "frozen_set_type": "must be a list, not {input}",
    "dict_type": "must be a section (`key: value` lines), not {input}",
    "mapping_type": "must be a section (`key: value` lines), not {input}",
    "model_type": "must be a section (`key: value` lines), not {input}",
    "model_attributes_type": "must be a section (`key: value` lines), not {input}",
    "path_type": "must be a path, not {input}",
    "url_parsing": "{input} is no address: {error}",
    "url_scheme": "must begin with {expected_schemes}, not {input}",
    "value_error": "{error}",
    "assertion_error": "{error}",
    "union_tag_not_found": "is required",
    "union_tag_invalid": "must be one of {expected_tags}, not {input}",
}
_QUOTED = re.compile(r"(?:<[\w.]+: )?'([^']*)'>?")
"""A listed word, alone or as a member of an enumeration."""
_NAME_PATTERN = "[A-Za-z0-9_.-]"
_LIST_KINDS = ("list_type", "tuple_type", "set_type", "frozen_set_type")


def message(error: ErrorDetails, value: object) -> str:
    """One sentence without a subject (the field stands before it) on what is wrong with `value`."""
    template = _WORDS.get(error["type"])
    if template is None:
        text = error["msg"].removeprefix("Value error, ")
        return f"{text.replace('Input should be', 'must be')[:200]}, not {shown(value)}"
    context: Mapping[str, Any] = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch" and _NAME_PATTERN in str(context.get("pattern")):
        template = "must be a name, not {input}"
    if value is None and error["type"] not in ("missing", "extra_forbidden", "union_tag_not_found", "value_error"):
        # "must be text, not nothing" reads as a riddle where a key simply has no value.
        return template.removesuffix(", not {input}").format(input="nothing", **_tidy(context)) + ", but is empty"
    return template.format(input=shown(value), **_tidy(context))


def suggestion(error: ErrorDetails, value: object) -> str | None:
    """The nearest valid spelling, or the step that mends it; None where the message says it all."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("enum", "literal_error", "union_tag_invalid"):
        expected = context.get("expected_tags" if kind == "union_tag_invalid" else "expected", "")
        return did_you_mean(str(value), _QUOTED.findall(str(expected)))
    if kind == "union_tag_not_found":
        return None
    if kind == "string_type" and isinstance(value, int | float):
        return f'put it in quotes: "{shown(value)}"'
    if kind == "string_pattern_mismatch" and _NAME_PATTERN in str(context.get("pattern")):
        return "letters, digits, _ - and . only, at most 64, beginning with a letter, a digit or _"
    if kind in _LIST_KINDS and value is not None:
        return "begin each item with `- `"
    return None


def unknown_key(key: str, known: Sequence[str]) -> str | None:
    """What to do about a key that a section doesn't know."""
    if key == "<<":
        return "merge keys are not read: write the keys out, or use an alias for a whole value"
    return did_you_mean(key, known) or (f"known here: {', '.join(known)}" if known else None)


def one_of(words: Sequence[str]) -> str | None:
    """The words to choose from."""
    return f"one of {', '.join(words)}" if words else None


def either(messages: Sequence[str]) -> str:
    """Several messages about the same value as one: `must be a whole number or true or false, not x`."""
    tails = {text.rpartition(", not ")[1:] for text in messages}
    if len(messages) < 2 or len(tails) > 1 or not all(text.startswith("must be ") for text in messages):
        return "; or ".join(messages)
    heads = [text.rpartition(", not ")[0].removeprefix("must be ") for text in messages]
    return f"must be {' or '.join(heads)}{''.join(tails.pop())}"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """`did you mean X`, where something known is near enough."""
    match = nearest(word, known)
    return f"did you mean {match}?" if match else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`; case and `-` for `_` are no difference."""
    plain = {_plain(candidate): candidate for candidate in known}
    matches = get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[matches[0]] if matches else None


def shown(value: object) -> str:
    """A value as the file might have it, shortened."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and value.isprintable() and '"' not in value and "\\" not in value:
        text = f'"{value}"' if value != value.strip() or resolve(value) != value else value
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _tidy(context: Mapping[str, Any]) -> dict[str, str]:
    """Pydantic's details as text: no quotes around listed words, numbers without a needless fraction."""
    tidy = {}
    for key, value in context.items():
        if key == "input":
            continue
        text = f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)
        tidy[key] = (
            _QUOTED.sub(r"\1", text) if key in ("expected", "expected_tags", "discriminator", "expected_schemes") else text
        )
    return tidy
