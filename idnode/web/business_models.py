"""Bodies of requests and answers about enterprises, prefixes, keys and subscriptions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from config.settings import Name
from epcis.timestamps import to_epoch_ms
from idnode.affairs import Mode, Topic
from idnode.enterprise import Contact, Role
from idnode.identifier import PREFIX_PATTERN
from idnode.web.models import Body, NameBody, ShortText

LARGEST = 2**53 - 1


def _moment(text: str) -> str:
    to_epoch_ms(text)
    return text


Moment = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
Reason = Annotated[str, StringConstraints(max_length=1000, strip_whitespace=True)]
Address = Annotated[str, StringConstraints(min_length=8, max_length=1000, pattern=r"^https?://[!-~]+$")]
Delegated = Annotated[str, StringConstraints(min_length=8, max_length=1000, pattern=r"^(https?|handle)://[!-~]+$")]
Place = Annotated[str, StringConstraints(min_length=3, max_length=60, pattern=r"^[0-9A-Fa-f.:\[\]]+$")]
OwnerKey = Annotated[
    str,
    StringConstraints(
        max_length=200,
        pattern=f"^({PREFIX_PATTERN}|gs1:[0-9]{{4,12}}|oid:[0-2](\\.[0-9]{{1,30}})+|vaa:[A-Z0-9-]+|ecode:[0-9A-Za-z]+)$",
    ),
]


class ContactBody(Body):
    """Whom to ask."""

    name: ShortText
    email: Annotated[str, StringConstraints(max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$")]
    phone: Annotated[str, StringConstraints(max_length=50)] = ""

    def as_contact(self) -> Contact:
        """In the domain's form."""
        return Contact(self.name, self.email, self.phone)


Contacts = Annotated[list[ContactBody], Field(max_length=10)]


class EnterpriseOrder(Body):
    """A new enterprise."""

    id: Name
    name: NameBody
    public: bool = True
    """Whether anyone may read what it registers."""


class EnterprisePatch(Body):
    """What is to be otherwise; what isn't named stays. Quota and expiry are the administrator's."""

    name: NameBody | None = None
    public: bool | None = None
    contacts: Contacts | None = None
    quota: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    """The most identifiers; null: as many as it likes."""
    expires: Moment | None = None
    """From when on it registers no more; null: never."""


class ReasonBody(Body):
    """Why."""

    reason: Reason = ""


class RefusalOrder(Body):
    """Why an application is refused."""

    reason: Annotated[Reason, StringConstraints(min_length=1)]


class EnterpriseAnswer(BaseModel):
    """An enterprise. Contacts, quota, expiry and count are for its house and the node's own."""

    id: str
    name: NameBody
    prefix: str
    """The first of its prefixes."""
    public: bool
    standing: Literal["active", "suspended", "closed"]
    notice: str
    contacts: list[ContactBody] | None = None
    quota: int | None = None
    expires: str | None = None
    registered: int | None = None


class ApplicationOrder(Body):
    """A request to become an enterprise of the node."""

    id: Name
    name: NameBody
    contacts: Annotated[list[ContactBody], Field(min_length=1, max_length=10)]
    public: bool = True


class ApplicationAnswer(BaseModel):
    """An application and what was decided."""

    application: str
    """Whoever knows it may ask for it."""
    id: str
    name: NameBody
    contacts: list[ContactBody]
    public: bool
    decision: Literal["pending", "approved", "refused"]
    reason: str
    since: str


class ApprovalOrder(Body):
    """The terms on which an application is approved."""

    quota: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    expires: Moment | None = None
    reason: Reason = ""


class ApprovalAnswer(BaseModel):
    """The new enterprise, and the token of its owner, shown this once."""

    enterprise: EnterpriseAnswer
    token: str | None = None


class PrefixOrder(Body):
    """A further prefix."""

    prefix: OwnerKey | None = None
    """Such as gs1:9506000 or oid:1.2.156.3088; without it the next one below the node's own."""
    reason: Reason = ""


class TransferOrder(Body):
    """To whom a prefix goes."""

    to: Name
    reason: Reason = ""


class OwnerAnswer(BaseModel):
    """Who owned a prefix from when on, and who saw to it."""

    enterprise: str
    since: str
    author: str
    reason: str


