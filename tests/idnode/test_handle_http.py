"""The Handle HTTP JSON API: writes, lists, and every form of authentication."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from idnode.enterprise import Role
from idnode.handle.node_key import NodeKey
from idnode.settings import Exposure
from idnode.web.app import make_app
from idnode.web.handle_api.sessions import ANSWERED_WITHIN_MS, LASTS_MS

from .town import Town, founded, secret_of

OWNER = secret_of(Role.OWNER, "pumpworks")
READER = secret_of(Role.READER, "pumpworks")
STRANGER = secret_of(Role.OWNER, "forge")
HANDLE = "/api/handles/88.100.1/P"
URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://x.test/"}}
DESC = {"index": 2, "type": "DESC", "data": "泵"}
ADMIN_VALUE: dict[str, Any] = {
    "index": 100,
    "type": "HS_ADMIN",
    "data": {"format": "admin", "value": {"handle": "0.NA/88.100.1", "index": 200, "permissions": "011111110011"}},
}
KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        yield made


async def secret_key(town: Town, role: str = "owner", enterprise: str = "pumpworks") -> tuple[str, str]:
    """An identity and its secret."""
    order = {"label": role, "role": role}
    made = await town.ask("POST", f"/v1/enterprises/{enterprise}/handle-keys", content=order)
    assert made.status_code == 201, made.text
    return made.json()["identity"], made.json()["secret"]


async def public_key(town: Town) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    made = await town.ask(
        "POST", "/v1/enterprises/pumpworks/handle-keys", content={"label": "k", "role": "owner", "public_key": pem}
    )
    assert made.status_code == 201, made.text
    identity: str = made.json()["identity"]
    return identity


def basic(identity: str, secret: str) -> dict[str, str]:
    """Authorization by Basic: the colon of the identity is encoded."""
    return {"Authorization": "Basic " + base64.b64encode(f"{identity.replace(':', '%3A')}:{secret}".encode()).decode()}


async def put(town: Town, path: str, *values: Any, who: str = OWNER, **headers: str) -> tuple[int, int]:
    """(HTTP status, response code)."""
    given = headers or {"Authorization": f"Bearer {who}"}
    answer = await town.client.put(path, json={"values": list(values)}, headers=given)
    return answer.status_code, answer.json()["responseCode"]


async def indexes(town: Town) -> list[int]:
    """Of what anybody reads."""
    return [each["index"] for each in (await town.client.get(HANDLE)).json().get("values", [])]


class TestWrites:
    async def test_a_handle_is_created_read_overwritten_and_deleted(self, town: Town) -> None:
        assert await put(town, f"{HANDLE}?overwrite=false", URL, DESC) == (201, 1)
        content = (await town.client.get(HANDLE)).json()
        assert (content["handle"], [each["data"]["value"] for each in content["values"]]) == (
            "88.100.1/P",
            ["https://x.test/", "泵"],
        )
        assert await put(town, f"{HANDLE}?overwrite=false", URL) == (409, 101)
        assert await put(town, HANDLE, URL) == (200, 1)
        assert await indexes(town) == [1]
        gone = await town.ask("DELETE", HANDLE, OWNER)
        assert (gone.status_code, gone.json()) == (200, {"responseCode": 1, "handle": "88.100.1/P"})
        assert (await town.client.get(HANDLE)).json()["responseCode"] == 100
        assert (await town.ask("DELETE", HANDLE, OWNER)).json()["responseCode"] == 100
        assert await put(town, HANDLE, URL) == (409, 101)

    async def test_values_are_added_changed_and_removed_by_index(self, town: Town) -> None:
        await put(town, HANDLE, URL)
        assert await put(town, f"{HANDLE}?index=2&overwrite=false", DESC) == (200, 1)
        assert await put(town, f"{HANDLE}?index=2&overwrite=false", DESC) == (409, 201)
        more = {"index": 3, "type": "X", "data": "x"}
        assert await put(town, f"{HANDLE}?index=various&overwrite=true", {**DESC, "data": "new"}, more) == (200, 1)
        lone = await town.client.put(
            f"{HANDLE}?index=4", json={"type": "Y", "data": "y"}, headers={"Authorization": f"Bearer {OWNER}"}
        )
        assert lone.status_code == 200
        assert await indexes(town) == [1, 2, 3, 4]
        assert await put(town, f"{HANDLE}?index=3", DESC) == (400, 202)
        removed = await town.ask("DELETE", f"{HANDLE}?index=3&index=4", OWNER)
        assert (removed.status_code, await indexes(town)) == (200, [1, 2])
        again = await town.ask("DELETE", f"{HANDLE}?index=3", OWNER)
        assert (again.status_code, again.json()["responseCode"]) == (400, 200)

    async def test_a_suffix_is_minted(self, town: Town) -> None:
        headers = {"Authorization": f"Bearer {OWNER}"}
        for path in ("88.100.1", "88.100.1/", "88.100.1/pump-"):
            answer = await town.client.put(f"/api/handles/{path}?mintNewSuffix=true", json=[URL], headers=headers)
            handle = answer.json()["handle"]
            assert (answer.status_code, handle.startswith(path), len(handle) > 40) == (201, True, True)
            assert (await town.client.get(f"/api/handles/{handle}")).json()["responseCode"] == 1

    @pytest.mark.parametrize(
        ("path", "values", "expected"),
        [
            (HANDLE, [{**URL, "index": 0}], (400, 202)),
            (HANDLE, [URL, URL], (409, 201)),
            (HANDLE, [{"type": "URL", "data": "x"}], (400, 202)),
            (HANDLE, [7], (400, 202)),
            (HANDLE, [{**URL, "data": {"format": "hex", "value": "xyz"}}], (400, 202)),
            (HANDLE, [{**URL, "data": {"format": "odd", "value": "x"}}], (400, 202)),
            (HANDLE, [{**ADMIN_VALUE, "data": {"format": "admin", "value": {"handle": "x"}}}], (400, 202)),
            (HANDLE, [{**URL, "permissions": "11"}], (400, 202)),
            (HANDLE, [{**URL, "ttl": "long"}], (400, 202)),
            (HANDLE, [{**URL, "references": [{"handle": 1}]}], (400, 202)),
            (HANDLE, [{**URL, "references": [{"handle": "88.100.1/Q", "index": 2**31}]}], (400, 202)),
            (HANDLE, [{**URL, "index": 2**70}], (400, 202)),
            (HANDLE, [{**URL, "ttl": 2**70}], (400, 202)),
            (
                HANDLE,
                [{**ADMIN_VALUE, "data": {"format": "admin", "value": {**ADMIN_VALUE["data"]["value"], "index": 2**40}}}],
                (400, 202),
            ),
            (HANDLE, [{**URL, "type": "two words"}], (400, 202)),
            (HANDLE, [{**URL, "data": {"format": "string", "value": "x" * 65_537}}], (413, 2)),
            (f"{HANDLE}?index=x", [URL], (400, 202)),
            ("/api/handles/88.100.1", [URL], (400, 102)),
            ("/api/handles/88.100.1/%FF", [URL], (400, 102)),
            ("/api/handles/88.999/P", [URL], (400, 301)),
            ("/api/handles/0.NA/88.100.1", [URL], (501, 5)),
            ("/api/handles/88.100.2/P", [URL], (403, 401)),
        ],
    )
    async def test_what_cannot_be_written_has_its_code(self, town: Town, path: str, values: list[Any], expected: Any) -> None:
        assert await put(town, path, *values) == expected

    async def test_bytes_of_predefined_types_are_kept_in_the_form_of_theirs(self, town: Town) -> None:
        await put(town, HANDLE, ADMIN_VALUE, {"index": 5, "type": "RAW", "data": {"format": "hex", "value": "00ff"}})
        values = {each["index"]: each for each in (await town.client.get(HANDLE)).json()["values"]}
        assert values[100]["data"] == ADMIN_VALUE["data"]
        told = {**ADMIN_VALUE["data"]["value"], "index": "200"}  # as pyhandle writes it
        assert await put(town, HANDLE, {**ADMIN_VALUE, "index": "100", "data": {"format": "admin", "value": told}}) == (200, 1)
        assert (await town.client.get(f"{HANDLE}?index=100")).json()["values"][0]["data"] == ADMIN_VALUE["data"]
        assert values[5]["data"] == {"format": "hex", "value": "00ff"}

    async def test_a_body_that_is_no_json_is_told_so(self, town: Town) -> None:
        headers = {"Authorization": f"Bearer {OWNER}", "Content-Type": "application/json"}
        answer = await town.client.put(HANDLE, content=b"{", headers=headers)
        assert (answer.status_code, answer.json()["responseCode"]) == (400, 202)
        answer = await town.client.put(HANDLE, content=b"x", headers={**headers, "Content-Type": "text/plain"})
        assert answer.status_code == 415

    async def test_roles_of_api_keys_hold_here_too(self, town: Town) -> None:
        await put(town, HANDLE, URL)
        for role in Role:
            for enterprise in ("", "pumpworks", "forge"):
                if bool(enterprise) == (role in (Role.ADMIN, Role.REVIEWER, Role.AUDITOR)):
                    continue
                writes = role is Role.ADMIN or (enterprise == "pumpworks" and role in (Role.OWNER, Role.GATEWAY, Role.REGISTRAR))
                status, _ = await put(town, HANDLE, URL, who=secret_of(role, enterprise))
                assert status == (200 if writes else 403), (role, enterprise)


class TestAuthentication:
    async def test_nobody_is_told_how_to_say_who_asks(self, town: Town) -> None:
        for method in ("PUT", "DELETE"):
            answer = await town.client.request(method, HANDLE, json=[URL] if method == "PUT" else None)
            assert (answer.status_code, answer.json()["responseCode"]) == (401, 402)
            told = answer.headers.get_list("www-authenticate")
            assert [each.split()[0] for each in told] == ["Handle", "Basic", "Bearer"]

    async def test_an_identity_writes_and_reads_by_basic(self, town: Town) -> None:
        identity, secret = await secret_key(town)
        assert await put(town, HANDLE, URL, {**DESC, "permissions": "1100"}, **basic(identity, secret)) == (201, 1)
        content = (await town.client.get(HANDLE, headers=basic(identity, secret))).json()
        assert [each["index"] for each in content["values"]] == [1, 2]
        public = (await town.client.get(f"{HANDLE}?publicOnly=true", headers=basic(identity, secret))).json()
        assert [each["index"] for each in public["values"]] == [1]
        await asyncio.gather(*town.node.noting)
        record = (await town.ask("GET", "/v1/enterprises/pumpworks/handle-keys", OWNER)).json()
        assert record[0]["last_used"] is not None

    async def test_a_reader_changes_nothing_and_a_stranger_nothing_here(self, town: Town) -> None:
        assert await put(town, HANDLE, URL, **basic(*await secret_key(town, "reader"))) == (403, 401)
        assert await put(town, HANDLE, URL, **basic(*await secret_key(town, "owner", "forge"))) == (403, 401)

    @pytest.mark.parametrize(
        "authorization",
        ["Basic x", "Basic " + base64.b64encode(b"300:0.NA/88.100.1").decode(), "Digest x", "Handle x", "Bearer x", "Basic é",
         'Handle sessionId="x"', 'Handle clientCert="true"', 'Handle version="1"', 'Handle a="1", a="2"', "Handle signature=x"],
    )  # fmt: skip
    async def test_what_proves_nothing_is_refused(self, town: Town, authorization: str) -> None:
        headers = {"Authorization": authorization.encode("latin-1").decode("latin-1")}
        raw = httpx.Headers({"Authorization": authorization}, encoding="latin-1")
        answer = await town.client.put(HANDLE, json=[URL], headers=raw)
        assert (answer.status_code, answer.json()["responseCode"]) == (401, 402), headers
        assert answer.json()["errors"]

    async def test_wrong_and_revoked_secrets_are_refused(self, town: Town) -> None:
        identity, secret = await secret_key(town)
        assert await put(town, HANDLE, URL, **basic(identity, secret + "x")) == (401, 402)
        assert await put(town, HANDLE, URL, **basic(identity.replace("300", "301"), secret)) == (401, 402)
        await town.ask("DELETE", "/v1/enterprises/pumpworks/handle-keys/88.100.1/300", OWNER)
        assert await put(town, HANDLE, URL, **basic(identity, secret)) == (401, 402)


def field(**fields: str) -> dict[str, str]:
    return {"Authorization": "Handle " + ", ".join(f'{name}="{text}"' for name, text in fields.items())}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def answered(session: dict[str, Any], identity: str, secret: bytes | rsa.RSAPrivateKey, form: str) -> dict[str, str]:
    """The answer to a session's challenge."""
    nonce, cnonce = base64.b64decode(session["nonce"]), b"c" * 16
    told = nonce + cnonce
    more: dict[str, str] = {}
    if isinstance(secret, rsa.RSAPrivateKey):
        made = secret.sign(told, padding.PKCS1v15(), hashes.SHA256() if form == "SHA256" else hashes.SHA1())
    elif form == "SHA1":
        made = hashlib.sha1(secret + told + secret, usedforsecurity=False).digest()
    elif form == "PBKDF2WithHmacSHA1":
        more = {"salt": encoded(b"salt"), "iterations": "1000", "length": "160"}
        made = hmac.digest(hashlib.pbkdf2_hmac("sha1", secret, b"salt", 1000, 20), told, "sha1")
    else:
        made = hmac.digest(secret, told, form.removeprefix("HMAC-"))
    kind = "HS_PUBKEY" if isinstance(secret, rsa.RSAPrivateKey) else "HS_SECKEY"
    parts = {"id": identity, "type": kind, "cnonce": encoded(cnonce), "alg": form, "signature": encoded(made), **more}
    return field(version="0", sessionId=session["sessionId"], **parts)


