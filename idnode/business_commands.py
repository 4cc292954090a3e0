"""`mumian idnode applications | enterprises | prefixes | keys | templates | identifiers | upward`: the business of a node, from
wherever its API can be reached.

Thin: each command is one request, whose answer it prints as JSON. The node's address and the file with the key come from
--url and --key-file, or from MUMIAN_NODE and MUMIAN_KEY_FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

EXIT_OK = 0
EXIT_PROBLEM = 2
"""The node refused, a file can't be used, or the command line is incomplete."""
EXIT_NOBODY = 5
"""Nobody answers there, or the node can't answer now."""
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _Verb:
    """A command: its request, and what of the command line goes where."""

    summary: str
    method: str
    path: str
    """Positional arguments stand in braces."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Option → its help; goes into the body under the same name. One that ends in ! has to be there, in # is a number, in @ names
    the file with the text."""
    asks: Mapping[str, str] = field(default_factory=dict)
    """The same for the query."""
    is_list: bool = False
    takes_file: bool = False
    """Whether the body is in a file that is named."""
    shows_key: bool = False
    """Whether the answer may have a token or a secret, which --write-key puts into a file."""

    @property
    def has_body(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH")


_MARKS = "!#@"
_REASON = {"reason": "why; kept, and shown"}
_TERMS = {"quota#": "the most identifiers", "expires": "from when on nothing is registered, ISO 8601 with zone"}
_NAME = {"zh!": "name in Chinese", "en!": "name in English"}
_CONTACT = {"contact!": "name of whom to ask", "email!": "their address", "phone": "their number"}
_E = "/v1/enterprises"
_P = "/v1/prefixes/{prefix}"
_T = "/v1/templates/{prefix}/{name}/{version}"
_I = "/v1/identifiers"
_PAIR = "{prefix}/{suffix}"
"""Of an identifier's address, which is one word of the command line."""
VERBS: Mapping[tuple[str, str], _Verb] = {
    ("applications", "send"): _Verb("apply, for anyone", "POST", "/v1/applications", {"id!": "wanted", **_NAME, **_CONTACT}),
    ("applications", "list"): _Verb(
        "those that wait", "GET", "/v1/applications", asks={"decision": "pending, approved or refused"}, is_list=True
    ),
    ("applications", "show"): _Verb("one, and what was decided", "GET", "/v1/applications/{application}"),
    ("applications", "approve"): _Verb(
        "give prefix and first key", "POST", "/v1/applications/{application}/approve", {**_TERMS, **_REASON}, shows_key=True
    ),
    ("applications", "refuse"): _Verb(
        "with a reason", "POST", "/v1/applications/{application}/refuse", {"reason!": "the applicant sees it"}
    ),
    ("enterprises", "list"): _Verb("all that the key may see", "GET", _E, is_list=True),
    ("enterprises", "show"): _Verb("one", "GET", f"{_E}/{{enterprise}}"),
    ("enterprises", "add"): _Verb("without an application", "POST", _E, {"id!": "its id", **_NAME}),
    ("enterprises", "set"): _Verb("change quota or expiry", "PATCH", f"{_E}/{{enterprise}}", _TERMS),
    ("enterprises", "suspend"): _Verb("for a while", "POST", f"{_E}/{{enterprise}}/suspend", _REASON),
    ("enterprises", "resume"): _Verb("end a suspension", "POST", f"{_E}/{{enterprise}}/resume", _REASON),
    ("enterprises", "close"): _Verb("for ever", "POST", f"{_E}/{{enterprise}}/close", _REASON),
    ("enterprises", "history"): _Verb("every version", "GET", f"{_E}/{{enterprise}}/history", is_list=True),
    ("enterprises", "usage"): _Verb(
        "by day", "GET", f"{_E}/{{enterprise}}/usage", asks={"first": "day", "last": "day"}, is_list=True
    ),
    ("prefixes", "list"): _Verb("of an enterprise", "GET", f"{_E}/{{enterprise}}/prefixes", is_list=True),
    ("prefixes", "show"): _Verb("whose it is and was", "GET", _P),
    ("prefixes", "grant"): _Verb(
        "give a further one",
        "POST",
        f"{_E}/{{enterprise}}/prefixes",
        {"prefix": "such as gs1:9506000; without it the next one of the node", **_REASON},
    ),
    ("prefixes", "transfer"): _Verb("to another enterprise", "POST", f"{_P}/transfer", {"to!": "the enterprise", **_REASON}),
    ("prefixes", "delegate"): _Verb(
        "to the enterprise's own node",
        "PUT",
        f"{_P}/delegation",
        {"mode!": "referral or proxy", "address!": "of that node", "ttl#": "seconds for which answers are kept"},
    ),
    ("keys", "list"): _Verb("of an enterprise", "GET", f"{_E}/{{enterprise}}/tokens", is_list=True),
    ("keys", "add"): _Verb(
        "make one",
        "POST",
        f"{_E}/{{enterprise}}/tokens",
        {"label!": "its name", "role!": "owner, gateway, registrar or reader", "expires": "when, ISO 8601 with zone"},
        shows_key=True,
    ),
    ("keys", "revoke"): _Verb("end one, at once", "DELETE", f"{_E}/{{enterprise}}/tokens/{{label}}"),
    ("handle-keys", "list"): _Verb("of an enterprise", "GET", f"{_E}/{{enterprise}}/handle-keys", is_list=True),
    ("handle-keys", "add"): _Verb(
        "make one",
        "POST",
        f"{_E}/{{enterprise}}/handle-keys",
        {
            "label!": "its name",
            "role!": "owner, gateway, registrar or reader",
            "prefix": "of handles; without it the enterprise's first",
            "index#": "in the prefix's handle; without it the next from 300 on",
            "public-key@": "file with a public key in PEM; without it the node makes a secret one",
            "expires": "when, ISO 8601 with zone",
        },
        shows_key=True,
    ),
    ("handle-keys", "revoke"): _Verb("end one, at once", "DELETE", f"{_E}/{{enterprise}}/handle-keys/{{prefix}}/{{index}}"),
    ("templates", "list"): _Verb("of a prefix", "GET", "/v1/templates", asks={"prefix!": "whose"}),
    ("templates", "write"): _Verb("draft the next version", "POST", "/v1/templates", takes_file=True),
    ("templates", "publish"): _Verb("a draft, for ever", "POST", f"{_T}/publish"),
    ("templates", "withdraw"): _Verb("take no more by it", "POST", f"{_T}/withdraw"),
    ("identifiers", "list"): _Verb(
        "of a prefix", "GET", _I, asks={"prefix!": "whose", "state": "reserved, active, suspended or retired"}, is_list=True
    ),
    ("identifiers", "show"): _Verb("what one means", "GET", f"{_I}/{{prefix}}/{{suffix}}"),
    ("identifiers", "register"): _Verb("one, or up to 2000", "POST", _I, takes_file=True),
    ("identifiers", "move"): _Verb(
        "to another state",
        "PATCH",
        f"{_I}/{{prefix}}/{{suffix}}",
        {"state!": "active, suspended or retired (for ever)", **_REASON},
    ),
    ("upward", "status"): _Verb("what waits, and whether the top-level node is reached", "GET", "/v1/upward"),
    ("upward", "refused"): _Verb("reports that it refused, and why", "GET", "/v1/upward/refused", is_list=True),
    ("upward", "retry"): _Verb("send refused ones again", "POST", "/v1/upward/retry", {"sequence#": "this one only"}),
    ("upward", "begin-anew"): _Verb("a new epoch: all is reported afresh", "POST", "/v1/upward/begin-anew"),
}
_NOUNS = {
    "templates": "what an enterprise's records are made by",
    "identifiers": "registered, and their states",
    "upward": "reports to the top-level node",
    "applications": "who wants to become an enterprise of the node",
    "enterprises": "the members of the node, and their life",
    "prefixes": "which enterprise owns what",
    "keys": "of an enterprise's people and machines",
    "handle-keys": "of an enterprise's Handle clients",
}


def add_business_commands(idnode: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them below `mumian idnode`."""
    nouns = {
        noun: idnode.add_parser(noun, help=summary).add_subparsers(required=True, metavar="COMMAND")
        for noun, summary in _NOUNS.items()
    }
    for (noun, name), verb in VERBS.items():
        command = nouns[noun].add_parser(name, help=verb.summary)
        for argument in _arguments(verb.path):
            command.add_argument(argument, metavar=argument.upper())
        if verb.takes_file:
            command.add_argument("file", type=Path, metavar="FILE", help="the body of the request, JSON; - is standard input")
        for option, summary in {**verb.options, **verb.asks}.items():
            kind = {"#": int, "@": Path}.get(option[-1], str)
            command.add_argument(
                f"--{option.rstrip(_MARKS)}", required=option.endswith("!"), type=kind, default=None, help=summary
            )
        if verb.shows_key:
            command.add_argument("--write-key", type=Path, default=None, metavar="FILE", help="the new key goes there, mode 0600")
        command.add_argument("--url", default=None, metavar="URL", help="the node (or MUMIAN_NODE)")
        command.add_argument("--key-file", type=Path, default=None, metavar="FILE", help="with the key (or MUMIAN_KEY_FILE)")
        command.set_defaults(call=run, verb=verb)


def _arguments(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.replace(_PAIR, "{identifier}").split("{")[1:]]


class Refused(Exception):
    """The command can't be done; the message is for people."""

    def __init__(self, message: str, code: int = EXIT_PROBLEM) -> None:
        super().__init__(message)
        self.code = code


def run(arguments: argparse.Namespace) -> int:
    """Make the request and print its answer; returns the exit code."""
    verb: _Verb = arguments.verb
    try:
        answer = list(_pages(arguments, verb)) if verb.is_list else _one(arguments, verb)
    except Refused as refusal:
        sys.stderr.write(f"mumian idnode: {refusal}\n")
        return refusal.code
    if answer is not None:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return EXIT_OK


def _one(arguments: argparse.Namespace, verb: _Verb) -> Any:
    target: Path | None = getattr(arguments, "write_key", None)
    if target is not None and target.exists():
        raise Refused(f"{target} is there already / 文件已存在")
    answer, _ = _ask(arguments, verb, _path(arguments, verb))
    shown = answer.pop("token", None) or answer.pop("secret", None) if target is not None else None
    if target is not None and shown is not None:
        _write_key(target, shown)
    return answer


def _pages(arguments: argparse.Namespace, verb: _Verb) -> Iterator[Any]:
    following: str | None = _path(arguments, verb)
    while following is not None:
        answer, following = _ask(arguments, verb, following)
        yield from answer


def _path(arguments: argparse.Namespace, verb: _Verb) -> str:
    path = verb.path.replace(_PAIR, "{identifier}")
    named = {name: getattr(arguments, name) for name in _arguments(path)}
    path = path.format(
        **{name: _identifier(text) if name == "identifier" else quote(text, safe=":") for name, text in named.items()}
    )
    asked = [
        f"{name}={quote(value)}" for each in verb.asks if (value := getattr(arguments, name := each.rstrip(_MARKS))) is not None
    ]
    return path + ("?" + "&".join(asked) if asked else "")


def _identifier(text: str) -> str:
    """Its part of an address; nobody on the way may take a step up for one."""
    return "/".join(part.replace(".", "%2E") if part in (".", "..") else quote(part, safe=":") for part in text.split("/"))


def _body(arguments: argparse.Namespace, verb: _Verb) -> Any:
    if verb.takes_file:
        return _read_body(arguments.file)
    given = {(name := each.rstrip(_MARKS).replace("-", "_")): getattr(arguments, name) for each in verb.options}
    body = {name: _text(value) if isinstance(value, Path) else value for name, value in given.items() if value is not None}
    if "zh" in body:
        body["name"] = {"zh": body.pop("zh"), "en": body.pop("en")}
    if "contact" in body:
        body["contacts"] = [{"name": body.pop("contact"), "email": body.pop("email"), "phone": body.pop("phone", "")}]
    return body


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {error}") from error


def _read_body(file: Path) -> Any:
    try:
        return json.loads(sys.stdin.buffer.read() if file == Path("-") else file.read_bytes())
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{file} is no JSON: {error} / 不是 JSON") from error


def _ask(arguments: argparse.Namespace, verb: _Verb, path: str) -> tuple[Any, str | None]:
    """The answer, and where the next page is."""
    import httpx

    url = (arguments.url or os.environ.get("MUMIAN_NODE", "")).rstrip("/")
    if not url:
        raise Refused("which node? --url http://HOST:PORT or MUMIAN_NODE / 请用 --url 或 MUMIAN_NODE 指明节点")
    headers = key_header(arguments)
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.request(verb.method, path, json=_body(arguments, verb) if verb.has_body else None, headers=headers)
            content = answer.json() if answer.content else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{url} doesn't answer as a node does: {error} / 节点无响应", EXIT_NOBODY) from error
    if not answer.is_success:
        detail = content.get("detail") if isinstance(content, dict) else None
        raise Refused(f"{answer.status_code}: {detail}", EXIT_NOBODY if answer.is_server_error else EXIT_PROBLEM)
    following = answer.links.get("next", {}).get("url")
    return content, following


def key_header(arguments: argparse.Namespace) -> dict[str, str]:
    """The header that says who asks; none where no key is named.

    Raises:
        Refused: the key can't be read, or others can read it.
    """
    named = arguments.key_file or os.environ.get("MUMIAN_KEY_FILE")
    if not named:
        return {}
    path = Path(named)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        key = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: {error}") from error
    if mode & 0o077:
        raise Refused(f"{path}: others can read it (mode {mode:04o}); chmod 600 {path} / 其他用户可读")
    return {"Authorization": f"Bearer {key}"}


def _write_key(target: Path, key: str) -> None:
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(key + "\n")
    except OSError as error:
        # The node shows it once only.
        raise Refused(f"{target}: {error.strerror}; the key is {key}") from error
