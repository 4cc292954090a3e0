"""Who asks, by any of the forms that the Handle HTTP API knows."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.x509.oid import NameOID

from idnode.access import Kind
from idnode.administering.identities import Administrator, Identities
from idnode.administering.proof import PUBLIC_KEY, BadProof, read_public_key
from idnode.administering.refusal import Refusal
from idnode.handle.codes import ResponseCode
from idnode.record import Reference
from idnode.web.handle_api.credentials import BadCredentials, Handle, Secret, read_authorization, read_identity, read_proof
from idnode.web.handle_api.sessions import Session, Sessions
from idnode.web.node import Node
from idnode.web.problems import Problem

CERTIFICATE = "idnode.certificate"
"""In the scope of a request over TLS: the client's certificate, DER, where it showed one that was asked for and found good."""


class Failed(Exception):
    """Whoever asks isn't who they say; the message is for them."""


class Known(NamedTuple):
    """What an Authorization header came to."""

    who: Administrator | None
    """None: nobody has said who asks."""
    session: Session | None = None
    """The one that was named."""


class Authentication:
    """One node's."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.identities = Identities(node.store, node.now_ms)
        self.sessions = Sessions(node.store, node.admin, node.now_ms)

    def challenge(self) -> list[tuple[bytes, bytes]]:
        """How whoever didn't say who they are is told to (RFC 9110, 11.6.1): with the challenge of a new session."""
        session = self.sessions.begin()
        nonce = base64.b64encode(session.nonce).decode()
        return [
            (b"www-authenticate", f'Handle sessionId="{session.id}", nonce="{nonce}"'.encode()),
            (b"www-authenticate", b'Basic realm="handle"'),
            (b"www-authenticate", b"Bearer"),
        ]

    async def known(self, authorization: str | None, certificate: bytes | None) -> Known:
        """Who asks. An answered challenge is remembered with its session.

        Raises:
            Failed
            Refusal: SERVER_TOO_BUSY.
        """
        if authorization is None:
            return Known(None)
        try:
            read = read_authorization(authorization)
            if isinstance(read, Secret):
                return Known(await self._by_secret(read))
            if isinstance(read, Handle):
                return await self._by_handle(read, certificate)
            caller = await self._node.caller(authorization)
        except BadCredentials as error:
            raise Failed(str(error)) from error
        except Problem as problem:
            if problem.status is not HTTPStatus.UNAUTHORIZED:
                raise
            raise Failed(problem.detail) from problem
        return Known(None if caller.kind is Kind.ANYBODY else Administrator(caller))

    async def _by_secret(self, given: Secret) -> Administrator:
        found = await self.identities.find(given.identity.handle, given.identity.index)
        if found is None or not found.has_secret(given.secret):
            raise Failed("identity not verified")
        return found.who

    async def _by_handle(self, given: Handle, certificate: bytes | None) -> Known:
        if given.session is None:
            if given.is_answer:
                raise Failed("an answer to a challenge names its sessionId")
            return Known(await self._by_certificate(certificate) if given.by_certificate else None)
        session = self.sessions.find(given.session)
        if session is None:
            raise Failed("there is no such session, or it is over")
        if given.is_answer:
            return Known(await self._by_answer(given, session), session)
        if given.by_certificate:
            return Known(await self._by_certificate(certificate), session)
        named = await self.sessions.identity(session)
        if named is None:
            return Known(None, session)
        found = await self.identities.find(named.handle, named.index)
        if found is None:
            raise Failed("the identity of this session is no more")
        return Known(found.who, session)

    async def _by_answer(self, given: Handle, session: Session) -> Administrator:
        if not self.sessions.may_answer(session):
            raise Failed("the challenge is too old: begin another session")
        proof = read_proof(given.fields)
        try:
            who = await self.identities.prove(proof.identity, proof.kind, session.nonce, proof.cnonce, proof.signed)
        except Refusal as refusal:
            if refusal.code is ResponseCode.SERVER_TOO_BUSY:
                raise
            raise Failed(str(refusal) or "identity not verified") from refusal
        if await self.sessions.identity(session) != proof.identity:
            await self.sessions.keep(session, proof.identity)
        return who

    async def _by_certificate(self, certificate: bytes | None) -> Administrator:
        if certificate is None:
            raise Failed("the connection has no client certificate")
        made = x509.load_der_x509_certificate(certificate)
        named = _named(made)
        found = await self.identities.find(named.handle, named.index)
        if found is None or found.kind != PUBLIC_KEY or not _is_key(found.key, made):
            raise Failed("identity not verified")
        return found.who


def _named(certificate: x509.Certificate) -> Reference:
    """The identity in a certificate's subject: its UID, else its common name."""
    for kind in (NameOID.USER_ID, NameOID.COMMON_NAME):
        for each in certificate.subject.get_attributes_for_oid(kind):
            try:
                return read_identity(str(each.value))
            except BadCredentials:
                continue
    raise Failed("the subject of the certificate names no identity such as 300:0.NA/88.100.1 (UID or CN)")


def _is_key(data: bytes, certificate: x509.Certificate) -> bool:
    """Whether a certificate is for the public key that a value of type HS_PUBKEY has."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        return False
    try:
        return read_public_key(data).public_numbers() == key.public_numbers()
    except BadProof:
        return False
