"""What people and programs are told while the node's storage doesn't answer."""

from __future__ import annotations

from typing import NoReturn

import pytest

from idnode.store.base import StoreAway, StoreError, StoreFailed

from .conftest import House

PAGES = ["/88.100.1/P1", "/88.100.1/a%20%3Cb%3E", "/01/09506000134352/10/L/21/S", "/01/09506000134352/10/L/21/S?lang=zh"]
PROGRAMS = [
    ("/88.100.1/P1", "application/json"),
    ("/api/handles/88.100.1/P1", "text/html"),
    ("/01/09506000134352", "application/linkset+json"),
    ("/01/09506000134352?linkType=linkset", "text/html"),
]


@pytest.fixture(params=[StoreAway, StoreFailed])
def silent(house: House, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> House:
    failure: type[StoreError] = request.param

    async def fail(*_: object) -> NoReturn:
        raise failure("what is inside the node is nobody's affair")

    for name in ("record", "enterprise_of"):
        monkeypatch.setattr(house.node.store, name, fail)
    return house


@pytest.mark.parametrize("path", PAGES)
async def test_who_scans_a_code_is_told_by_a_page_in_his_language(path: str, silent: House) -> None:
    for language, heading in (("zh", "暂时无法查询"), ("en", "Nothing can be looked up now")):
        asked = {"Accept": "text/html", "Accept-Language": language}
        answer = await silent.client.get(path, headers=asked)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["cache-control"]) == (503, "30", "no-cache")
        assert answer.headers["content-type"].startswith("text/html")
        assert heading in answer.text or "lang=" in path
        assert "affair" not in answer.text
        assert "<b>" not in answer.text
        assert f'href="{path.partition("?")[0]}?lang=en"' in answer.text or language == "en"
        assert (await silent.client.head(path, headers=asked)).status_code == 503


@pytest.mark.parametrize(("path", "accept"), PROGRAMS)
async def test_programs_are_told_in_their_form(path: str, accept: str, silent: House) -> None:
    answer = await silent.client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "json" in answer.headers["content-type"]
    assert "affair" not in answer.text
