"""Compressed GS1 Digital Links: key, qualifiers, attributes and other pairs as one segment of base64url. Pure, and bounded.

The segment is a string of bits, the first one the highest of its first character. It holds, one behind the other:

| begins with | holds |
|---|---|
| two digits, 4 bits each | the rest of an application identifier, 4 bits for each digit, and its value |
| an optimisation code, 8 bits with a hexadecimal letter | the values of the application identifiers that it stands for |
| F, 4 bits | a pair that isn't GS1's: length of the name (7 bits), name (6 bits each), encoding (3), length (7), value |

A value is laid out by the form of its application identifier, part by part. Digits of a fixed number are one binary number; of a
variable one, their count comes first; letters have an encoding (3 bits) before that: digits, hexadecimal in small or in capital
letters, base64url, ASCII of 7 bits. What is left at the end, less than a byte, is zero.

The text of GS1 Digital Link: Compression could not be read. What is here is what three implementations have in common (GS1's
prototype, which was written along with the standard, its port to Python, one in C#), and vectors that two of them publish. Forms
come from biip's table, so that application identifiers which are younger than those are laid out by the same rules.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import NamedTuple

from idnode.schemes.form import InvalidIdentifier
from idnode.schemes.gs1_layout import (
    ALPHABET,
    BASE64,
    CODES,
    DIGITS,
    ENCODINGS,
    FOUR_DIGITS,
    LETTERS,
    OTHER,
    PLACE,
    STARTS,
    THREE_DIGITS,
    WIDTHS,
    Part,
    known,
    length_bits,
    parts,
    value_bits,
)

MOST_CHARACTERS = 1024
"""Of a compressed segment: far more than symbols hold. What it opens to, percent-encoded, is at most three times as long."""

Pairs = tuple[tuple[str, str], ...]


class Opened(NamedTuple):
    """What was in a compressed segment, in its order."""

    elements: Pairs
    """Application identifier and value, each application identifier once."""
    others: Pairs
    """Name and value of pairs that aren't GS1's."""


_SEGMENT = re.compile("[A-Za-z0-9_-]*", re.ASCII)
_NAME = re.compile(r"(?=.*[A-Za-z_-])[A-Za-z0-9_-]{1,127}", re.ASCII)
"""Of other pairs; digits alone would be an application identifier."""
_LONGEST_OTHER = 127


def begins_compressed(text: str) -> bool:
    """Whether a compressed segment may begin so, by its first byte: a third of all texts do."""
    first, second = PLACE.get(text[:1]), PLACE.get(text[1:2])
    if first is None or second is None:
        return False
    start = first << 2 | second >> 4
    return start in CODES or start >> 4 == OTHER or f"{start:02X}" in STARTS


def decompress(segment: str) -> Opened:
    """Read a compressed segment. It takes time in proportion to its length, which is bounded.

    Raises:
        InvalidIdentifier: it is none; the message says why.
    """
    if len(segment) > MOST_CHARACTERS:
        raise InvalidIdentifier(f"a compressed Digital Link has at most {MOST_CHARACTERS} characters")
    bits = _Bits(segment)
    elements: dict[str, str] = {}
    others: dict[str, str] = {}
    while bits.left >= 8:  # what is less is filling
        first = bits.take(4)
        if first == OTHER:
            name, value = _read_other(bits)
            _put(others, name, value)
            continue
        second = bits.take(4)
        code = CODES.get(first << 4 | second)
        for ai in (_read_ai(bits, first, second),) if code is None else code:
            _put(elements, ai, _read_value(bits, ai))
    if bits.take(bits.left):
        raise InvalidIdentifier("a compressed Digital Link doesn't end where its last value does")
    return Opened(tuple(elements.items()), tuple(others.items()))


def compress(elements: Iterable[tuple[str, str]], others: Iterable[tuple[str, str]] = (), *, codes: bool = True) -> str:
    """The segment that decompress() reads as these, by application identifier.

    Args:
        elements: application identifiers, each once, and their values.
        others: pairs that aren't GS1's.
        codes: use optimisation codes, which make it shorter.

    Raises:
        InvalidIdentifier: a value hasn't the form of its application identifier, or it can't be compressed.
    """
    given = dict(sorted(elements))
    bits = _Writer()
    for code in _best_codes(given) if codes else ():
        bits.put(code, 8)
        for ai in CODES[code]:
            _write_value(bits, ai, given.pop(ai))
    for ai, value in given.items():
        bits.put(int(ai, 16), 4 * len(ai))
        _write_value(bits, ai, value)
    for name, value in others:
        if _NAME.fullmatch(name) is None or len(value) > _LONGEST_OTHER:
            raise InvalidIdentifier(
                f"{name[:32]!r} can't be compressed: names have 1 to 127 of A-Za-z0-9_-, values 127 characters"
            )
        bits.put(OTHER, 4)
        bits.put(len(name), 7)
        bits.put_letters(name, BASE64)
        _write_text(bits, value, 7)
    made = bits.segment()
    if len(made) > MOST_CHARACTERS:
        raise InvalidIdentifier(f"a compressed Digital Link has at most {MOST_CHARACTERS} characters")
    return made


class _Bits:
    """Reads bits from the front."""

    def __init__(self, segment: str) -> None:
        if _SEGMENT.fullmatch(segment) is None:
            raise InvalidIdentifier("a compressed Digital Link is base64url: A-Z a-z 0-9 - and _")
        self.left = 6 * len(segment)
        filling = -len(segment) % 4
        whole = int.from_bytes(base64.urlsafe_b64decode(segment + "A" * filling), "big") >> 6 * filling
        self._bits = f"{whole:0{self.left}b}" if segment else ""

    def take(self, count: int) -> int:
        """The next bits as a number."""
        if count > self.left:
            raise InvalidIdentifier("a compressed Digital Link is cut off")
        start = len(self._bits) - self.left
        self.left -= count
        return int(self._bits[start : start + count] or "0", 2)


class _Writer:
    """Puts bits behind each other."""

    def __init__(self) -> None:
        self._value = self._count = 0

    def put(self, number: int, count: int) -> None:
        self._value = self._value << count | number
        self._count += count

    def put_letters(self, text: str, encoding: int) -> None:
        for letter in text:
            self.put(LETTERS[encoding].index(letter), WIDTHS[encoding])

    def segment(self) -> str:
        self.put(0, -self._count % 6)
        return "".join(ALPHABET[self._value >> at & 63] for at in range(self._count - 6, -6, -6))


def _put(into: dict[str, str], name: str, value: str) -> None:
    if name in into:
        raise InvalidIdentifier(f"{name} stands in a compressed Digital Link twice")
    into[name] = value


def _read_ai(bits: _Bits, first: int, second: int) -> str:
    ai = f"{first:X}{second:X}"
    begins = ai in STARTS
    for _ in range(2 if ai in FOUR_DIGITS else ai in THREE_DIGITS):
        ai += f"{bits.take(4):X}"
    if not begins or not ai.isdecimal():
        raise InvalidIdentifier(f"a compressed Digital Link has {ai}, which is neither an application identifier nor a code")
    return ai


def _read_value(bits: _Bits, ai: str) -> str:
    value = "".join([_read_part(bits, part) for part in parts(ai)])
    if re.fullmatch(known(ai).pattern, ai + value, re.ASCII) is None:
        raise InvalidIdentifier(f"({ai}) of a compressed Digital Link hasn't the form {known(ai).format}")
    return value


def _read_part(bits: _Bits, part: Part) -> str:
    if part.digits:
        return _read_digits(bits, part.most if part.fixed else bits.take(length_bits(part.most)))
    encoding = bits.take(3)
    return _read_letters(bits, encoding, part.most if part.fixed else bits.take(length_bits(part.most)))


def _read_digits(bits: _Bits, count: int) -> str:
    number = bits.take(value_bits(count))
    if number >= 10**count:
        raise InvalidIdentifier(f"a compressed Digital Link has a number of more than {count} digits where {count} were said")
    return f"{number:0{count}}" if count else ""


def _read_letters(bits: _Bits, encoding: int, count: int) -> str:
    if encoding == DIGITS:
        return _read_digits(bits, count)
    letters, width = LETTERS.get(encoding), WIDTHS.get(encoding)
    if letters is None or width is None:
        raise InvalidIdentifier(f"a compressed Digital Link has the encoding {encoding}, which isn't known")
    return "".join([letters[bits.take(width)] for _ in range(count)])


def _read_other(bits: _Bits) -> tuple[str, str]:
    name = _read_letters(bits, BASE64, bits.take(7))
    if _NAME.fullmatch(name) is None:
        raise InvalidIdentifier(f"a compressed Digital Link has the name {name[:32]!r} for what isn't GS1's")
    encoding = bits.take(3)
    return name, _read_letters(bits, encoding, bits.take(7))


def _best_codes(given: Iterable[str]) -> list[int]:
    """Codes for what is given, the one that saves most first."""
    left, chosen = set(given), list[int]()
    while True:
        fitting = [code for code, names in CODES.items() if left.issuperset(names)]
        if not fitting:
            return chosen
        chosen.append(max(fitting, key=lambda code: len("".join(CODES[code]))))
        left.difference_update(CODES[chosen[-1]])


def _write_value(bits: _Writer, ai: str, value: str) -> None:
    if re.fullmatch(known(ai).pattern, ai + value, re.ASCII) is None:
        raise InvalidIdentifier(f"({ai}) is {known(ai).format}, without its own {len(ai)} digits first")
    for part in parts(ai):
        text, value = value[: part.most], value[part.most :]
        if not part.digits:
            _write_text(bits, text, None if part.fixed else length_bits(part.most))
            continue
        if not part.fixed:
            bits.put(len(text), length_bits(part.most))
        bits.put(int(text or "0"), value_bits(len(text)))


def _write_text(bits: _Writer, text: str, length_bits: int | None) -> None:
    """`length_bits`: of its count of characters; None where that is fixed."""
    encoding = next((encoding for encoding, pattern in ENCODINGS if pattern.fullmatch(text)), None)
    if encoding is None:
        raise InvalidIdentifier(f"{text[:32]!r} isn't ASCII and can't be compressed")
    bits.put(encoding, 3)
    if length_bits is not None:
        bits.put(len(text), length_bits)
    if encoding == DIGITS:
        bits.put(int(text), value_bits(len(text)))
    else:
        bits.put_letters(text, encoding)
