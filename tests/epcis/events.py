"""Hypothesis strategies for EPCIS events: the shapes that a gateway sends, and well beyond."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from epcis.vocabulary import BIZ_STEPS, COMPONENTS, DISPOSITIONS, MEASUREMENTS, PARTY_TYPES, TRANSACTION_TYPES

Event = dict[str, Any]

ZONES = ("+00:00", "+08:00", "-06:00", "+05:30", "-03:30", "+14:00")
_DECIMALS = ("", ".0", ".123", ".120000", ".9994", ".0006")

timestamps = st.builds(
    lambda moment, decimals, zone: moment.replace(microsecond=0).isoformat() + decimals + zone,
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)),  # noqa: DTZ001 the zone is drawn apart
    st.sampled_from(_DECIMALS),
    st.sampled_from(("Z", *ZONES)),
)
numbers = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
)
words = st.text("abXY泵äß😀-/.,;=+&%<{} \t9", max_size=8).map(lambda text: "~" + text)
"""Free text that can't be taken for a term, a number or a compact URI."""
_names_in_uris = st.text("abXY泵äß-/.,;=+&%9", max_size=8).map(lambda text: "~" + text)


def _digits(length: int) -> st.SearchStrategy[str]:
    return st.integers(0, 10**length - 1).map(lambda number: f"{number:0{length}d}")


def _company(total: int) -> st.SearchStrategy[str]:
    """A company prefix of 6 to 11 digits, a dot, and the rest of `total` digits."""
    return st.builds(lambda digits, length: f"{digits[:length]}.{digits[length:]}", _digits(total), st.integers(6, 11))


_sgtin, _sscc, _gln = _company(13), _company(17), _company(12)
_serial = st.text("ABCxyz019-._", min_size=1, max_size=6)
epcs = st.one_of(
    st.builds("urn:epc:id:sgtin:{}.{}".format, _sgtin, _serial),
    st.builds("urn:epc:id:sscc:{}".format, _sscc),
    st.builds("https://id.gs1.org/01/{}/21/77".format, _digits(14)),
    st.builds("hdl:88.100.1/P{:08d}".format, st.integers(1, 10**8 - 1)),
)
places = st.fixed_dictionaries(
    {
        "id": st.one_of(
            st.builds("urn:epc:id:sgln:{}.{}".format, _gln, st.sampled_from(["0", "400", "A1"])),
            st.builds("urn:mumian:gateway:g:{}".format, _names_in_uris),
        )
    },
    optional={"example:place": words},
)
quantities = st.lists(
    st.fixed_dictionaries(
        {
            "epcClass": st.one_of(
                st.builds("urn:epc:class:lgtin:{}.{}".format, _sgtin, _serial),
                st.builds("urn:epc:idpat:sgtin:{}.*".format, _sgtin),
            )
        },
        optional={"quantity": numbers, "uom": st.sampled_from(["KGM", "MTR"])},
    ),
    min_size=1,
    max_size=3,
)
_reports = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(sorted(MEASUREMENTS)), st.builds("urn:mumian:tag:{}".format, _names_in_uris))},
    optional={
        "component": st.sampled_from(sorted(COMPONENTS)),
        "exception": st.sampled_from(["ALARM_CONDITION", "ERROR_CONDITION"]),
        "time": timestamps,
        **dict.fromkeys(("value", "minValue", "meanValue", "maxValue", "sDev"), numbers),
        "stringValue": words,
        "hexBinaryValue": st.sampled_from(["F0F0F0", "0A"]),
        "uom": st.sampled_from(["CEL", "BAR", "LTR/min"]),
        "example:count": st.integers(0, 10**6),
        "example:tag": words,
    },
)
_metadata = st.fixed_dictionaries(
    {"deviceID": st.builds("urn:mumian:device:g:{}".format, _names_in_uris)},
    optional={"startTime": timestamps, "endTime": timestamps, "time": timestamps, "example:mode": words},
)
sensor_elements = st.lists(
    st.fixed_dictionaries(
        {"sensorReport": st.lists(_reports, min_size=1, max_size=3)},
        optional={"sensorMetadata": _metadata, "example:bench": words},
    ),
    min_size=1,
    max_size=2,
)
_leaves = st.one_of(words, numbers)
_names = st.sampled_from(["example:alpha", "example:beta", "example:Gamma"])
_deeper = st.dictionaries(_names, st.one_of(_leaves, st.lists(_leaves, min_size=2, max_size=3)), min_size=1, max_size=2)
extensions = st.dictionaries(
    _names,
    st.one_of(
        _leaves, st.lists(_leaves, min_size=2, max_size=3), _deeper, st.dictionaries(_names, _deeper, min_size=1, max_size=1)
    ),
    max_size=3,
)
common_fields = st.fixed_dictionaries(
    {"eventTime": timestamps, "eventTimeZoneOffset": st.sampled_from(ZONES)},
    optional={
        "recordTime": timestamps,
        "bizStep": st.sampled_from(sorted(BIZ_STEPS)),
        "disposition": st.sampled_from(sorted(DISPOSITIONS)),
        "readPoint": places,
        "bizLocation": places,
        "sensorElementList": sensor_elements,
    },
)


def _listed(name: str, types: Iterable[str], ids: st.SearchStrategy[str]) -> st.SearchStrategy[list[Event]]:
    # The type first: the reference takes the two as they stand.
    element = st.builds(lambda kind, identifier: {"type": kind, name: identifier}, st.sampled_from(sorted(types)), ids)
    return st.lists(element, min_size=1, max_size=2)


_pgln = st.builds("urn:epc:id:pgln:{}".format, _gln)
party_lists = st.fixed_dictionaries(
    {},
    optional={
        "bizTransactionList": _listed(
            "bizTransaction", TRANSACTION_TYPES, st.builds("urn:mumian:order:{}".format, _names_in_uris)
        ),
        "sourceList": _listed("source", PARTY_TYPES, _pgln),
        "destinationList": _listed("destination", PARTY_TYPES, _pgln),
    },
)

_epc_lists = st.lists(epcs, min_size=1, max_size=3, unique=True)
_subjects = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("ObjectEvent"), "action": st.just("ADD"), "epcList": _epc_lists},
        optional={"quantityList": quantities, "ilmd": extensions.filter(bool)},
    ),
    st.fixed_dictionaries(
        {"type": st.just("AggregationEvent"), "action": st.just("OBSERVE"), "parentID": epcs, "childEPCs": _epc_lists},
        optional={"childQuantityList": quantities},
    ),
    st.fixed_dictionaries(
        {"type": st.just("AssociationEvent"), "action": st.just("DELETE"), "parentID": epcs, "childEPCs": _epc_lists}
    ),
    st.fixed_dictionaries(
        {"type": st.just("TransformationEvent"), "inputEPCList": _epc_lists, "outputEPCList": _epc_lists},
        optional={
            "inputQuantityList": quantities,
            "outputQuantityList": quantities,
            "transformationID": st.builds("urn:mumian:batch:{}".format, _names_in_uris),
        },
    ),
)
events = st.builds(lambda what, fields, more: {**what, **fields, **more}, _subjects, common_fields, extensions)
"""Any of the event types, without the fields on which the reference and the standard's order differ."""