class TestSessions:
    async def begun(self, town: Town) -> dict[str, Any]:
        session: dict[str, Any] = (await town.client.post("/api/sessions/")).json()
        assert session["authenticated"] is False
        return session

    @pytest.mark.parametrize("form", ["SHA1", "HMAC-SHA1", "HMAC-SHA256", "PBKDF2WithHmacSHA1"])
    async def test_a_secret_proves_itself_and_its_session_goes_on(self, town: Town, form: str) -> None:
        identity, secret = await secret_key(town)
        session = await self.begun(town)
        bare = field(version="0", sessionId=session["sessionId"])
        assert await put(town, HANDLE, URL, **bare) == (401, 402)
        answer = await town.client.put("/api/sessions/this", headers=answered(session, identity, secret.encode(), form))
        assert (answer.status_code, answer.json()["authenticated"], answer.json()["id"]) == (200, True, identity)
        assert await put(town, HANDLE, URL, **bare) == (201, 1)
        assert (await town.client.get("/api/sessions/this", headers=bare)).json()["id"] == identity
        assert (await town.client.delete("/api/sessions/this", headers=bare)).status_code == 204
        assert await put(town, HANDLE, URL, **bare) == (401, 402)

    @pytest.mark.parametrize("form", ["SHA256", "SHA1"])
    async def test_a_public_key_answers_the_challenge_of_a_refusal(self, town: Town, form: str) -> None:
        identity = await public_key(town)
        refused = await town.client.put(HANDLE, json=[URL])
        told = dict(part.split("=", 1) for part in refused.headers.get_list("www-authenticate")[0][7:].split(", "))
        session = {name: text.strip('"') for name, text in told.items()}
        assert await put(town, HANDLE, URL, **answered(session, identity, KEY, form)) == (201, 1)

    async def test_what_does_not_answer_this_challenge_is_refused(self, town: Town) -> None:
        identity = await public_key(town)
        session, other = await self.begun(town), await self.begun(town)
        good = answered(session, identity, KEY, "SHA256")
        stolen = {"Authorization": good["Authorization"].replace(session["sessionId"], other["sessionId"])}
        assert await put(town, HANDLE, URL, **stolen) == (401, 402)
        forged = {"Authorization": good["Authorization"].replace(session["sessionId"], encoded(b"x" * 40))}
        assert await put(town, HANDLE, URL, **forged) == (401, 402)
        assert await put(town, HANDLE, URL, **answered(session, identity, rsa.generate_private_key(65537, 2048), "SHA256")) == (
            401,
            402,
        )
        town.clock[0] += ANSWERED_WITHIN_MS
        assert await put(town, HANDLE, URL, **good) == (401, 402)

    async def test_a_session_ends_by_age_and_with_its_key(self, town: Town) -> None:
        identity, secret = await secret_key(town)
        session = await self.begun(town)
        bare = field(sessionId=session["sessionId"])
        await town.client.put("/api/sessions/this", headers=answered(session, identity, secret.encode(), "HMAC-SHA256"))
        await town.ask("DELETE", "/v1/enterprises/pumpworks/handle-keys/88.100.1/300", OWNER)
        assert await put(town, HANDLE, URL, **bare) == (401, 402)
        town.clock[0] += LASTS_MS
        assert (await town.client.get("/api/sessions/this", headers=bare)).status_code == 401

    async def test_old_sessions_are_forgotten(self, town: Town) -> None:
        identity, secret = await secret_key(town)
        for _ in range(2):
            session = await self.begun(town)
            await town.client.put("/api/sessions/this", headers=answered(session, identity, secret.encode(), "HMAC-SHA256"))
            town.clock[0] += 2 * 86_400_000
        assert len(await town.node.store.entries("handle-session")) == 1

    async def test_the_node_proves_itself_with_its_key_where_it_has_one(self, town: Town) -> None:
        session, cnonce = await self.begun(town), b"c" * 16
        asked = field(sessionId=session["sessionId"], cnonce=encoded(cnonce))
        assert "no key" in (await town.client.get("/api/sessions/this", headers=asked)).json()["errors"][0]
        front = make_app(town.node)
        front.desk.sign_with(NodeKey(KEY))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://id.test") as client:
            told = (await client.get("/api/sessions/this", headers=asked)).json()
            assert told["serverAlg"] == "SHA256"
            message = base64.b64decode(session["nonce"]) + cnonce
            KEY.public_key().verify(base64.b64decode(told["serverSignature"]), message, padding.PKCS1v15(), hashes.SHA256())
            empty = field(sessionId=session["sessionId"], cnonce="")
            assert (await client.get("/api/sessions/this", headers=empty)).status_code == 401

    async def test_another_server_has_a_secret_checked(self, town: Town) -> None:
        identity, secret = await secret_key(town)
        nonce, cnonce = b"n" * 16, b"c" * 16
        query = {"nonce": encoded(nonce), "cnonce": encoded(cnonce), "alg": "HMAC-SHA256"}
        for key, expected in ((secret, True), ("x", False)):
            signature = encoded(hmac.digest(key.encode(), nonce + cnonce, "sha256"))
            answer = await town.client.get(f"/api/verifications/{identity}", params={**query, "signature": signature})
            assert answer.json() == {"responseCode": 1, "handle": "0.NA/88.100.1", "verificationResult": expected}
        assert (await town.client.get(f"/api/verifications/{identity}", params=query)).status_code == 400


