"""GS1 identifiers in their one canonical form: a GS1 Digital Link URI on id.gs1.org with the finest level only.

Source: CBV 2.0, 8.9.2 rules 17 and 18; EPC Tag Data Standard 1.13, section 6 (EPC URIs); GS1 Digital Link URI Syntax 1.2, 4.11.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

_DOMAIN = "https://id.gs1.org"
_SERIAL = re.compile(r"(%[0-9A-Fa-f]{2}|[!')(*+,.0-9:;=A-Za-z_-])+")
_ESCAPES = {ord(mark): f"%{ord(mark):02X}" for mark in "!()*+,:"}
_ALIASES = {
    "gtin": "01", "itip": "8006", "cpid": "8010", "gln": "414", "party": "417", "gsrnp": "8017", "gsrn": "8018", "gcn": "255",
    "sscc": "00", "gdti": "253", "ginc": "401", "gsin": "402", "grai": "8003", "giai": "8004",
    "lot": "10", "ser": "21", "cpv": "22",
}  # fmt: skip
_KEY_FORM = {
    "00": r"\d{18}", "01": r"\d{8}|\d{12,14}", "253": r"\d{13}[!-~]{0,17}", "255": r"\d{13}\d{0,12}", "401": r"[!-~]{1,30}",
    "402": r"\d{17}", "414": r"\d{13}", "417": r"\d{13}", "8003": r"\d{14}[!-~]{0,16}", "8004": r"[!-~]{1,30}", "8006": r"\d{18}",
    "8010": r"[!-~]{1,30}", "8017": r"\d{18}", "8018": r"\d{18}",
}  # fmt: skip
_KEYS = {key: re.compile(form, re.ASCII) for key, form in _KEY_FORM.items()}
_QUALIFIERS = {"01": ("21", "235", "10"), "8006": ("21", "10"), "414": ("254",), "8010": ("8011",)}
"""Which qualifiers may follow a key, the finest first."""


def check_digit(digits: str) -> str:
    """The modulo-10 digit that completes a GS1 key (GS1 General Specifications, 7.9.1)."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def canonical_gs1_uri(uri: str) -> str | None:
    """The canonical Digital Link URI of an EPC URI, class, pattern or Digital Link; None when `uri` is none of these."""
    if uri.startswith("urn:epc:"):
        return _from_epc(uri)
    if uri.startswith(("https://", "http://")):
        return _from_digital_link(uri)
    return None


def _from_epc(uri: str) -> str | None:
    kind, _, rest = uri[len("urn:epc:") :].partition(":")
    scheme, _, body = rest.partition(":")
    build = _SCHEMES.get((kind, scheme))
    if build is None:
        return None
    path = build(body.split("."))
    return None if path is None else _DOMAIN + path


def _digits(parts: list[str], total: int) -> tuple[str, str] | None:
    """Company prefix and reference, when they are digits and `total` together."""
    if len(parts) < 2:
        return None
    company, reference = parts[0], parts[1]
    fits = 6 <= len(company) <= 12 and len(company) + len(reference) == total
    digits = (company + reference).isascii() and company.isdigit() and (reference.isdigit() or not reference)
    return (company, reference) if fits and digits else None


def _serial(parts: list[str], longest: int) -> str | None:
    text = ".".join(parts)
    characters = len(re.sub(r"%[0-9A-Fa-f]{2}", "x", text))
    if not 1 <= characters <= longest or _SERIAL.fullmatch(text) is None:
        return None
    return text.translate(_ESCAPES)


_Builder = Callable[[list[str]], str | None]


def _gtin(parts: list[str]) -> str | None:
    numbers = _digits(parts, 13)
    if numbers is None or not numbers[1]:
        return None
    company, item = numbers
    raw = item[0] + company + item[1:]
    return raw + check_digit(raw)


def _gtin_with(qualifier: str, longest: int) -> _Builder:
    def build(parts: list[str]) -> str | None:
        gtin, serial = _gtin(parts), _serial(parts[2:], longest)
        return None if gtin is None or serial is None else f"/01/{gtin}/{qualifier}/{serial}"

    return build


def _checked(key: str, total: int, lead: str = "", serial: int | None = None, digits_only: bool = False) -> _Builder:
    """A key of `total` digits and its check digit, with a serial of at most `serial` characters right behind it."""

    def build(parts: list[str]) -> str | None:
        numbers = _digits(parts, total)
        if numbers is None or (serial is None and len(parts) != 2):
            return None
        raw = lead + numbers[0] + numbers[1]
        tail = "" if serial is None else _serial(parts[2:], serial)
        if tail is None or (digits_only and not tail.isdigit()):
            return None
        return f"/{key}/{raw}{check_digit(raw)}{tail}"

    return build


def _sscc(parts: list[str]) -> str | None:
    numbers = _digits(parts, 17)
    if numbers is None or len(parts) != 2:
        return None
    company, reference = numbers
    raw = reference[0] + company + reference[1:]
    return f"/00/{raw}{check_digit(raw)}"