class PrefixAnswer(BaseModel):
    """A prefix, how many identifiers are registered under it, and whose it was."""

    prefix: str
    enterprise: str
    registered: int
    owners: list[OwnerAnswer]
    """The last fifty, the first first."""


class DelegationBody(Body):
    """Where the identifiers of a prefix live."""

    mode: Annotated[Mode, Field(strict=False)]
    """referral: whoever asks is sent there; proxy: the node asks there."""
    address: Delegated
    """What stands before `/api/handles/` there; or `handle://192.0.2.7:2641` where it speaks the Handle wire protocol only."""
    ttl: int = Field(3600, ge=0, le=172_800)
    """Seconds for which a fetched answer may be kept."""
    site: Place | None = None
    """IP address and port at which it speaks the Handle wire protocol, where the address doesn't say."""


class KeyOrder(Body):
    """A new key."""

    label: Name
    role: Annotated[Role, Field(strict=False)]
    """Of an enterprise: owner, gateway, registrar, reader. Of the node: admin, reviewer, auditor."""
    expires: Moment | None = None


class HandleKeyOrder(Body):
    """A new key of a Handle client."""

    label: Name
    role: Annotated[Role, Field(strict=False)]
    """owner, gateway or registrar: all that HS_ADMIN knows but prefixes; reader: reads and lists."""
    prefix: OwnerKey | None = None
    """A prefix of handles that the enterprise owns; without it its first."""
    index: Annotated[int, Field(ge=300, le=2**31 - 1)] | None = None
    """In the handle of the prefix; without it the next from 300 on."""
    public_key: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = None
    """RSA (2048 to 4096 bits) or DSA, in PEM; without it the node makes a secret key."""
    expires: Moment | None = None


class HandleKeyAnswer(BaseModel):
    """A key of a Handle client."""

    identity: str
    """How its bearer is named: 300:0.NA/88.100.1."""
    prefix: str
    index: int
    label: str
    role: Role
    kind: Literal["HS_PUBKEY", "HS_SECKEY"]
    expires: str | None
    revoked: str | None
    since: str
    author: str
    last_used: str | None
    """To the hour."""
    secret: str | None = None
    """Shown with the first answer only."""


class KeyAnswer(BaseModel):
    """A key, without its secret."""

    label: str
    role: Role
    expires: str | None
    revoked: str | None
    since: str
    author: str
    last_used: str | None
    """To the hour; of requests that aren't resolutions."""


class NewKeyAnswer(BaseModel):
    """A key, shown this once: the node keeps its digest only."""

    token: str | None = None
    label: str
    role: Role
    expires: str | None = None


class SubscriptionOrder(Body):
    """Where announcements are to go."""

    url: Address
    topics: Annotated[list[Annotated[Topic, Field(strict=False)]], Field(min_length=1, max_length=10)] = Field(
        default_factory=lambda: list(Topic)
    )


class SubscriptionAnswer(BaseModel):
    """A subscription, and how its deliveries go."""

    subscription: str
    url: str
    topics: list[str]
    delivered_to: int
    """Sequence of the last announcement that was delivered, given up or not wanted."""
    failed_attempts: int
    next_attempt: str | None
    failure: str
    undelivered: bool
    """Whether some were given up."""
    secret: str | None = None
    """Key of the signatures, shown this once."""


class UndeliveredAnswer(BaseModel):
    """An announcement that was given up."""

    sequence: int
    body: str
    attempts: int
    failure: str
    at: str


class PoolAnswer(BaseModel):
    """What has become of a lease."""

    lease: str
    prefix: str
    holder: str
    expires: str | None
    registered: list[str]
    returned: list[str]
    outstanding: list[str]


class ReturnOrder(Body):
    """Suffixes that aren't needed."""

    suffixes: Annotated[list[Annotated[str, StringConstraints(max_length=255)]], Field(max_length=10_000)] | None = None
    """Without it all that aren't registered."""


class UsageAnswer(BaseModel):
    """What an enterprise did on a day (UTC)."""

    enterprise: str
    day: str
    registrations: int
    resolutions: int


class HistoryAnswer(BaseModel):
    """One version of what the node keeps of an enterprise."""

    version: int
    since: str
    author: str
    enterprise: EnterpriseAnswer
