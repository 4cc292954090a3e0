"""The asyncua side of an OPC UA device: its core, its nodes, its endpoints, its wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError

from simulators.listening import CannotListen, endpoint
from simulators.opcua.alarms import REFRESH_NODES, Alarms
from simulators.opcua.bench import NAMESPACE
from simulators.opcua.book import EPOCH, Book, time_of
from simulators.opcua.identity import Identity, Users, make_identity, read_certificates, read_passwords
from simulators.opcua.kept import KeptHistory
from simulators.opcua.recording import RecordingServer, RecordingSession
from simulators.opcua.settings import OpcuaDevice, OperationLimits, SecurityMode, VariableType
from simulators.opcua.variables import Measured, Variable
from simulators.samples import Hold

_TYPES = {
    VariableType.DOUBLE: ua.VariantType.Double,
    VariableType.FLOAT: ua.VariantType.Float,
    VariableType.INT32: ua.VariantType.Int32,
    VariableType.UINT32: ua.VariantType.UInt32,
    VariableType.BOOL: ua.VariantType.Boolean,
    VariableType.TEXT: ua.VariantType.String,
}
_SUFFIX = {SecurityMode.SIGN: "Sign", SecurityMode.SIGN_AND_ENCRYPT: "SignAndEncrypt"}
_LIMIT_NODES = {
    "max_nodes_per_read": "MaxNodesPerRead",
    "max_monitored_items_per_call": "MaxMonitoredItemsPerCall",
    "max_nodes_per_history_read": "MaxNodesPerHistoryReadData",
}


class DeviceCore(RecordingServer):
    """What the device bears, how slowly it reads, and who may come."""

    def __init__(self, settings: OpcuaDevice, book: Book, tag_of: Callable[[Any], str | None]) -> None:
        """
        Raises:
            ConfigError: a file of users can't be used.
        """
        users = Users(read_passwords(settings.password_file))
        super().__init__(book, tag_of, users, REFRESH_NODES if settings.alarms else ())
        self.make_session = DeviceSession
        self.limits = settings.limits
        self.slow: dict[str, list[float]] = {}
        """How late a Read of a variable is answered, by its name."""
        self.tag_of = tag_of
        self._certificates = read_certificates(settings.user_certificate_files)
        self.max_session_timeout_ms = settings.session_s * 1000
        self.max_unacked_messages_per_subscription = settings.kept_messages
        self.max_monitored_item_queue_size = settings.queue_size
        self.subscription_service.longest_lifetime_s = settings.lifetime_s
        self.history_manager = KeptHistory(self, settings.history_page)

    def verify_x509_token(self, isession: Any, token: Any, signature: Any) -> bytes:
        """Only certificates that are known."""
        certificate: bytes = super().verify_x509_token(isession, token, signature)
        if certificate not in self._certificates:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)
        return certificate

    def check(self, operands: int, most: int) -> None:
        """Refuse what is too much for one request."""
        if 0 < most < operands:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)


class DeviceSession(RecordingSession):
    """A client's session with such a device."""

    async def read(self, params: Any) -> Any:
        """The service Read."""
        core: DeviceCore = self.iserver
        core.check(len(params.NodesToRead), core.limits.max_nodes_per_read)
        tags = (core.tag_of(one.NodeId) for one in params.NodesToRead)
        wait_s = max((delay for tag in tags if tag is not None for delay in core.slow.get(tag, ())), default=0.0)
        if wait_s:
            await asyncio.sleep(wait_s)
        return await super().read(params)

    async def create_monitored_items(self, params: Any) -> Any:
        """The service CreateMonitoredItems."""
        core: DeviceCore = self.iserver
        core.check(len(params.ItemsToCreate), core.limits.max_monitored_items_per_call)
        return await super().create_monitored_items(params)

    async def history_read(self, params: Any) -> Any:
        """The service HistoryRead."""
        core: DeviceCore = self.iserver
        core.check(len(params.NodesToRead), core.limits.max_nodes_per_history_read)
        return await super().history_read(params)


