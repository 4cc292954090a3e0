"""How a run is judged in which the devices misbehaved."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.faults.fate import Fate
from simulators.verdict import Verdict
from tests.simulators.books import T0_MS, Fault, Message, Service, judge


def service(at_ms: float, value: int, fate: Fate = Fate.WHOLE, *, acknowledged: bool | None = None) -> Service:
    safe = fate is Fate.WHOLE if acknowledged is None else acknowledged
    return Service(at_ms, {"pulses": value}, fate=fate, acknowledged=safe)


def bad(t_ms: int) -> Message:
    return Message(t_ms, {"pulses": None}, status={"pulses": "BadCommunicationError"})


def delivered(*readings: tuple[int, int]) -> list[Message]:
    return [Message(t_ms, {"pulses": value}) for t_ms, value in readings]


def gap_of(verdict: Verdict) -> tuple[int | None, int | None, int, bool]:
    (gap,) = verdict.gaps
    assert (gap.device, gap.tags) == ("press", ("pulses",))
    return gap.from_ms and gap.from_ms - T0_MS, gap.to_ms and gap.to_ms - T0_MS, gap.spoiled, gap.told


def test_a_spoiled_reading_is_not_demanded(tmp_path: Path) -> None:
    verdict = judge(tmp_path, [service(0, 1), service(100, 2, Fate.SPOILED), service(200, 3)], delivered((1, 1), (201, 3)))
    assert verdict.clean
    assert (verdict.delivered, verdict.lost, verdict.cut, verdict.spoiled) == (2, 0, 0, 1)


def test_a_value_from_a_wrong_frame_is_altered(tmp_path: Path) -> None:
    services = [service(0, 1), service(100, 2, Fate.SPOILED), service(200, 3)]
    verdict = judge(tmp_path, services, delivered((1, 1), (101, 2), (201, 3)))
    assert (verdict.altered, verdict.lost, verdict.delivered) == (1, 0, 2)
    assert verdict.examples == (f"press.pulses: 2 at {T0_MS + 101} was taken from an answer that was spoiled",)


def test_a_value_from_a_wrong_frame_does_not_stand_for_a_lost_one(tmp_path: Path) -> None:
    verdict = judge(tmp_path, [service(0, 1), service(100, 2, Fate.SPOILED)], delivered((101, 2)))
    assert (verdict.altered, verdict.lost) == (1, 1)


def test_a_value_from_a_wrong_frame_before_anything_was_served_is_altered(tmp_path: Path) -> None:
    verdict = judge(tmp_path, [service(100, 2, Fate.SPOILED), service(200, 3)], delivered((101, 2), (201, 3)))
    assert verdict.altered == 1
    assert "spoiled" in verdict.examples[0]


def test_a_spoiled_answer_long_past_explains_nothing(tmp_path: Path) -> None:
    services = [service(0, 2, Fate.SPOILED), service(100, 1)]
    verdict = judge(tmp_path, services, delivered((101, 2)))
    assert verdict.altered == 1
    assert "was served as 1" in verdict.examples[0]


@pytest.mark.parametrize(("value", "altered"), [(2, 0), (7, 1)])
def test_a_hampered_reading_may_be_delivered_but_only_as_it_was(tmp_path: Path, value: int, altered: int) -> None:
    services = [service(0, 1), service(100, 2, Fate.HAMPERED), service(200, 3)]
    verdict = judge(tmp_path, services, delivered((1, 1), (150, value), (201, 3)))
    assert (verdict.altered, verdict.lost) == (altered, 0)


def test_a_hampered_reading_may_be_thrown_away(tmp_path: Path) -> None:
    verdict = judge(tmp_path, [service(0, 1), service(100, 2, Fate.HAMPERED), service(200, 3)], delivered((1, 1), (201, 3)))
    assert verdict.clean
    assert (verdict.lost, verdict.cut) == (0, 1)


def test_the_answer_before_taken_for_the_next_ones_is_altered(tmp_path: Path) -> None:
    # The client took the late answer of 0 ms for that of its request at 100 ms.
    verdict = judge(tmp_path, [service(0, 1, Fate.HAMPERED), service(100, 2)], delivered((101, 1)))
    assert verdict.altered == 1


def test_a_gap_is_what_lies_between_usable_readings_and_tells_whether_the_client_said_so(tmp_path: Path) -> None:
    services = [service(0, 1), service(100, 2, Fate.SPOILED), service(200, 3, Fate.SPOILED), service(300, 4)]
    (tmp_path / "told").mkdir()
    (tmp_path / "untold").mkdir()
    told = judge(tmp_path / "told", services, [*delivered((1, 1)), bad(150), *delivered((301, 4))])
    assert gap_of(told) == (0, 300, 2, True)
    untold = judge(tmp_path / "untold", services, delivered((1, 1), (301, 4)))
    assert gap_of(untold) == (0, 300, 2, False)
    assert untold.clean
    assert "spoiled by the device 2, in 1 gaps, of which 0 were reported Bad" in untold.as_text()


def test_a_tag_that_is_bad_still_needs_no_second_report(tmp_path: Path) -> None:
    services = [service(0, 1), service(100, 2, Fate.SPOILED), service(200, 3, Fate.HAMPERED), service(300, 4, Fate.SPOILED)]
    services.append(service(400, 5))
    verdict = judge(tmp_path, services, [*delivered((1, 1)), bad(150), *delivered((401, 5))])
    assert [(gap.spoiled, gap.told) for gap in verdict.gaps] == [(1, True), (1, True)]


def test_a_tag_that_was_good_again_needs_a_second_report(tmp_path: Path) -> None:
    services = [service(0, 1), service(100, 2, Fate.SPOILED), service(200, 3), service(300, 4, Fate.SPOILED), service(400, 5)]
    verdict = judge(tmp_path, services, [*delivered((1, 1)), bad(150), *delivered((201, 3), (401, 5))])
    assert [(gap.spoiled, gap.told) for gap in verdict.gaps] == [(1, True), (1, False)]


def test_a_device_that_was_off_leaves_a_gap_though_nobody_could_ask(tmp_path: Path) -> None:
    services = [service(0, 1), service(5000, 2)]
    verdict = judge(tmp_path, services, [*delivered((1, 1)), bad(1200), *delivered((5001, 2))], faults=[Fault(1000, "restart")])
    assert gap_of(verdict) == (0, 5000, 0, True)


@pytest.mark.parametrize("kind", ["refuse", "half_open"])
@pytest.mark.parametrize(("connection", "gaps"), [(1, 0), (2, 1)])
def test_a_client_that_was_turned_away_has_a_gap_if_it_came_back_by_another_connection(
    tmp_path: Path, kind: str, connection: int, gaps: int
) -> None:
    services = [Service(at, {"pulses": 1}, connection=1 if at < 5000 else connection) for at in (0, 1100, 5000)]
    messages = [Message(1, {"pulses": 1})]
    verdict = judge(tmp_path, services, messages, faults=[Fault(1000, kind, 3000)])
    assert [(gap.from_ms, gap.to_ms, gap.spoiled) for gap in verdict.gaps] == [(T0_MS + 1100, T0_MS + 5000, 0)] * gaps
    assert verdict.clean


def test_an_outage_that_blocks_share_is_one_gap_and_what_one_of_them_lost_by_itself_another(tmp_path: Path) -> None:
    def poll(at_ms: int, *fates: Fate) -> list[Service]:
        both = zip(("a", "b"), fates, strict=True)
        return [Service(at_ms + place, {tag: at_ms}, fate=fate) for place, (tag, fate) in enumerate(both)]

    whole, spoiled = Fate.WHOLE, Fate.SPOILED
    services = [
        *[*poll(0, whole, whole), *poll(500, whole, spoiled), *poll(5000, whole, whole), *poll(6000, whole, spoiled)],
        *poll(7000, whole, whole),
    ]
    messages = [Message(2, {"a": 0, "b": 0}), Message(510, {"a": 500}), Message(5010, {"a": 5000, "b": 5000})]
    messages += [Message(6010, {"a": 6000}), Message(7010, {"a": 7000, "b": 7000})]
    verdict = judge(tmp_path, services, messages, faults=[Fault(1000, "restart", 3000)])
    assert [(gap.tags, gap.from_ms, gap.to_ms, gap.spoiled) for gap in verdict.gaps] == [
        (("a", "b"), T0_MS + 1, T0_MS + 5001, 1),
        (("b",), T0_MS + 5001, T0_MS + 7001, 1),
    ]


def test_gaps_at_the_ends_are_open(tmp_path: Path) -> None:
    services = [service(0, 1, Fate.SPOILED), service(100, 2), service(200, 3, Fate.SPOILED)]
    verdict = judge(tmp_path, services, delivered((101, 2)))
    assert [(gap.from_ms, gap.to_ms) for gap in verdict.gaps] == [(None, T0_MS + 100), (T0_MS + 100, None)]


def test_tags_with_the_same_gap_share_it(tmp_path: Path) -> None:
    services = [
        Service(0, {"a": 1, "b": 1}),
        Service(100, {"a": 2, "b": 2}, fate=Fate.SPOILED, acknowledged=False),
        Service(200, {"a": 3, "b": 3}),
    ]
    verdict = judge(tmp_path, services, [Message(1, {"a": 1, "b": 1}), Message(201, {"a": 3, "b": 3})])
    (gap,) = verdict.gaps
    assert gap.tags == ("a", "b")
    assert [(tag.tag, tag.spoiled, tag.gaps, tag.gaps_told) for tag in verdict.tags] == [("a", 1, 1, 0), ("b", 1, 1, 0)]
    assert verdict.as_json()["gaps"][0]["tags"] == ("a", "b")
