"""Who administers as a Handle client does, how they prove it, and what they may; by the core, without a protocol."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from idnode.access import Caller, Kind
from idnode.administering.administration import DELETED, Administration, Existing, minted
from idnode.administering.identities import MOST_SLOW, Administrator, Identities
from idnode.administering.permissions import Admin, needed
from idnode.administering.proof import MOST_ITERATIONS, BadProof, derived_code, has_secret, has_signed, read_public_key
from idnode.administering.refusal import Refusal
from idnode.administering.values import MOST_DATA_BYTES, from_wire
from idnode.enterprise import Name, Role
from idnode.handle.codes import ResponseCode as Code
from idnode.handle.values import ABSOLUTE, WireValue, data_bytes, data_of
from idnode.identifier import parse_identifier
from idnode.record import Change, Data, Format, HandleValue, Reference, State, TemplateUse, text_value
from idnode.store.sqlite import open_store
from idnode.template import Item, Template
from idnode.template import Kind as ItemKind

from .handle_people import OWNER, coded, dsa_data, dsa_key, hired, pem_of, public_data, rsa_key, signed
from .town import DAY_MS, START_MS, Town, founded, secret_of
from .wire_client import counted, number

NONCE, DIGEST = bytes(range(16)), bytes(range(32))
P1 = parse_identifier("88.100.1/P1")
URL, DESC = text_value(1, "URL", "http://h/1"), text_value(2, "DESC", "pump")
ALL = Admin(0xFFF)
ADMIN_TOKEN = Administrator(Caller(Kind.ADMIN, "admin", role=Role.ADMIN))


class Office:
    """A node's administration, and those who come to it."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.store = town.node.store
        self.core = Administration(self.store, town.node.now_ms)
        self.identities = Identities(self.store, town.node.now_ms)

    async def hire(self, role: str = "registrar", **order: Any) -> Administrator:
        """Somebody with a secret key, proven."""
        made = await hired(self.town, role, **order)
        return await self.proven(made["index"], made["secret"].encode())

    async def proven(self, index: int, secret: bytes, handle: str = "0.NA/88.100.1") -> Administrator:
        return await self.identities.prove(
            Reference(handle, index), "HS_SECKEY", NONCE, DIGEST, coded(secret, NONCE + DIGEST, 0x13)
        )

    async def values(self, suffix: str = "P1") -> list[tuple[int, str]]:
        record = await self.store.record(parse_identifier(f"88.100.1/{suffix}"))
        assert record is not None
        return [(value.index, value.type) for value in record.values]


@pytest.fixture(params=["memory", "sqlite"])
async def office(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        store = open_store(tmp_path / "idnode.db") if request.param == "sqlite" else None
        town = await stack.enter_async_context(founded(store))
        if store is not None:
            stack.push_async_callback(store.close)
        yield Office(town)


async def refused(doing: Any) -> Code:
    with pytest.raises(Refusal) as caught:
        await doing
    return caught.value.code


def admin(index: int, handle: str, at: int, permissions: Admin = ALL) -> HandleValue:
    told = {"handle": handle, "index": at, "permissions": f"{int(permissions):012b}"}
    return HandleValue(index, "HS_ADMIN", Data(Format.ADMIN, told))


def group(index: int, *members: tuple[str, int]) -> HandleValue:
    return HandleValue(index, "HS_VLIST", Data(Format.VLIST, [{"handle": handle, "index": at} for handle, at in members]))


@pytest.mark.parametrize("code", [0x02, 0x12, 0x13, 0x22])
def test_a_secret_key_proves_itself_in_four_ways(code: int) -> None:
    right = coded(b"secret", NONCE + DIGEST, code)
    assert has_secret(b"secret", NONCE, DIGEST, right)
    assert not has_secret(b"other", NONCE, DIGEST, right)
    assert not has_secret(b"secret", NONCE[::-1], DIGEST, right)
    assert not has_secret(b"secret", NONCE, DIGEST[:-1] + b"x", right)


def test_what_clients_derive_is_what_we_derive() -> None:
    assert derived_code(b"secret", NONCE + DIGEST, b"salt", 10) == coded(b"secret", NONCE + DIGEST)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\x99" + b"x" * 20,
        b"\x22",
        coded(b"s", b"m")[:-1],
        coded(b"s", b"m") + b"x",
        coded(b"s", b"m", bits=8 * 65),
        coded(b"s", b"m", bits=16)[:9] + number(0) + coded(b"s", b"m", bits=16)[13:],
        b"\x22" + counted(b"salt") + number(MOST_ITERATIONS + 1) + number(160) + counted(b"x" * 20),
        b"\x22" + counted(b"salt") + number(10) + number(7) + counted(b"x" * 20),
        b"\x22" + counted(b"s" * 257) + number(10) + number(160) + counted(b"x" * 20),
        b"\x22\xff\xff\xff\xff",
    ],
)
def test_a_proof_that_is_none_is_refused_before_anything_is_derived(wrong: bytes) -> None:
    with pytest.raises(BadProof):
        has_secret(b"secret", NONCE, DIGEST, wrong)


