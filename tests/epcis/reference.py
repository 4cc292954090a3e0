"""The reference implementation of the event hash, epcis_event_hash_generator 1.9.3, behind one function."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from epcis.vocabulary import EPCIS_CONTEXT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from epcis_event_hash_generator import hash_generator, json_to_py

EXAMPLE = "http://ns.example.com/epcis/"
CONTEXT: list[Any] = [EPCIS_CONTEXT, {"example": EXAMPLE}]


def reference_string(event: dict[str, Any], context: list[Any] | None = None) -> str:
    """The pre-hash string that the reference makes of `event`."""
    document = {
        "@context": context or CONTEXT,
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-01-01T00:00:00.000Z",
        "epcisBody": {"eventList": [copy.deepcopy(event)]},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        json_to_py._namespaces = {}
        tree = json_to_py.event_list_from_epcis_document_json(document)
        (text,) = hash_generator.derive_prehashes_from_events(tree)
    return str(text)
