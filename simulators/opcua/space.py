"""The part of the standard OPC UA nodes that a small controller carries.

asyncua's standard address space is 6,174 nodes, and putting them up takes about two seconds. A data client touches the folders,
the Server object and the types above them: some 150 nodes, put up in a quarter of a second, taken from asyncua's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from typing import Any

from asyncua import ua
from asyncua.server.standard_address_space.standard_address_space_services import (
    create_standard_address_space_Services,
)

_SERVER_NODES = (
    "Server",
    "Server_NamespaceArray",
    "Server_ServerArray",
    "Server_ServiceLevel",
    "Server_Auditing",
    "Server_ServerCapabilities",
    "Server_ServerRedundancy",
    "Server_ServerRedundancy_RedundancySupport",
)
_SERVER_BRANCHES = ("Server_ServerStatus", "Server_ServerCapabilities_OperationLimits")
_FOLDERS = range(84, 92)
"""Root to ReferenceTypes (OPC UA Part 5, 8.2)."""


class _Tables:
    """Stands where asyncua expects a server, and keeps what it is given."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.references: list[Any] = []

    def add_nodes(self, nodes: Iterable[Any]) -> None:
        self.nodes.extend(nodes)

    def add_references(self, references: Iterable[Any]) -> None:
        self.references.extend(references)


def fill_small(node_service: Any, extra: Iterable[str] = ()) -> None:
    """Put the nodes into an empty address space.

    Args:
        node_service: the server's NodeManagementService.
        extra: names in ua.ObjectIds of further nodes; what they stand on comes with them.
    """
    nodes, references = deepcopy(_small(tuple(extra)))
    left = nodes
    while left:
        # A node whose parent stands further down the table has to wait for it.
        waiting = list(node_service.try_add_nodes(left, check=False))
        if len(waiting) == len(left):
            raise RuntimeError(f"asyncua's tables lack the parents of {waiting}")
        left = waiting
    list(node_service.try_add_references(references))


@cache
def _small(extra: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
    """Nodes and references; a server changes what it is given, so that it needs a copy."""
    tables = _Tables()
    create_standard_address_space_Services(tables)
    seeds = _seeds(tables.nodes) + [ua.NodeId(getattr(ua.ObjectIds, name)) for name in extra]
    kept = _closure({node.RequestedNewNodeId: node for node in tables.nodes}, seeds)
    nodes = [node for node in tables.nodes if node.RequestedNewNodeId in kept]
    return nodes, [r for r in tables.references if r.SourceNodeId in kept and r.TargetNodeId in kept]


def _seeds(nodes: Iterable[Any]) -> list[Any]:
    wanted = [number for name, number in vars(ua.ObjectIds).items() if name in _SERVER_NODES or name.startswith(_SERVER_BRANCHES)]
    types = [node.RequestedNewNodeId for node in nodes if node.NodeClass == ua.NodeClass.ReferenceType]
    return [ua.NodeId(number) for number in (*_FOLDERS, *wanted)] + types


def _closure(nodes: dict[Any, Any], seeds: list[Any]) -> set[Any]:
    """The seeds and everything that they stand on: parents, types, data types."""
    kept: set[Any] = set()
    while seeds:
        node_id = seeds.pop()
        if node_id in kept or node_id not in nodes:
            continue
        kept.add(node_id)
        node = nodes[node_id]
        seeds += [node.ParentNodeId, node.TypeDefinition, node.ReferenceTypeId]
        data_type = getattr(node.NodeAttributes, "DataType", None)
        if data_type is not None:
            seeds.append(data_type)
    return kept