@pytest.mark.parametrize("name", [b"SHA-256", b"SHA1"])
@pytest.mark.parametrize(("make", "data"), [(rsa_key, public_data), (dsa_key, dsa_data)])
def test_a_public_key_proves_itself_with_two_hashes(make: Callable[[], Any], data: Callable[[Any], bytes], name: bytes) -> None:
    key = read_public_key(data(make()))
    right = signed(make(), NONCE + DIGEST, name)
    assert has_signed(key, NONCE, DIGEST, right)
    assert not has_signed(key, NONCE, DIGEST[::-1], right)
    assert not has_signed(key, NONCE, DIGEST, right[:-1] + bytes([right[-1] ^ 1]))
    assert not has_signed(key, NONCE, DIGEST, counted(name) + counted(b""))
    for wrong in (b"", right[:-1], right + b"x", counted(b"MD5") + counted(b"x")):
        with pytest.raises(BadProof):
            has_signed(key, NONCE, DIGEST, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        counted(b"DH_PUB_KEY") + b"\0\0" + counted(b"\3") * 4,
        counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\3") + counted(b"\x7f" * 100),
        counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\1" * 9) + counted(b"\x7f" * 256),
        counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\3") + counted(b"\x7f" * 1100),
        counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\3") + counted(b"\x7f" * 2049),
        counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\2") + counted(b"\x7f" * 256),
        counted(b"DSA_PUB_KEY") + b"\0\0" + counted(b"\3") * 4,
        counted(b"DSA_PUB_KEY") + b"\0\0" + counted(b"\x7f" * 32) + counted(b"\x7f" * 128) * 3,
    ],
)
def test_a_key_that_is_none_is_refused(wrong: bytes) -> None:
    with pytest.raises(BadProof):
        read_public_key(wrong)
    assert read_public_key(public_data(rsa_key()))
    with pytest.raises(BadProof):
        read_public_key(public_data(rsa_key()) + b"x")


@pytest.mark.parametrize(
    ("kind", "data", "form"),
    [
        ("URL", "http://泵".encode(), Format.STRING),
        ("URL", b"\xff\x00", Format.BASE64),
        ("URL", b"a\0b", Format.BASE64),
        ("DESC", b"", Format.STRING),
        ("HS_ADMIN", b"\x07\xf3" + counted(b"0.NA/88.100.1") + number(300), Format.ADMIN),
        ("HS_ADMIN", b"\0\0\x07\xf3" + counted(b"0.NA/88.100.1") + number(300), Format.BASE64),
        ("HS_ADMIN", b"\xff\xff" + counted(b"h") + number(300), Format.BASE64),
        ("HS_VLIST", number(1) + counted(b"88.1/a") + number(300), Format.VLIST),
        ("HS_VLIST", number(2) + counted(b"88.1/a") + number(300), Format.BASE64),
        ("HS_PUBKEY", b"plain", Format.STRING),
    ],
)
def test_data_from_the_wire_is_kept_so_that_the_same_bytes_come_back(kind: str, data: bytes, form: Format) -> None:
    made = data_of(kind, data)
    assert made.format is form
    assert data_bytes(made) == data


def test_keys_from_the_wire_are_kept_as_keys() -> None:
    for data in (public_data(rsa_key()), dsa_data(dsa_key())):
        made = data_of("HS_PUBKEY", data)
        assert made.format is Format.KEY
        assert data_bytes(made) == data