class TestLists:
    async def test_handles_are_listed_page_by_page_to_those_who_may(self, town: Town) -> None:
        for suffix in "abcde":
            await town.register(suffix, OWNER)
        await town.ask("DELETE", "/api/handles/88.100.1/c", OWNER)

        async def listed(query: str, who: str = READER) -> httpx.Response:
            return await town.ask("GET", f"/api/handles?prefix=88.100.1{query}", who)

        assert (await listed("")).json() == {
            "responseCode": 1, "prefix": "88.100.1", "totalCount": 4, "handles": [f"88.100.1/{each}" for each in "abde"],
        }  # fmt: skip
        assert (await listed("&page=1&pageSize=3")).json()["handles"] == ["88.100.1/e"]
        assert (await listed("&pageSize=0")).json()["handles"] == []
        assert (await listed("", "")).status_code == 401
        assert (await listed("", STRANGER)).status_code == 403
        assert (await listed("&pageSize=0", STRANGER)).status_code == 403
        assert (await listed("&page=x")).status_code == 400
        assert (await listed("&page=999999")).status_code == 500

    async def test_prefixes_and_the_site_are_told(self, town: Town) -> None:
        assert (await town.ask("GET", "/api/prefixes", READER)).json()["prefixes"] == ["0.NA/88.100.1"]
        assert (await town.ask("GET", "/api/prefixes")).json()["totalCount"] == 2
        assert (await town.ask("GET", "/api/prefixes", "")).status_code == 401
        site = (await town.ask("GET", "/api/site", "")).json()["site"]
        assert [each["protocol"] for each in site["servers"][0]["interfaces"]] == ["HTTP"]

    async def test_a_house_searches_what_it_has_registered(self, town: Town) -> None:
        for suffix in ("a", "b"):
            await town.register(suffix, OWNER)
        await town.register("a", STRANGER, "88.100.2")
        assert (await town.ask("GET", "/hrls/handles/?DESC=A", READER)).json() == ["88.100.1/a"]
        assert (await town.ask("GET", "/hrls/handles/?DESC=*", READER)).json() == ["88.100.1/a", "88.100.1/b"]
        assert (await town.ask("GET", "/hrls/handles/?DESC=*&URL=*", READER)).json() == []
        for query, who, status in (("", READER, 400), ("DESC=*", "", 401), ("DESC=*", secret_of(Role.REVIEWER), 403)):
            assert (await town.ask("GET", f"/hrls/handles/?{query}", who)).status_code == status

    async def test_paths_and_methods_beyond_are_refused(self, town: Town) -> None:
        for method, path, status in (
            ("GET", "/api/none", 404), ("POST", "/api/handles", 405), ("GET", "/api/sessions", 405),
            ("POST", HANDLE, 405), ("PATCH", "/api/sessions/this", 401),
        ):  # fmt: skip
            assert (await town.client.request(method, path)).status_code == status, path


