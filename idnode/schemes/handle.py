"""Handles (RFC 3650, 2) with the prefixes of China's industrial system, 86. and 88., and the handles of prefixes, 0.NA/.

`88.100` is a second-level node's prefix, `88.100.1` an enterprise's; what stands behind the first slash is the enterprise's.
Normal form: the prefix in upper case, the suffix as given. A `0.NA/` handle names a prefix, so all of it is in upper case.
"""

from __future__ import annotations

import functools
import re

from idnode.schemes.form import InvalidIdentifier, Parts

LONGEST = 255
"""Characters of a whole handle, as second-level nodes (SNMS) limit it."""
PREFIX_PATTERN = r"(?:86|88)(?:\.[0-9A-Za-z]{1,16}){1,4}"
NAMING_AUTHORITY = "0.NA"
"""The prefix of the handles that stand for prefixes; the root is 0.NA/0.NA."""

_PREFIX = re.compile(PREFIX_PATTERN, re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def is_prefix(text: str) -> bool:
    """Whether `text` is a prefix of this system, in any case."""
    return _PREFIX.fullmatch(text) is not None


_is_known_prefix = functools.lru_cache(maxsize=1024)(is_prefix)
"""For texts that are no longer than a handle."""


def read_handle(text: str) -> Parts:
    """Read `prefix/suffix`, nothing encoded.

    Raises:
        InvalidIdentifier
    """
    if len(text) > LONGEST:
        raise InvalidIdentifier(f"an identifier has at most {LONGEST} characters")
    prefix, slash, suffix = text.partition("/")
    if not _is_known_prefix(prefix):
        if prefix.upper() == NAMING_AUTHORITY:
            return _prefix_handle(suffix)
        raise InvalidIdentifier("an identifier begins with a prefix such as 88.100.1")
    if not slash or not suffix:
        raise InvalidIdentifier("an identifier has a suffix behind its first slash")
    if _UNPRINTABLE.search(suffix) is not None:
        raise InvalidIdentifier("an identifier has no control characters")
    if suffix != suffix.strip():
        raise InvalidIdentifier("an identifier neither begins nor ends with a space")
    return Parts(prefix.upper(), suffix)


def _prefix_handle(named: str) -> Parts:
    upper = named.upper()
    if upper != NAMING_AUTHORITY and named not in ("86", "88") and not is_prefix(named):
        raise InvalidIdentifier("0.NA/ is followed by a prefix such as 88.100.1")
    return Parts(NAMING_AUTHORITY, upper)