async def test_an_owner_makes_keys_and_the_prefixs_handle_tells_of_them(office: Office) -> None:
    public = await hired(office.town, "owner", public_key=pem_of(rsa_key()))
    secret = await hired(office.town, "reader")
    assert (public["identity"], public["kind"], public.get("secret")) == ("300:0.NA/88.100.1", "HS_PUBKEY", None)
    assert (secret["identity"], secret["kind"], len(secret["secret"])) == ("301:0.NA/88.100.1", "HS_SECKEY", 43)
    told = (await office.town.ask("GET", "/api/handles/0.NA/88.100.1", "")).json()["values"]
    assert [(value["index"], value["type"]) for value in told] == [
        (100, "HS_ADMIN"), (101, "HS_ADMIN"), (200, "HS_VLIST"), (201, "HS_VLIST"), (300, "HS_PUBKEY"),
    ]  # fmt: skip
    assert told[0]["data"]["value"] == {"handle": "0.NA/88.100.1", "index": 200, "permissions": "111111110011"}
    assert told[3]["data"]["value"] == [{"handle": "0.NA/88.100.1", "index": 301}]
    assert told[4]["data"]["value"]["kty"] == "RSA"
    listed = (await office.town.ask("GET", "/v1/enterprises/pumpworks/handle-keys", OWNER)).json()
    assert [each["identity"] for each in listed] == ["300:0.NA/88.100.1", "301:0.NA/88.100.1"]
    assert all("secret" not in each for each in listed)


async def test_a_revoked_an_expired_and_a_foreign_key_prove_nothing(office: Office) -> None:
    made = await hired(office.town, expires="2026-12-31T00:00:00Z")
    secret = made["secret"].encode()
    assert (await office.proven(300, secret)).caller.author == "300:0.NA/88.100.1"
    office.town.clock[0] += 400 * DAY_MS
    assert await refused(office.proven(300, secret)) is Code.AUTHENTICATION_FAILED
    office.town.clock[0] = START_MS
    assert await refused(office.proven(300, b"wrong")) is Code.AUTHENTICATION_FAILED
    assert await refused(office.proven(301, secret)) is Code.AUTHENTICATION_FAILED
    assert await refused(office.proven(2**32 - 1, secret)) is Code.AUTHENTICATION_FAILED
    assert await refused(office.proven(300, secret, "no handle")) is Code.AUTHENTICATION_FAILED
    path = "/v1/enterprises/pumpworks/handle-keys/88.100.1/300"
    assert (await office.town.ask("DELETE", path, OWNER)).status_code == 204
    assert (await office.town.ask("DELETE", path, OWNER)).status_code == 404
    assert await refused(office.proven(300, secret)) is Code.AUTHENTICATION_FAILED
    assert [entry.content for entry in await office.store.entries("handle-secret")] == []
    assert (await hired(office.town))["index"] == 301, "an index doesn't come back by itself"
    again = await hired(office.town, index=300)
    assert (await office.proven(300, again["secret"].encode())).caller.role is Role.REGISTRAR


async def test_a_transferred_prefix_leaves_its_keys_behind(office: Office) -> None:
    who = await hired(office.town)
    assert (await office.town.ask("POST", "/v1/prefixes/88.100.1/transfer", content={"to": "forge"})).status_code == 200
    assert await refused(office.proven(300, who["secret"].encode())) is Code.AUTHENTICATION_FAILED
    assert (await office.town.ask("GET", "/api/handles/0.NA/88.100.1", "")).status_code == 404
    new = await hired(office.town, who=secret_of(Role.OWNER, "forge"), enterprise="forge", prefix="88.100.1", index=300)
    assert (await office.proven(300, new["secret"].encode())).caller.enterprise == "forge"


async def test_keys_are_made_for_own_prefixes_and_roles_only(office: Office) -> None:
    for order, status in (
        ({"prefix": "88.100.2"}, 422),
        ({"role": "admin"}, 422),
        ({"public_key": "none"}, 422),
        ({"index": 299}, 422),
        ({"index": 300}, 201),
        ({"index": 300}, 409),
    ):
        content = {"label": "x", "role": "owner", **order}
        answer = await office.town.ask("POST", "/v1/enterprises/pumpworks/handle-keys", OWNER, content)
        assert answer.status_code == status, order


