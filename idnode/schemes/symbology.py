"""What stands before the data of a scan: the symbology identifier of AIM (ISO/IEC 15424), `]` and two characters.

Scanners send it where they are set to; it says whether the data is an element string, an EAN or anything.
"""

from __future__ import annotations

from enum import Enum

from idnode.schemes.form import InvalidIdentifier


class Content(Enum):
    """What the data of a symbol is."""

    ANYTHING = "anything"
    ELEMENTS = "elements"
    """A GS1 element string."""
    GTIN = "gtin"


_ELEMENTS = ("C1", "e0", "e1", "e2", "d2", "Q3", "J1")
"""GS1-128, DataBar and composite, DataMatrix, QR code, DotCode (GS1 General Specifications, 5.1.2)."""
_GTINS = {"E0": 13, "E3": 13, "E4": 8, "I1": 14}
"""EAN-13 (UPC too), the same with an add-on, which goes, EAN-8, ITF-14: digits."""


def split_symbology(text: str) -> tuple[Content, str]:
    """What a scan is, and its data without the symbology identifier. A text without one is ANYTHING, as it is.

    Raises:
        InvalidIdentifier: `]` isn't followed by two characters, or the symbol is an add-on alone.
    """
    if not text.startswith("]"):
        return Content.ANYTHING, text
    symbology, data = text[1:3], text[3:]
    if len(symbology) < 2 or not symbology.isalnum() or not symbology.isascii():
        raise InvalidIdentifier("] is followed by a symbology identifier, such as ]C1")
    if symbology in _ELEMENTS:
        return Content.ELEMENTS, data
    if symbology in _GTINS:
        return Content.GTIN, data[: _GTINS[symbology]]
    if symbology in ("E1", "E2"):
        raise InvalidIdentifier("this is an EAN's add-on alone: scan the EAN")
    return Content.ANYTHING, data


def without_symbology(text: str) -> str:
    """A scan without its symbology identifier, whatever that says."""
    return text[3:] if text.startswith("]") else text
