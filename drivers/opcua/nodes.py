"""Node ids as people write them (OPC UA Part 6, 5.3.1.10) to node ids of one server."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any

from asyncua import ua


def node_id(text: str, namespaces: Sequence[str]) -> Any | None:
    """The ua.NodeId that `text` (as the settings accept it) names among these namespaces; None when its uri is none of them."""
    index = 0
    if text.startswith("nsu="):
        uri, _, text = text[4:].partition(";")
        uri = uri.replace("%3B", ";").replace("%25", "%")
        if uri not in namespaces:
            return None
        index = namespaces.index(uri)
    elif text.startswith("ns="):
        number, _, text = text[3:].partition(";")
        index = int(number)
    kind, _, identifier = text.partition("=")
    match kind:
        case "i":
            return ua.NodeId(int(identifier), index)
        case "s":
            return ua.NodeId(identifier, index)
        case "g":
            return ua.NodeId(uuid.UUID(identifier), index)
        case _:
            return ua.NodeId(base64.b64decode(identifier), index)