async def test_create_add_modify_remove_delete(office: Office) -> None:
    who, core = await office.hire(), office.core
    await core.create(who, P1, [URL])
    assert await refused(core.create(who, P1, [URL])) is Code.HANDLE_ALREADY_EXISTS
    await core.put_values(who, P1, [DESC], Existing.REFUSE)
    assert await refused(core.put_values(who, P1, [DESC], Existing.REFUSE)) is Code.VALUE_ALREADY_EXISTS
    assert await refused(core.put_values(who, P1, [text_value(9, "X", "")], Existing.REQUIRE)) is Code.VALUES_NOT_FOUND
    await core.put_values(who, P1, [text_value(2, "DESC", "other")], Existing.REQUIRE)
    await core.put_values(who, P1, [text_value(2, "DESC", "third"), text_value(3, "X", "")], Existing.REPLACE)
    assert await refused(core.remove_values(who, P1, [3, 4])) is Code.VALUES_NOT_FOUND
    await core.remove_values(who, P1, [3])
    assert await office.values() == [(1, "URL"), (2, "DESC")]
    await core.create(who, P1, [text_value(7, "Y", "")], overwrite=True)
    assert await office.values() == [(7, "Y")]
    versions = await office.store.versions(P1)
    assert {record.author for record in versions} == {"300:0.NA/88.100.1"}
    assert len(versions) == 6
    await core.delete(who, P1)
    for doing in (core.delete(who, P1), core.remove_values(who, P1, [7]), core.put_values(who, P1, [URL], Existing.REPLACE)):
        assert await refused(doing) is Code.HANDLE_NOT_FOUND
    for overwrite in (False, True):
        assert await refused(core.create(who, P1, [URL], overwrite=overwrite)) is Code.HANDLE_ALREADY_EXISTS
    now = await office.store.record(P1)
    assert now is not None
    assert (now.state, now.reason, now.values) == (State.RETIRED, DELETED, ())
    assert (await office.town.ask("GET", "/api/handles/88.100.1/P1", "")).json()["responseCode"] == 100
    assert (await office.town.ask("GET", "/api/handles/88.100.1/P1", OWNER)).json()["responseCode"] == 100
    assert (await office.town.ask("GET", "/v1/identifiers/88.100.1/P1", "")).status_code == 410


async def test_what_was_retired_stays_to_be_seen(office: Office) -> None:
    who = await office.hire()
    await office.core.create(who, P1, [URL])
    await office.store.change(P1, Change(state=State.RETIRED, reason="scrapped"), "admin", START_MS)
    assert await refused(office.core.delete(who, P1)) is Code.INSUFFICIENT_PERMISSIONS
    assert await refused(office.core.put_values(who, P1, [DESC], Existing.REFUSE)) is Code.INSUFFICIENT_PERMISSIONS
    assert (await office.town.ask("GET", "/api/handles/88.100.1/P1", "")).json()["responseCode"] == 200


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([text_value(0, "X", "")], Code.INVALID_VALUE),
        ([text_value(2**31, "X", "")], Code.INVALID_VALUE),
        ([text_value(1, "", "")], Code.INVALID_VALUE),
        ([text_value(1, "x" * 129, "")], Code.INVALID_VALUE),
        ([text_value(1, "a b", "")], Code.INVALID_VALUE),
        ([text_value(1, "X", "x" * (MOST_DATA_BYTES + 1))], Code.INVALID_VALUE),
        ([HandleValue(1, "X", Data(Format.STRING, ""), ttl_s=2**31)], Code.INVALID_VALUE),
        ([HandleValue(1, "X", Data(Format.STRING, ""), references=(Reference("h", 1),) * 101)], Code.INVALID_VALUE),
        ([text_value(at, "X", "") for at in range(1, 2050)], Code.INVALID_VALUE),
        ([URL, text_value(1, "X", "")], Code.VALUE_ALREADY_EXISTS),
    ],
)
async def test_values_that_cannot_be_kept_are_refused(office: Office, values: Sequence[HandleValue], code: Code) -> None:
    who = await office.hire()
    assert await refused(office.core.create(who, P1, values)) is code
    assert await office.store.record(P1) is None


