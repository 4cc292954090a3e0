"""The API of Chinese second-level nodes: docs/snms.md."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.enterprise import Role
from idnode.identifier import parse_identifier
from idnode.record import State
from idnode.web.snms.names import LONGEST_VERSION, template_name, version_text

from .town import ADMIN, Town, founded, secret_of

OWNER = secret_of(Role.OWNER, "pumpworks")
READER = secret_of(Role.READER, "pumpworks")
STRANGER = secret_of(Role.OWNER, "forge")
DATA, TEMPLATE = "/identityv2/data", "/snms/api/v5/template"


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        yield made


def value(index: int, kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {"auth": "", "index": index, "type": kind, "data": {"format": "string", "value": text}, **more}


def registration(suffix: str = "002", *values: dict[str, Any], version: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"handle": f"88.100.1/{suffix}", "value": list(values) or [value(1, "NAME", "小型机械01")]}
    return body if version is None else {**body, "templateVersion": version}


def item(kind: str, index: int | str | None = None, **more: Any) -> dict[str, Any]:
    placed = {} if index is None else {"idIndex": index}
    return {
        "name": f"项 {kind}",
        "idType": kind,
        **placed,
        "metadata": {"type": "string", "minLength": 1, "maxLength": 10},
        **more,
    }


def template(*items: dict[str, Any], version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {
        "prefix": "88.100.1",
        "version": version,
        "industryCategory": "C",
        "industrySpecific": "34",
        "industryTrade": "344",
        "industrySubclass": "3441",
        "type": 1,
        "description": "泵",
        "items": list(items) or [item("name", "2000", required=True), item("size")],
        **more,
    }


async def detail(town: Town, handle: str, who: str = "") -> httpx.Response:
    bearer = {"Authorization": f"Bearer {who}"} if who else {}
    return await town.client.get(f"{DATA}/detail", params={"handle": handle}, headers=bearer)


async def told(town: Town, method: str, path: str, content: Any = None, who: str = OWNER) -> tuple[int, str, Any]:
    """(status, message, data) of the envelope."""
    answer = await town.ask(method, path, who, content)
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    assert set(answer.json()) == {"status", "message", "data"}
    return answer.json()["status"], answer.json()["message"], answer.json()["data"]


DONE = (1, "success", True)


class TestToken:
    @pytest.mark.parametrize(
        ("name", "secret"),
        [("owner", OWNER), ("pumpworks:owner", OWNER), ("admin", ADMIN), ("auditor", secret_of(Role.AUDITOR))],
    )
    async def test_a_label_and_its_key_get_what_works_as_bearer(self, town: Town, name: str, secret: str) -> None:
        answer = await town.ask("POST", "/identity/token", "", {"username": name, "password": secret})
        token = answer.json()["data"]["token"]
        assert (answer.status_code, answer.json()["status"]) == (200, 1)
        assert (await town.ask("GET", "/v1/jobs", token)).status_code == 200

    @pytest.mark.parametrize(
        ("name", "secret"), [("owner", "x" * 40), ("reader", OWNER), ("forge:owner", OWNER), ("admin", OWNER)]
    )
    async def test_whatever_is_wrong_is_told_alike(self, town: Town, name: str, secret: str) -> None:
        got = await told(town, "POST", "/identity/token", {"username": name, "password": secret}, "")
        assert got == (-2, "参数错误：用户名/密码错误！", None)

    async def test_what_the_store_keeps_of_a_key_opens_nothing(self, town: Town) -> None:
        hashed = hashlib.sha256(OWNER.encode()).hexdigest()
        daily = hashlib.sha256(f"{hashed}2026-09-21".encode()).hexdigest()
        status, message, data = await told(town, "POST", "/identity/token/v1", {"username": "owner", "password": daily}, "")
        assert (status, data) == (-2, None)
        assert "/identity/token" in message


class TestDetail:
    async def test_it_tells_the_values_in_the_envelope(self, town: Town) -> None:
        await told(town, "POST", DATA, registration("a+b", value(2, "DESC", "x"), value(1, "URL", "https://x.test/")))
        answer = await detail(town, "88.100.1/a+b")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json() == {
            "status": 1,
            "message": "success",
            "data": {
                "code": "200",
                "prefix": "88.100.1",
                "handle": "88.100.1/a+b",
                "templateVersion": "",
                "value": [
                    {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://x.test/"}, "auth": "1"},
                    {"index": 2, "type": "DESC", "data": {"format": "string", "value": "x"}, "auth": "1"},
                ],
            },
        }
        again = await town.client.get(
            f"{DATA}/detail", params={"handle": "88.100.1/a+b"}, headers={"If-None-Match": answer.headers["etag"]}
        )
        assert again.status_code == 304

    async def test_a_value_for_the_house_is_told_to_the_house(self, town: Town) -> None:
        await told(town, "POST", DATA, registration("P", value(3, "COST", "9", auth="2"), value(4, "DESC", "x")))
        anybody, house = [(await detail(town, "88.100.1/P", who)).json()["data"]["value"] for who in ("", READER)]
        assert [each["index"] for each in anybody] == [1, 4]
        assert [(each["index"], each["auth"]) for each in house] == [(1, "1"), (3, "2"), (4, "1")]

    @pytest.mark.parametrize(
        ("handle", "message"),
        [("88.100.1/none", "标识不存在"), ("", "参数错误：缺少必要的请求参数: handle"), (f"88.100.1/{'x' * 300}", "255")],
    )
    async def test_what_is_not_there_is_told_where_scan_pages_look_for_it(self, town: Town, handle: str, message: str) -> None:
        answer = await detail(town, handle)
        assert (answer.status_code, answer.json()["status"], answer.json()["data"]) == (200, -2, None)
        assert message in answer.json()["message"]

    async def test_other_methods_and_bad_tokens_are_refused_in_the_envelope(self, town: Town) -> None:
        posted = await town.ask("POST", f"{DATA}/detail", OWNER, {})
        assert (posted.status_code, posted.json()["status"], posted.headers["allow"]) == (405, -2, "GET, HEAD, OPTIONS")
        wrong = await detail(town, "88.100.1/P", "x" * 40)
        assert (wrong.status_code, wrong.json()["status"]) == (401, -1)
        assert wrong.json()["message"].startswith("没有登录，需要验证")

    async def test_what_is_closed_to_the_caller_stays_closed(self, town: Town) -> None:
        await town.ask("PATCH", "/v1/enterprises/pumpworks", content={"public": False})
        for who, status in (("", (401, -1)), (STRANGER, (403, -3)), (READER, (200, -2))):
            answer = await detail(town, "88.100.1/none", who)
            assert (answer.status_code, answer.json()["status"]) == status

    async def test_answers_count_under_their_face_as_what_they_are(self, town: Town) -> None:
        await told(town, "POST", DATA, registration("P"))
        await detail(town, "88.100.1/P")
        await detail(town, "88.100.1/none")
        counted = {key: count[0] for key, count in town.node.meter.answers.items() if key[0] == "snms"}
        assert counted == {("snms", "88.100.1", 200): 1, ("snms", "88.100.1", 404): 1}


class TestChanges:
    async def test_what_is_repeated_is_no_mistake_and_what_differs_is_told_as_there(self, town: Town) -> None:
        assert await told(town, "POST", DATA, registration()) == DONE
        assert await told(town, "POST", DATA, registration()) == DONE
        assert await told(town, "POST", DATA, registration("002", value(1, "NAME", "other"))) == (-2, "标识已存在", None)

    async def test_an_update_replaces_the_values_and_keeps_what_snms_cannot_say(self, town: Town) -> None:
        admin = {"handle": "0.NA/88.100.1", "index": 200, "permissions": "011111110011"}
        order = {"handle": "88.100.1/P", "values": [
            {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": admin}},
            {"index": 2, "type": "OLD", "data": "x"},
        ]}  # fmt: skip
        assert (await town.ask("POST", "/v1/identifiers", OWNER, order)).status_code == 201
        assert await told(town, "PUT", DATA, registration("P")) == DONE
        record = await town.node.store.record(parse_identifier("88.100.1/P"))
        assert record is not None
        assert ([each.index for each in record.values], record.version) == ([1, 100], 2)
        assert await told(town, "PUT", DATA, registration("P")) == DONE
        assert await told(town, "PUT", DATA, registration("none")) == (-2, "标识不存在", None)

    async def test_deleted_is_retired_for_ever_and_deleting_again_is_no_mistake(self, town: Town) -> None:
        await told(town, "POST", DATA, registration("P"))
        assert await told(town, "DELETE", DATA, {"handle": "88.100.1/P"}) == DONE
        assert await told(town, "DELETE", DATA, {"handle": "88.100.1/P"}) == DONE
        assert (await detail(town, "88.100.1/P")).json()["message"] == "标识不存在"
        assert await told(town, "POST", DATA, registration("P")) == (-2, "标识已存在", None)
        record = await town.node.store.record(parse_identifier("88.100.1/P"))
        assert record is not None
        assert record.state is State.RETIRED
        assert await told(town, "DELETE", DATA, {"handle": "88.100.1/none"}) == (-2, "标识不存在", None)

    async def test_in_a_batch_each_has_its_outcome(self, town: Town) -> None:
        await told(town, "POST", DATA, registration("there", value(1, "NAME", "other")))
        rows: list[Any] = [
            registration("new"), registration("there"), {"handle": "88.100.2/x", "value": []}, {"value": []}, 7,
            registration("R", value(1001, "TEMPLATE", "x")), registration("T", version="none"),
            registration("bad", value(0, "A", "x")),
        ]  # fmt: skip
        for _ in range(2):  # after a 504 a client sends all of it again
            status, message, data = await told(town, "POST", f"{DATA}/batchCreate", rows)
            assert (status, message) == (1, "success")
            assert [(each["handle"], each["code"]) for each in data] == [
                ("88.100.1/new", 1), ("88.100.1/there", -2), ("88.100.2/x", -3), ("", -2), ("", -2),
                ("88.100.1/R", -2), ("88.100.1/T", -2), ("88.100.1/bad", -2),
            ]  # fmt: skip
        assert data[1]["msg"] == "标识已存在"
        assert "模板不存在" in data[6]["msg"]
        _, _, data = await told(town, "PUT", f"{DATA}/batchUpdate", [registration("there"), registration("none"), 7])
        assert [(each["code"], each["msg"][:5]) for each in data] == [(1, "succe"), (-2, "标识不存在"), (-2, "参数错误：")]
        handles = ["88.100.1/there", "88.100.1/none", "88.100.2/x", 7]
        for body in (handles, {"handles": handles}):
            _, _, data = await told(town, "DELETE", f"{DATA}/batchDelete", body)
            assert [each["code"] for each in data] == [1, -2, -3, -2]

    @pytest.mark.parametrize(("method", "path"), [("POST", "batchCreate"), ("PUT", "batchUpdate"), ("DELETE", "batchDelete")])
    async def test_more_than_2000_are_refused_whole(self, town: Town, method: str, path: str) -> None:
        status, message, _ = await told(town, method, f"{DATA}/{path}", ["x"] * 2001)
        assert (status, "2000" in message) == (-2, True)

    async def test_who_may_not_is_told_so_in_the_envelope(self, town: Town) -> None:
        for who, expected in (("", (401, -1)), (READER, (403, -3)), (STRANGER, (403, -3))):
            for method in ("POST", "PUT"):
                answer = await town.ask(method, DATA, who, registration())
                assert (answer.status_code, answer.json()["status"]) == expected
        await told(town, "POST", DATA, registration())
        answer = await town.ask("DELETE", DATA, STRANGER, {"handle": "88.100.1/002"})
        assert (answer.status_code, answer.json()["status"]) == (403, -3)

    async def test_what_cannot_be_read_is_told_in_the_envelope_too(self, town: Town) -> None:
        headers = {"Authorization": f"Bearer {OWNER}"}
        no_json = await town.client.post(DATA, content=b"{", headers={**headers, "Content-Type": "application/json"})
        assert (no_json.status_code, no_json.json()["status"]) == (400, -2)
        text = await town.client.post(DATA, content=b"{}", headers=headers)
        assert (text.status_code, text.json()["status"]) == (415, -2)
        nowhere = await town.client.get("/snms/api/v9/template")
        assert (nowhere.status_code, nowhere.json()["status"]) == (404, -2)
        assert await told(town, "POST", DATA, []) == (-2, "请求错误：an object is expected", None)


class TestTemplates:
    async def test_a_template_is_made_used_and_told(self, town: Town) -> None:
        assert await told(town, "POST", TEMPLATE, template()) == DONE
        assert await told(town, "POST", TEMPLATE, template()) == DONE
        assert await told(town, "POST", TEMPLATE, template(item("other"))) == (-2, "与已有数据冲突：模板已存在", None)
        _, _, data = await told(town, "GET", f"{TEMPLATE}?prefix=88.100.1&version=1.0.0", who="")
        assert (data["version"], data["industrySubclass"], data["type"], data["description"]) == ("1.0.0", "3441", 1, "泵")
        assert [(each["idType"], each["idIndex"], each["required"], each["state"]) for each in data["items"]] == [
            ("name", 2000, True, 1), ("size", 2001, False, 1),
        ]  # fmt: skip
        assert await told(town, "POST", DATA, registration("P", value(2000, "name", "泵"), version="1.0.0")) == DONE
        got = (await detail(town, "88.100.1/P")).json()["data"]
        assert got["templateVersion"] == "1.0.0"
        assert [(each["index"], each["type"], each["data"]["value"]) for each in got["value"][1:]] == [
            (1001, "TEMPLATE", "1.0.0"), (2000, "name", "泵"),
        ]  # fmt: skip
        status, message, _ = await told(town, "POST", DATA, registration("Q", value(2001, "size", "x" * 11), version="1.0.0"))
        assert (status, "2001" in message, "name is required" in message) == (-2, True, True)

    async def test_items_are_added_and_disabled_never_taken_out(self, town: Town) -> None:
        await told(town, "POST", TEMPLATE, template())
        change = template(item("size", 2001, state=0), item("colour"))
        for _ in range(2):
            assert await told(town, "PUT", TEMPLATE, change) == DONE
        _, _, data = await told(town, "GET", f"{TEMPLATE}?prefix=88.100.1&version=1.0.0")
        assert [(each["idType"], each["state"]) for each in data["items"]] == [("name", 1), ("size", 0), ("colour", 1)]
        assert data["id"] == 2
        assert await told(town, "PUT", TEMPLATE, template(item("size", 2001, state=1))) == DONE
        for wrong in (item("other", 2001), item("new", required=True), item("x", 1999)):
            status, _, _ = await told(town, "PUT", TEMPLATE, template(wrong))
            assert status == -2
        assert (await told(town, "PUT", TEMPLATE, template(version="2")))[:2] == (-2, "模板不存在")

    async def test_an_update_that_names_no_template_keeps_to_the_one_that_is_there(self, town: Town) -> None:
        await told(town, "POST", TEMPLATE, template())
        await told(town, "POST", DATA, registration("P", value(2000, "name", "泵"), version="1.0.0"))
        assert await told(town, "PUT", DATA, registration("P", value(2000, "name", "阀"))) == DONE
        assert (await told(town, "PUT", DATA, registration("P", value(2001, "size", "1"))))[0] == -2
        assert (await detail(town, "88.100.1/P")).json()["data"]["templateVersion"] == "1.0.0"

    async def test_a_deleted_template_registers_nothing_more_and_what_was_stays(self, town: Town) -> None:
        await told(town, "POST", TEMPLATE, template())
        await told(town, "POST", DATA, registration("P", value(2000, "name", "泵"), version="1.0.0"))
        key = {"prefix": "88.100.1", "version": "1.0.0"}
        assert await told(town, "DELETE", TEMPLATE, key) == DONE
        assert await told(town, "DELETE", TEMPLATE, key) == DONE
        assert (await told(town, "GET", f"{TEMPLATE}?prefix=88.100.1&version=1.0.0"))[:2] == (-2, "模板不存在")
        assert (await told(town, "POST", DATA, registration("Q", value(2000, "name", "x"), version="1.0.0")))[0] == -2
        assert (await detail(town, "88.100.1/P")).json()["data"]["templateVersion"] == "1.0.0"
        assert await told(town, "POST", TEMPLATE, template()) == DONE
        assert await told(town, "POST", DATA, registration("Q", value(2000, "name", "x"), version="1.0.0")) == DONE
        assert (await told(town, "DELETE", TEMPLATE, {**key, "version": "none"}))[:2] == (-2, "模板不存在")

    async def test_somebodys_draft_stays(self, town: Town) -> None:
        name = {"zh": "泵", "en": "Pump"}
        draft = {
            "prefix": "88.100.1",
            "name": "pump",
            "title": name,
            "items": [{"index": 2000, "type": "A", "name": name, "kind": "text"}],
        }
        assert (await town.ask("POST", "/v1/templates", OWNER, draft)).status_code == 201
        status, message, _ = await told(town, "POST", TEMPLATE, template(version="pump"))
        assert (status, "draft" in message) == (-2, True)
        assert (await told(town, "POST", TEMPLATE, template(), STRANGER))[0] == -3


@given(st.text(max_size=LONGEST_VERSION + 1))
def test_a_version_is_found_again_by_its_name(version: str) -> None:
    name = template_name(version)
    if name is not None:
        assert version_text(name) == version


@given(st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,63}\Z"))
def test_a_name_stands_for_one_version(name: str) -> None:
    version = version_text(name)
    assert version == name or template_name(version) == name


def test_usual_versions_have_names() -> None:
    assert [template_name(each) for each in ("666", "1.0.0", "V1", "OneCodeDefault", "-a", "", "泵" * 22, "pump")] == [
        "666", "1_2e0_2e0", "0__561", "0__4fne_43ode_44efault", "0__2da", None, None, "pump",
    ]  # fmt: skip