class TestPages:
    async def test_any_site_may_ask_first_whether_it_may_write(self, town: Town) -> None:
        answer = await town.client.options("/api/sessions", headers={"Origin": "https://x.test"})
        assert answer.status_code == 204
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert "Authorization" in (await town.client.options(HANDLE)).headers["access-control-allow-headers"]
        assert "PUT" in (await town.client.options(HANDLE)).headers["access-control-allow-methods"]

    async def test_a_script_gets_what_anybody_may_read_and_its_name_is_a_name(self, town: Town) -> None:
        await put(town, HANDLE, {**DESC, "data": "</script>\u2028"}, {**URL, "permissions": "1100"})
        answer = await town.ask("GET", f"{HANDLE}?callback=my.f_1", OWNER)
        assert answer.headers["content-type"] == "application/javascript;charset=UTF-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.text.startswith("/**/my.f_1({")
        assert "<" not in answer.text
        assert [each["index"] for each in json.loads(answer.text[11:-2])["values"]] == [2]
        for name in ("alert(1)", "a-b", "", "a.", "é", "x" * 100):
            refused = await town.client.get(HANDLE, params={"callback": name})
            assert (refused.status_code, refused.headers["content-type"]) == (400, "application/json;charset=UTF-8"), name

    async def test_behind_a_proxy_secrets_by_plain_http_are_sent_on_to_tls(self) -> None:
        async with founded() as town:
            changes = {"exposure": Exposure.NETWORK_WITHOUT_TLS, "public_url": "https://id.test"}
            node = dataclasses.replace(town.node, settings=town.node.settings.model_copy(update=changes))
            town.client = httpx.AsyncClient(transport=httpx.ASGITransport(make_app(node)), base_url="http://id.test")
            plain = {"X-Forwarded-Proto": "http"}
            for method in ("PUT", "DELETE"):
                answer = await town.client.request(method, f"{HANDLE}?index=1", json=[URL], headers=plain)
                assert (answer.status_code, answer.headers["location"]) == (302, f"https://id.test{HANDLE}?index=1")
            assert (await town.client.get(HANDLE, headers=plain)).status_code == 404
            assert (await town.client.get(HANDLE, headers={**plain, "Authorization": "Basic x"})).status_code == 302