def test_a_ttl_that_is_a_moment_is_refused() -> None:
    with pytest.raises(Refusal):
        from_wire(WireValue(1, "X", b"", ttl_kind=ABSOLUTE))


async def test_no_more_than_2048_values_come_together(office: Office) -> None:
    who = await office.hire()
    await office.core.create(who, P1, [text_value(at, "X", "") for at in range(1, 2049)])
    assert await refused(office.core.put_values(who, P1, [text_value(2049, "X", "")], Existing.REFUSE)) is Code.INVALID_VALUE


async def test_only_the_house_administers_and_only_while_it_may(office: Office) -> None:
    who, core = await office.hire(), office.core
    await core.create(who, P1, [URL])
    other = parse_identifier("88.100.2/F")
    await core.create(ADMIN_TOKEN, other, [URL])
    for doing in (core.create(who, other, [URL]), core.delete(who, other), core.remove_values(who, other, [1])):
        assert await refused(doing) is Code.INSUFFICIENT_PERMISSIONS
    nowhere = parse_identifier("88.999/X")
    assert await refused(core.create(who, nowhere, [])) is Code.NOT_RESPONSIBLE
    assert await refused(core.delete(who, nowhere)) is Code.NOT_RESPONSIBLE
    assert await refused(core.create(who, parse_identifier("0.NA/88.100.7"), [])) is Code.OPERATION_NOT_SUPPORTED
    reader = await office.hire("reader")
    assert await refused(core.create(reader, parse_identifier("88.100.1/P2"), [])) is Code.INSUFFICIENT_PERMISSIONS
    assert await refused(core.delete(reader, P1)) is Code.INSUFFICIENT_PERMISSIONS
    assert await refused(core.put_values(reader, P1, [DESC], Existing.REFUSE)) is Code.INSUFFICIENT_PERMISSIONS
    await office.town.ask("POST", "/v1/enterprises/pumpworks/suspend", content={"reason": "unpaid"})
    secret = (await office.store.entries("handle-secret"))[0].content
    barred = await office.proven(300, secret)
    for doing in (core.delete(barred, P1), core.create(barred, parse_identifier("88.100.1/P2"), [])):
        with pytest.raises(Refusal, match="unpaid") as caught:
            await doing
        assert caught.value.code is Code.INSUFFICIENT_PERMISSIONS
    await office.town.ask("POST", "/v1/enterprises/pumpworks/close", content={"reason": "gone"})
    assert await refused(office.proven(300, secret)) is Code.AUTHENTICATION_FAILED


async def test_the_quota_holds(office: Office) -> None:
    who = await office.hire()
    await office.town.ask("PATCH", "/v1/enterprises/pumpworks", content={"quota": 1})
    await office.core.create(who, P1, [URL])
    assert await refused(office.core.create(who, parse_identifier("88.100.1/P2"), [])) is Code.INSUFFICIENT_PERMISSIONS
    assert await refused(office.core.create(who, P1, [])) is Code.HANDLE_ALREADY_EXISTS


async def test_the_template_holds(office: Office) -> None:
    who, store = await office.hire(), office.store
    item = Item(2000, "FLOW", Name("流", "Flow"), ItemKind.DECIMAL, required=True)
    await store.put_template(Template("88.100.1", "pump", 1, Name("泵", "Pump"), (item,)), "admin", START_MS)
    await store.publish_template("88.100.1", "pump", 1, "admin", START_MS)
    await office.core.create(who, P1, [text_value(2000, "FLOW", "1.5")])
    await store.change(P1, Change(template=TemplateUse("pump", 1)), "admin", START_MS)
    put = functools.partial(office.core.put_values, who, P1, existing=Existing.REQUIRE)
    assert await refused(put([text_value(2000, "FLOW", "much")])) is Code.INVALID_VALUE
    assert await refused(office.core.remove_values(who, P1, [2000])) is Code.INVALID_VALUE
    assert await refused(office.core.create(who, P1, [URL], overwrite=True)) is Code.INVALID_VALUE
    await put([text_value(2000, "FLOW", "2.5")])


