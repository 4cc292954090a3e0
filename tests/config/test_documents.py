"""What load() makes of an operator's file: settings, or every mistake with its line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from config.settings import Settings
from tests.config.workshop import GOOD, Modbus, Order, Workshop, problems, problems_of, said, write


def test_a_good_file_becomes_settings(tmp_path: Path) -> None:
    workshop = load(write(tmp_path, GOOD), Workshop)
    (press,) = workshop.devices
    assert isinstance(press, Modbus)
    assert [(tag.name, tag.address, tag.words, tag.order) for tag in press.tags] == [
        ("pulses", 0, 2, Order.ABCD),
        ("current", 2, 1, Order.ABCD),
    ]


def test_an_unknown_key_an_address_too_large_and_overlapping_tags_are_all_named_with_their_lines(tmp_path: Path) -> None:
    text = """\
        workshop: hall-1
        outbix: elsewhere.db
        devices:
          - driver: modbus
            name: press
            host: 127.0.0.1
            colour: red
            tags:
              - name: pulses
                address: 65536
              - name: current
                address: 10
                words: 2
              - name: voltage
                address: 11
        rules:
          stroke: {device: press, tag: pulses}
          other: {device: press, tag: nothing}
        """
    assert said(problems(tmp_path, textwrap.dedent(text))) == [
        (2, "outbix", "unknown key"),
        (7, "devices[0].colour", "unknown key"),
        (10, "devices[0].tags[0].address", "must be at most 65535, not 65536"),
        (15, "devices[0].tags[2].address", "overlaps current"),
        # Nothing about the rule `stroke`: its tag is only missing because its address is wrong.
        (18, "rules.other.tag", "there is no tag nothing"),
    ]


def test_an_unknown_key_is_answered_with_the_nearest_one_of_its_section(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("    host:", "    Hots:").replace("address: 2", "adress: 2"))
    assert [(problem.field, problem.suggestion) for problem in found] == [
        ("devices[0].Hots", "did you mean host?"),
        ("devices[0].tags[1].adress", "did you mean address?"),
    ]


def test_an_unknown_key_like_no_other_is_answered_with_what_is_known(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD + "  idle: {device: press, tag: pulses, zzz: 1}\n")
    assert found.suggestion == "known here: device, tag"


def test_a_misspelt_key_is_not_also_missing_and_its_value_is_checked(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("address: 2", "adress: 70000"))
    assert said(found) == [
        (11, "devices[0].tags[1].adress", "unknown key"),
        (11, "devices[0].tags[1].adress", "must be at most 65535, not 70000"),
    ]


def test_a_misspelt_key_beside_the_right_one_is_only_unknown(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("        address: 2", "        address: 2\n        adress: 3"))
    assert said(found) == [(12, "devices[0].tags[1].adress", "unknown key")]


def test_a_missing_key_is_named_at_the_line_of_its_section(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("    host: 127.0.0.1\n", "").replace("workshop: hall-1\n", "live: true\n"))
    assert said(found) == [(1, "workshop", "is required"), (3, "devices[0].host", "is required")]


def test_what_stands_below_is_checked_though_the_top_lacks_a_key(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("workshop: hall-1\n", "").replace("address: 2", "address: 1"))
    assert said(found) == [(1, "workshop", "is required"), (10, "devices[0].tags[1].address", "overlaps pulses")]


def test_the_second_of_two_wrong_items_keeps_its_own_index(tmp_path: Path) -> None:
    text = GOOD.replace("address: 0", "address: -1") + "labels: [secret]\nlive: [\n"
    text = text.replace("live: [\n", "") + "  # the end\n"
    text = text.replace("        address: 2\n", "        address: 2\n      - name: third\n        address: 2\n")
    assert said(problems(tmp_path, text)) == [
        (8, "devices[0].tags[0].address", "must be at least 0, not -1"),
        (13, "devices[0].tags[2].address", "overlaps current"),
        (16, "labels", "'secret' is no label"),
    ]


def test_a_device_without_any_usable_tag_is_blamed_for_the_tags_alone(tmp_path: Path) -> None:
    text = GOOD.replace("address: 0", "address: x").replace("address: 2", "address: y")
    assert said(problems(tmp_path, text)) == [
        (8, "devices[0].tags[0].address", "must be a whole number, not x"),
        (11, "devices[0].tags[1].address", "must be a whole number, not y"),
    ]


@pytest.mark.parametrize(
    ("line", "message", "suggestion"),
    [
        ("workshop: 12", "must be text, not 12", 'put it in quotes: "12"'),
        ("workshop: true", "must be text, not true", 'put it in quotes: "true"'),
        ("workshop:", "must be text, but is empty", None),
        ("workshop: hall 1", "must be a name, not hall 1", "letters, digits, _ - and . only, at most 64, beginning with"),
        ("workshop: [a]", "must be text, not a list", None),
        ("live: maybe", "must be true or false, not maybe", None),
        ("limit: some", "must be a whole number or none, not some", None),
        ("limit: 1.5", "must be a whole number or none, not 1.5", None),
        ("limit: true", "must be a number, not true", None),
        ("rules: [a]", "must be a section (`key: value` lines), not a list", None),
        ("labels: one", "must be a list, not one", "begin each item with `- `"),
        ("labels: [1]", "must be text, not 1", 'put it in quotes: "1"'),
        ("shift: 6 Uhr", r"6 Uhr doesn't have the form ^\d\d:\d\d$", None),
        ('version: "5"', 'must be 5 or 3.1.1, not "5"', None),
        ("version: 3", "must be 5 or 3.1.1, not 3", None),
        ("outbox: 3", "must be a path, not 3", None),
        ("rules: {a: {device: press, tag: pulses, zzz: 1}}", "unknown key", "known here: device, tag"),
        (f"workshop: {'long ' * 20}", "must be a name, not long long long long long long long long…", "letters"),
    ],
)
def test_a_message_is_in_the_words_of_the_file(tmp_path: Path, line: str, message: str, suggestion: str | None) -> None:
    key = line.split(":")[0]
    rest = "".join(other for other in GOOD.splitlines(keepends=True) if not other.startswith(f"{key}:"))
    if key == "rules":
        rest = rest.replace("  stroke: {device: press, tag: pulses}\n", "")
    (found,) = problems(tmp_path, f"{line}\n{rest}")
    assert (found.line, found.message) == (1, message)
    assert (found.suggestion or "").startswith(suggestion or "")
    assert (found.suggestion is None) == (suggestion is None)


@pytest.mark.parametrize(
    ("old", "new", "field", "message", "suggestion"),
    [
        ("words: 2", "order: CDBA", "tags[0].order", "must be ABCD or CDAB, not CDBA", "did you mean CDAB?"),
        ("words: 2", "order: little", "tags[0].order", "must be ABCD or CDAB, not little", None),
        ("words: 2", "deadband: .nan", "tags[0].deadband", "must be a finite number, not NaN", None),
        ("words: 2", "deadband: [1]", "tags[0].deadband", "must be a number, not a list", None),
        ("address: 0", "address: yes", "tags[0].address", "must be a whole number, not yes", None),
        ("address: 0", "address: 1.5", "tags[0].address", "must be a whole number, not 1.5", None),
        ("words: 2", "words: true", "tags[0].words", "must be a number, not true", None),
        ("driver: modbus", "driver: modbsu", "driver", "must be one of modbus, opcua, not modbsu", "did you mean modbus?"),
        ("driver: modbus", "drivr: modbus", "drivr", "unknown key", "did you mean driver?"),
        ("- driver: modbus\n    name", "- name", "driver", "is required", "one of modbus, opcua"),
    ],
)
def test_a_wrong_value_within_a_device_is_said_at_its_own_place(
    tmp_path: Path, old: str, new: str, field: str, message: str, suggestion: str | None
) -> None:
    (found,) = problems(tmp_path, GOOD.replace(old, new))
    assert (found.field, found.message, found.suggestion) == (f"devices[0].{field}", message, suggestion)


def test_a_missing_list_says_how_many_it_needs(tmp_path: Path) -> None:
    text = "workshop: a\ndevices:\n  - {driver: modbus, name: b, host: c, tags: []}\n"
    assert said(problems(tmp_path, text)) == [(3, "devices[0].tags", "needs at least 1, has 0")]


def test_words_that_yaml_1_1_took_for_something_else_are_text_and_e_notation_is_a_number(tmp_path: Path) -> None:
    text = GOOD + "labels: [no, on, y, 22:30, 2026-11-24, 1_000]\nshift: 22:30\nlimit: 1e3\nlive: no\n"
    workshop = load(write(tmp_path, text), Workshop)
    assert workshop.labels == ("no", "on", "y", "22:30", "2026-11-24", "1_000")
    assert (workshop.shift, workshop.limit, workshop.live) == ("22:30", 1000, False)


def test_relative_paths_count_from_the_folder_of_the_file_and_defaults_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    file = write(tmp_path / "site", GOOD + "  # no more\n")
    monkeypatch.chdir(tmp_path)
    workshop = load(file.relative_to(tmp_path), Workshop)
    assert workshop.outbox == tmp_path / "site/run/outbox.db"
    assert workshop.store.path == tmp_path / "site/store.db"
    file.write_text(GOOD + "outbox: ../here.db\n")
    assert load(file, Workshop).outbox == tmp_path / "site/../here.db"
    file.write_text(GOOD + "outbox: /var/lib/there.db\n")
    assert load(file, Workshop).outbox == Path("/var/lib/there.db")


def test_an_alias_is_the_value_of_its_anchor_and_wrong_at_the_anchors_line(tmp_path: Path) -> None:
    text = """\
        workshop: hall-1
        devices:
          - driver: modbus
            name: one
            host: a
            tags: &tags
              - {name: x, address: 1}
              - {name: y, address: 1}
          - driver: modbus
            name: two
            host: b
            tags: *tags
        """
    assert said(problems(tmp_path, textwrap.dedent(text))) == [
        (8, "devices[0].tags[1].address", "overlaps x"),
        (8, "devices[1].tags[1].address", "overlaps x"),
    ]


def test_a_merge_key_is_refused_by_name(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD + "  more: {<<: 1, device: press, tag: pulses}\n")
    assert found.message == "unknown key"
    assert str(found.suggestion).startswith("merge keys are not read")


def test_a_key_that_stands_twice_is_refused_and_the_rest_checked(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("    name: press\n", "    name: press\n    name: again\n") + "live: x\n")
    assert said(found) == [
        (5, "devices[0].name", "stands here a second time; the first is in line 4"),
        (15, "live", "must be true or false, not x"),
    ]


def test_what_an_unknown_alias_or_tag_would_have_said_is_not_missed(tmp_path: Path) -> None:
    text = GOOD.replace("host: 127.0.0.1", "host: *nowhere").replace("address: 2", "address: !magic 2")
    assert said(problems(tmp_path, text)) == [
        (5, "devices[0].host", "*nowhere names no anchor above it"),
        (11, "devices[0].tags[1].address", "the tag !magic isn't known"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, "the file is empty"),
        ("# nothing yet\n", 0, "the file is empty"),
        ("---\n", 0, "the file is empty"),
        ("- a\n- b\n", 1, "the file must be a section, lines of `key: value`"),
        ("\n\njust words\n", 3, "the file must be a section, lines of `key: value`"),
        (b"workshop: a\nlabels: [\xff]\n", 2, "isn't UTF-8 (byte 0xFF)"),
        ("workshop: a\nlabels: [车间]\n".encode("gb18030"), 2, "isn't UTF-8 (byte 0xB3)"),
        ("workshop: a\n".encode("utf-16"), 0, "is UTF-16, not UTF-8"),
        (b"workshop: a\nlabels: [\x00]\n", 2, "a control character (U+0000) stands here"),
        ("workshop: a\nlabels: [a, b\n", 2, "']' or a comma is missing in what begins here (noticed in line 3)"),
        ("workshop: a\n\tlive: true\n", 2, "a tab stands in the indentation; YAML indents with spaces only"),
        ("#" * (16 * 1024 * 1024 + 1), 0, "is longer than 16 MiB"),
    ],
)
def test_a_file_that_is_no_document_is_refused_with_its_reason(
    tmp_path: Path, text: str | bytes, line: int, message: str
) -> None:
    assert said(problems(tmp_path, text)) == [(line, "", message)]


def test_a_file_in_gbk_is_recognised(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "workshop: a\nlabels: [车间]\n".encode("gb18030"))
    assert found.suggestion == "it looks like GBK: save it again as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert load(write(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()), Workshop).workshop == "hall-1"


def test_a_file_that_is_not_there_is_answered_with_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (found,) = problems_of(tmp_path / "workshp.yaml")
    assert (found.line, found.message, found.suggestion) == (0, "there is no such file", "did you mean workshop.yaml?")
    (found,) = problems_of(tmp_path / "no" / "workshop.yaml")
    assert found.suggestion == f"there is no folder {tmp_path / 'no'} either"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (found,) = problems_of(tmp_path)
    assert (found.message, found.suggestion) == ("is a folder, not a file", "name a file in it: workshop.yaml")


def test_a_problem_reads_as_file_line_field_message_and_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("host:", "hots:"))
    with pytest.raises(ConfigError) as caught:
        load(path, Workshop)
    assert str(caught.value) == f"{path}:5: devices[0].hots: unknown key (did you mean host?)"


def test_a_model_validator_of_the_whole_file_is_heard(tmp_path: Path) -> None:
    class Pair(Settings):
        """Two numbers."""

        low: int
        """The lower."""
        high: int
        """The higher."""

        def model_post_init(self, _: object) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "low: 3\nhigh: 2\n"), Pair)
    assert said(caught.value.problems) == [(1, "", "low is above high")]