class ServedDevice:
    """Construct, start(), put() values, spoil it, stop()."""

    def __init__(self, settings: OpcuaDevice, book: Book) -> None:
        """
        Raises:
            ConfigError: a file of users can't be used.
        """
        self._settings = settings
        self._book = book
        self._tags: dict[Any, str] = {}
        self._nodes: dict[str, Any] = {}
        self._index = 0
        self._identities = 0
        self._host = ""
        self._folder: Any = None
        self._server: Any = None
        self.core = DeviceCore(settings, book, self._tags.get)
        self.alarms: Alarms | None = None

    async def start(self, host: str, port: int, variables: Iterable[Variable]) -> int:
        """Listen; returns the port.

        Raises:
            CannotListen
            ConfigError: the certificate can't be written.
        """
        self._host = host
        server = self._server = Server(iserver=self.core)
        server.name = f"Mumian {self._settings.name}"
        server.application_type = ua.ApplicationType.Server
        await server.init()
        await server.set_application_uri(self.uri)
        server.set_endpoint(f"opc.tcp://{endpoint(host, port)}")
        server.set_security_policy(list(self._policies()))
        server.set_identity_tokens(self._tokens())
        if self._is_secured:
            await self._show(self._identity())
        self._index = await server.register_namespace(NAMESPACE)
        name = self._settings.name
        self._folder = await server.nodes.objects.add_object(ua.NodeId(name, self._index), ua.QualifiedName(name, self._index))
        for variable in variables:
            await self.add(variable)
        await self._say_limits(self._settings.claims or self._settings.limits)
        if self._settings.alarms:
            self.alarms = Alarms(self._settings.alarms, self.core.subscription_service, name, self._index, self._now)
            self.core.aspace.add_method_callback(ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh), self.alarms.refresh)
        try:
            await server.start()
        except OSError as error:
            raise CannotListen(host, port, error.strerror or str(error)) from error
        await self.say_started()
        return int(server.bserver.port)

    async def stop(self) -> None:
        """Close sessions and listener. Safe twice, and before start()."""
        server, self._server = self._server, None
        if server is not None and server.bserver is not None:
            self._book.close()
            await self.core.end_sessions()
            await server.stop()

    @property
    def uri(self) -> str:
        """Its application URI."""
        return f"urn:mumian:plant:{self._settings.name}"

    async def add(self, variable: Variable) -> None:
        """Make its node, without a value yet."""
        node_id = ua.NodeId(f"{self._settings.name}.{variable.name}", self._index)
        kind = _TYPES[variable.settings.type]
        node = await self._folder.add_variable(node_id, ua.QualifiedName(variable.name, self._index), variable.value(0), kind)
        if variable.settings.history:
            await node.set_attr_bit(ua.AttributeIds.AccessLevel, ua.AccessLevel.HistoryRead)
            await node.set_attr_bit(ua.AttributeIds.UserAccessLevel, ua.AccessLevel.HistoryRead)
            self.core.history_manager.keep(node_id)
        self._nodes[variable.name] = node_id
        self._tags[node_id] = variable.name

    async def put(self, variable: Variable, measured: Measured) -> None:
        """Give a variable its new value; its history, its subscriptions and the alarms take it."""
        value = self._data_value(variable, measured)
        self._book.is_monitored = False
        await self._tell(self._nodes[variable.name], value)
        if not self._book.is_monitored:
            self._book.enter(0, variable.name, value, Hold.UNMONITORED)
        self.core.history_manager.note(self._nodes[variable.name], value)
        if self.alarms is not None and variable.is_number(measured.value):
            await self.alarms.look(variable.name, measured.value, value.SourceTimestamp)

    async def delete(self, variable: Variable, source_ms: int) -> None:
        """Take its node away; monitored items say so once."""
        node_id = self._nodes[variable.name]
        gone = ua.DataValue(ua.Variant(), ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown), time_of(source_ms))
        await self._tell(node_id, gone)
        attribute = self.core.aspace[node_id].attributes[ua.AttributeIds.Value]
        for handle in list(attribute.datachange_callbacks):
            self.core.aspace.delete_datachange_callback(handle)
        folder = self.core.aspace[self._folder.nodeid]
        folder.references[:] = [one for one in folder.references if one.NodeId != node_id]
        del self.core.aspace[node_id]

    async def _tell(self, node_id: Any, value: Any) -> None:
        """As asyncua writes a value, but of whatever type."""
        attribute = self.core.aspace[node_id].attributes[ua.AttributeIds.Value]
        attribute.value = value
        for handle, callback in list(attribute.datachange_callbacks.items()):
            await callback(handle, value)

    def _data_value(self, variable: Variable, measured: Measured) -> Any:
        if measured.value is None:
            variant = ua.Variant()
        elif variable.odd:
            kind = ua.VariantType.String if isinstance(measured.value, str) else ua.VariantType.Double
            variant = ua.Variant(measured.value, kind)
        else:
            variant = ua.Variant(measured.value, _TYPES[variable.settings.type])
        return ua.DataValue(variant, ua.StatusCode(measured.status), time_of(measured.source_ms), self._now())

    # What goes wrong.

    def cut(self) -> None:
        """End every connection."""
        for client in list(self._server.bserver.clients):
            client.transport.abort()

    def refuse(self) -> None:
        """Take no connection until admit()."""
        self.core.max_connections = 0

    def admit(self) -> None:
        """Take connections again."""
        self.core.max_connections = 1000

    async def lose_everything(self) -> None:
        """Sessions and subscriptions, as by a power-up."""
        await self.core.end_sessions()

    async def say_started(self) -> None:
        """ServerStatus has the present time as its beginning."""
        now = self._now()
        status = await self.core.server_status_node.read_value()
        status.StartTime = now
        await self.core.server_status_node.write_value(status)
        await self._write(ua.ObjectIds.Server_ServerStatus_StartTime, ua.Variant(now, ua.VariantType.DateTime))

    async def swap_certificate(self) -> None:
        """Show another certificate, with another key, from now on."""
        if self._is_secured:
            self._identities += 1
            await self._show(self._identity())
            self.core.endpoints.clear()
            self._server._policies.clear()
            await self._server._setup_server_nodes()

    async def _show(self, identity: Identity) -> None:
        await self._server.load_certificate(identity.certificate)
        await self._server.load_private_key(identity.private_key)

    def _identity(self) -> Identity:
        name = self._settings.name if not self._identities else f"{self._settings.name}-{self._identities + 1}"
        return make_identity(self._settings.pki_folder, name, self.uri, self._host)

    @property
    def _is_secured(self) -> bool:
        return any(mode is not SecurityMode.NONE for mode in self._settings.security)

    def _policies(self) -> Iterable[Any]:
        for mode in self._settings.security:
            if mode is SecurityMode.NONE:
                yield ua.SecurityPolicyType.NoSecurity
            else:
                for policy in self._settings.policies:
                    yield getattr(ua.SecurityPolicyType, f"{policy.value.replace('_', '')}_{_SUFFIX[mode]}")

    def _tokens(self) -> list[Any]:
        tokens = [ua.AnonymousIdentityToken] if self._settings.anonymous else []
        if self._settings.password_file is not None:
            tokens.append(ua.UserNameIdentityToken)
        if self._settings.user_certificate_files:
            tokens.append(ua.X509IdentityToken)
        return tokens

    async def _say_limits(self, limits: OperationLimits) -> None:
        for key, name in _LIMIT_NODES.items():
            number = getattr(ua.ObjectIds, f"Server_ServerCapabilities_OperationLimits_{name}")
            await self._write(number, ua.Variant(getattr(limits, key), ua.VariantType.UInt32))

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._book.clock() // 1000)

    async def _write(self, number: int, variant: Any) -> None:
        value = ua.DataValue(variant, SourceTimestamp=self._now())
        await self._tell(ua.NodeId(number), value)