async def test_a_value_that_nobody_may_write_stays(office: Office) -> None:
    who = await office.hire()
    await office.core.create(who, P1, [URL, HandleValue(5, "SEAL", Data(Format.STRING, "x"), permissions=0b1010)])
    other = [text_value(5, "SEAL", "y")]
    assert await refused(office.core.put_values(who, P1, other, Existing.REQUIRE)) is Code.INSUFFICIENT_PERMISSIONS
    assert await refused(office.core.remove_values(who, P1, [1, 5])) is Code.INSUFFICIENT_PERMISSIONS
    await office.core.remove_values(who, P1, [1])


async def test_an_identity_in_a_handle_may_what_handles_say(office: Office) -> None:
    core, lin = office.core, ("88.100.1/LIN", 300)
    await core.create(ADMIN_TOKEN, parse_identifier(lin[0]), [HandleValue(300, "HS_SECKEY", Data(Format.STRING, "lin's"))])
    await core.create(ADMIN_TOKEN, P1, [URL, admin(100, *lin, Admin.ADD_VALUE | Admin.REMOVE_VALUE)])
    who = await office.proven(300, b"lin's", lin[0])
    assert (who.caller.author, who.caller.role) == ("300:88.100.1/LIN", None)
    await core.put_values(who, P1, [DESC], Existing.REFUSE)
    await core.remove_values(who, P1, [2])
    lacking = Code.INSUFFICIENT_PERMISSIONS
    assert await refused(core.put_values(who, P1, [text_value(1, "URL", "x")], Existing.REQUIRE)) is lacking
    assert await refused(core.put_values(who, P1, [admin(101, *lin)], Existing.REFUSE)) is lacking
    assert await refused(core.remove_values(who, P1, [100])) is lacking
    assert await refused(core.delete(who, P1)) is lacking
    assert await refused(core.create(who, P1, [URL], overwrite=True)) is lacking
    assert await refused(core.create(who, parse_identifier("88.100.1/P2"), [])) is lacking
    assert await refused(core.list_handles(who, "88.100.1", "", 10)) is lacking
    assert (await core.reader_of(who, P1)).kind is Kind.ANYBODY
    await office.store.change(parse_identifier(lin[0]), Change(state=State.SUSPENDED), "admin", START_MS)
    assert await refused(office.proven(300, b"lin's", lin[0])) is Code.AUTHENTICATION_FAILED


async def test_a_group_gives_through_groups_and_cycles_end(office: Office) -> None:
    core, lin = office.core, ("88.100.1/LIN", 300)
    key = HandleValue(300, "HS_SECKEY", Data(Format.STRING, "lin's"))
    await core.create(ADMIN_TOKEN, parse_identifier(lin[0]), [key])
    inner = group(200, ("88.100.1/G", 200), ("88.100.1/none", 1), ("no handle", 1), lin)
    await core.create(ADMIN_TOKEN, parse_identifier("88.100.1/H"), [inner])
    await core.create(ADMIN_TOKEN, parse_identifier("88.100.1/G"), [group(200, ("88.100.1/H", 200))])
    await core.create(ADMIN_TOKEN, P1, [admin(100, "88.100.1/G", 200, Admin.ADD_VALUE), admin(101, "88.100.1/X", 1)])
    who = await office.proven(300, b"lin's", lin[0])
    await core.put_values(who, P1, [URL], Existing.REFUSE)
    await core.put_values(ADMIN_TOKEN, parse_identifier("88.100.1/H"), [group(200, ("88.100.1/G", 200))], Existing.REQUIRE)
    assert await refused(core.put_values(who, P1, [DESC], Existing.REFUSE)) is Code.INSUFFICIENT_PERMISSIONS


async def test_groups_beyond_the_depth_give_nothing(office: Office) -> None:
    core, lin = office.core, ("88.100.1/LIN", 300)
    await core.create(ADMIN_TOKEN, parse_identifier(lin[0]), [HandleValue(300, "HS_SECKEY", Data(Format.STRING, "lin's"))])
    for depth in range(12):
        members = [lin] if depth == 11 else [(f"88.100.1/G{depth + 1}", 1)]
        await core.create(ADMIN_TOKEN, parse_identifier(f"88.100.1/G{depth}"), [group(1, *members)])
    await core.create(ADMIN_TOKEN, P1, [admin(1, "88.100.1/G0", 1)])
    await core.create(ADMIN_TOKEN, parse_identifier("88.100.1/P2"), [admin(1, "88.100.1/G4", 1)])
    who = await office.proven(300, b"lin's", lin[0])
    assert await refused(core.delete(who, P1)) is Code.INSUFFICIENT_PERMISSIONS
    await core.delete(who, parse_identifier("88.100.1/P2"))