def _sgln(parts: list[str]) -> str | None:
    numbers, extension = _digits(parts, 12), _serial(parts[2:], 20)
    if numbers is None or extension is None:
        return None
    raw = numbers[0] + numbers[1]
    place = f"/414/{raw}{check_digit(raw)}"
    return place if extension == "0" else f"{place}/254/{extension}"


def _joined(key: str) -> _Builder:
    """A key that is company prefix and reference written together, without a check digit (GIAI, GINC)."""

    def build(parts: list[str]) -> str | None:
        company, reference = parts[0], _serial(parts[1:], 30 - len(parts[0]))
        if not (company.isascii() and company.isdigit() and 6 <= len(company) <= 12) or reference is None:
            return None
        return f"/{key}/{company}{reference}"

    return build


def _cpi(parts: list[str]) -> str | None:
    if len(parts) != 3 or not (parts[0].isdigit() and 6 <= len(parts[0]) <= 12 and parts[1]):
        return None
    part = parts[0] + parts[1].translate(_ESCAPES)
    return f"/8010/{part}/8011/{parts[2]}" if parts[2].isdigit() and len(parts[2]) <= 12 else None


def _itip(parts: list[str]) -> str | None:
    gtin = _gtin(parts)
    if gtin is None or len(parts) < 5 or not all(len(part) == 2 and part.isdigit() for part in parts[2:4]):
        return None
    serial = _serial(parts[4:], 20)
    return None if serial is None else f"/8006/{gtin}{parts[2]}{parts[3]}/21/{serial}"


def _pattern(build: _Builder) -> _Builder:
    """`build` for a pattern, whose serial is a star."""

    def build_pattern(parts: list[str]) -> str | None:
        return build(parts[:-1]) if parts[-1] == "*" and len(parts) == 3 else None

    return build_pattern


def _itip_pattern(parts: list[str]) -> str | None:
    path = _itip(parts)
    return path.removesuffix("/21/%2A") if path and parts[4:] == ["*"] else None


def _cpi_pattern(parts: list[str]) -> str | None:
    path = _cpi([*parts[:-1], "0"])
    return path.removesuffix("/8011/0") if path and parts[-1] == "*" else None


def _gtin_alone(parts: list[str]) -> str | None:
    gtin = _gtin(parts)
    return None if gtin is None else f"/01/{gtin}"


_SCHEMES: dict[tuple[str, str], _Builder] = {
    ("id", "sgtin"): _gtin_with("21", 20),
    ("id", "upui"): _gtin_with("235", 28),
    ("class", "lgtin"): _gtin_with("10", 20),
    ("id", "sscc"): _sscc,
    ("id", "sgln"): _sgln,
    ("id", "pgln"): _checked("417", 12),
    ("id", "grai"): _checked("8003", 12, lead="0", serial=16),
    ("id", "giai"): _joined("8004"),
    ("id", "gsrn"): _checked("8018", 17),
    ("id", "gsrnp"): _checked("8017", 17),
    ("id", "gdti"): _checked("253", 12, serial=17),
    ("id", "cpi"): _cpi,
    ("id", "sgcn"): _checked("255", 12, serial=12, digits_only=True),
    ("id", "ginc"): _joined("401"),
    ("id", "gsin"): _checked("402", 16),
    ("id", "itip"): _itip,
    ("idpat", "sgtin"): _pattern(_gtin_alone),
    ("idpat", "upui"): _pattern(_gtin_alone),
    ("idpat", "grai"): _pattern(_checked("8003", 12, lead="0")),
    ("idpat", "gdti"): _pattern(_checked("253", 12)),
    ("idpat", "sgcn"): _pattern(_checked("255", 12)),
    ("idpat", "cpi"): _cpi_pattern,
    ("idpat", "itip"): _itip_pattern,
}


def _from_digital_link(uri: str) -> str | None:
    try:
        path = urlsplit(uri).path
    except ValueError:
        return None
    segments = path.rstrip("/").split("/")[1:]
    for place in range(len(segments) - 1):
        key = _ALIASES.get(segments[place], segments[place])
        form = _KEYS.get(key)
        if form is not None and form.fullmatch(segments[place + 1]):
            return _constrain(key, segments[place + 1], segments[place + 2 :])
    return None


def _constrain(key: str, value: str, rest: list[str]) -> str | None:
    """Key, value and the finest of the qualifiers that follow; None when what follows isn't pairs of them."""
    if len(rest) % 2:
        return None
    if key == "01":
        value = value.zfill(14)
    pairs = {_ALIASES.get(name, name): text for name, text in zip(rest[::2], rest[1::2], strict=True)}
    allowed = _QUALIFIERS.get(key, ())
    if any(name not in allowed and name != "22" for name in pairs):
        return None
    finest = next((name for name in allowed if name in pairs), None)
    return f"{_DOMAIN}/{key}/{value}" + (f"/{finest}/{pairs[finest]}" if finest else "")