async def test_another_houses_identity_gets_nothing_whatever_a_handle_says(office: Office) -> None:
    lin = ("88.100.2/LIN", 300)
    await office.core.create(ADMIN_TOKEN, parse_identifier(lin[0]), [HandleValue(300, "HS_SECKEY", Data(Format.STRING, "lin's"))])
    await office.core.create(ADMIN_TOKEN, P1, [URL, admin(100, *lin)])
    who = await office.proven(300, b"lin's", lin[0])
    assert await refused(office.core.delete(who, P1)) is Code.INSUFFICIENT_PERMISSIONS
    assert (await office.core.reader_of(who, P1)).kind is Kind.ANYBODY


async def test_a_secret_key_is_told_to_nobody(office: Office) -> None:
    key = HandleValue(300, "HS_SECKEY", Data(Format.STRING, "lin's"), permissions=0b1111)
    await office.core.create(ADMIN_TOKEN, P1, [URL, key])
    for who in ("", OWNER, "a" * 40):
        told = (await office.town.ask("GET", "/api/handles/88.100.1/P1", who)).json()
        assert [value["index"] for value in told["values"]] == [1]
        assert "lin's" not in (await office.town.ask("GET", "/v1/identifiers/88.100.1/P1", who)).text


async def test_handles_are_listed_page_by_page_without_deleted_ones(office: Office) -> None:
    who, core = await office.hire(), office.core
    for name in "ABCDE":
        await core.create(who, parse_identifier(f"88.100.1/{name}"), [URL])
    await core.delete(who, parse_identifier("88.100.1/B"))
    found, after = await core.list_handles(who, "88.100.1", "", 3)
    assert (found, after) == (["88.100.1/A", "88.100.1/C"], "88.100.1/C")
    assert await core.list_handles(who, "88.100.1", after or "", 3) == (["88.100.1/D", "88.100.1/E"], None)
    assert await refused(core.list_handles(who, "88.999", "", 3)) is Code.NOT_RESPONSIBLE
    assert await refused(core.list_handles(who, "88.100.2", "", 3)) is Code.INSUFFICIENT_PERMISSIONS


async def test_many_slow_proofs_at_once_are_told_to_come_again(office: Office) -> None:
    made = await hired(office.town)
    answer = coded(made["secret"].encode(), NONCE + DIGEST)
    office.identities._slow = MOST_SLOW
    asked = (Reference("0.NA/88.100.1", 300), "HS_SECKEY", NONCE, DIGEST, answer)
    assert await refused(office.identities.prove(*asked)) is Code.SERVER_TOO_BUSY
    office.identities._slow = 0
    assert (await office.identities.prove(*asked)).identity == Reference("0.NA/88.100.1", 300)
    assert office.identities._slow == 0
    assert await refused(office.identities.prove(asked[0], "HS_PUBKEY", *asked[2:])) is Code.AUTHENTICATION_FAILED
    assert await refused(office.identities.prove(asked[0], "HS_CERT", *asked[2:])) is Code.AUTHENTICATION_ERROR
    assert await refused(office.identities.prove(*asked[:4], b"")) is Code.AUTHENTICATION_ERROR


def test_what_a_change_needs() -> None:
    who = admin(100, "88.1/x", 1)
    assert needed([URL], [URL]) == 0
    assert needed([], [URL]) is Admin.ADD_VALUE
    assert needed([URL], []) is Admin.REMOVE_VALUE
    assert needed([URL], [text_value(1, "URL", "x")]) is Admin.MODIFY_VALUE
    assert needed([], [who]) is Admin.ADD_ADMIN
    assert needed([who], []) is Admin.REMOVE_ADMIN
    assert needed([who], [admin(100, "88.1/y", 1)]) is Admin.MODIFY_ADMIN
    assert needed([who], [text_value(100, "URL", "x")]) == Admin.MODIFY_ADMIN | Admin.MODIFY_VALUE


def test_minted_names_differ() -> None:
    assert minted("88.100.1/A-") != minted("88.100.1/A-")
    assert parse_identifier(minted("88.100.1/")).prefix == "88.100.1"
