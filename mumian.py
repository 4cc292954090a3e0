"""One door to Mumian: `mumian demo | gateway | pki | idnode | simulate | tree | proxy | record | verify | config`; only wiring.

Each command imports its room only when it is called, so that a gateway doesn't carry the idnode in memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gateway.device_commands import add_browse, add_identify, add_pki
from idnode.bulk.command import add_register_command
from idnode.business_commands import add_business_commands
from idnode.commands import add_store_commands
from simulators.tree.command import add_tree

VERSION = "0.1.0"
EXIT_OK = 0
EXIT_PROBLEM = 2
EXIT_READER_GONE = 141
"""A wrong command line (argparse's own code) or a file that can't be used as it is."""


def _gateway_run(arguments: argparse.Namespace) -> int:
    from gateway.cli import run

    return run(arguments.file, log_format=arguments.log_format)


def _gateway_check(arguments: argparse.Namespace) -> int:
    from gateway.cli import check

    return check(arguments.file, sys.stdout)


def _gateway_status(arguments: argparse.Namespace) -> int:
    from gateway.operations.standing import status

    return status(arguments.file, arguments.url, arguments.json, sys.stdout)


def _gateway_support_bundle(arguments: argparse.Namespace) -> int:
    from gateway.operations.bundle import support_bundle

    return support_bundle(arguments.file, arguments.target, arguments.log, sys.stdout)


def _gateway_outbox(arguments: argparse.Namespace) -> int:
    from gateway.outbox_cli import run

    return run(arguments, sys.stdout)


def _idnode_serve(arguments: argparse.Namespace) -> int:
    from config.documents import load
    from idnode.settings import IdnodeSettings
    from idnode.web.server import serve

    return serve(load(arguments.file, IdnodeSettings))


def _simulate(arguments: argparse.Namespace) -> int:
    from simulators.cli import simulate

    return simulate(arguments.file, arguments.replay)


def _proxy(arguments: argparse.Namespace) -> int:
    from simulators.control_proxy import ProxyOptions, run_proxy
    from simulators.toxics import Toxics

    toxics = Toxics(
        latency_s=arguments.latency_ms / 1000,
        jitter_s=arguments.jitter_ms / 1000,
        bytes_per_s=arguments.bytes_per_s,
        slice_bytes=arguments.slice_bytes,
        slice_pause_s=arguments.slice_pause_ms / 1000,
        limit_bytes=arguments.limit_bytes,
        slow_close_s=arguments.slow_close_ms / 1000,
    )
    return run_proxy(ProxyOptions(arguments.listen, arguments.target, toxics, arguments.control_port, arguments.seed))


def _record(arguments: argparse.Namespace) -> int:
    from simulators.recorder import RecordOptions, run_record

    return run_record(
        RecordOptions(arguments.address, arguments.file, arguments.blocks, arguments.unit, arguments.period_s, arguments.seconds)
    )


def _verify(arguments: argparse.Namespace) -> int:
    from simulators.verification import verify

    deadbands = _deadbands(arguments.config)
    verdict = verify(arguments.ledger, arguments.delivered, deadbands, collected=set(deadbands) or None)
    sys.stdout.write(json.dumps(verdict.as_json(), indent=2) + "\n" if arguments.json else verdict.as_text())
    return EXIT_OK if verdict.clean else 1


def _deadbands(path: Path | None) -> dict[tuple[str, str], float]:
    if path is None:
        return {}
    from config.documents import load
    from gateway.settings import GatewaySettings

    settings = load(path, GatewaySettings)
    return {(device.name, tag.name): tag.deadband for device in settings.devices for tag in device.tags}


def _demo(given: argparse.Namespace) -> int:
    from simulators.demo.run import DemoOptions, run_demo

    options = DemoOptions(
        seconds=given.seconds, broker=given.broker, replay=given.replay, report=given.report, folder=given.folder
    )
    return run_demo(options)


def _config_schema(arguments: argparse.Namespace) -> int:
    from config.schema import schema_text

    sys.stdout.write(schema_text(_settings_model(arguments.component)))
    return EXIT_OK


def _config_reference(_: argparse.Namespace) -> int:
    from config.reference import reference_text

    sys.stdout.write(reference_text({name: _settings_model(name) for name in COMPONENTS}))
    return EXIT_OK


COMPONENTS = ("gateway", "idnode", "plant")


def _settings_model(component: str):  # type: ignore[no-untyped-def]
    if component == "gateway":
        from gateway.settings import GatewaySettings as Model
    elif component == "idnode":
        from idnode.settings import IdnodeSettings as Model  # type: ignore[assignment]
    else:
        from simulators.settings import PlantSettings as Model  # type: ignore[assignment]
    return Model


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 30")
    return seconds


def _number(kind: type[int] | type[float], least: float, most: float = math.inf) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            bounds = f"from {least:g}" + (f" to {most:g}" if most < math.inf else "")
            raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' if kind is int else ''}number {bounds}")
        return value

    return number


def _broker(text: str) -> str | None:
    url = urlsplit(text)
    if text and (url.scheme != "mqtt" or not url.hostname):
        raise argparse.ArgumentTypeError(f"{text!r} is not a broker's address, such as mqtt://127.0.0.1:1883")
    return text or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mumian", description="Machines into data, products into identifiers.")
    parser.add_argument("--version", action="version", version=f"mumian {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="run the whole chain on this machine and judge it")
    demo.add_argument("--seconds", type=_seconds, default=None, help="stop after so long (default: at Ctrl-C)")
    demo.add_argument(
        "--broker", type=_broker, default=None, metavar="mqtt://HOST:PORT", help="use this broker, not the embedded one"
    )
    demo.add_argument("--replay", type=_path, default=None, metavar="CSV", help="feed the bench this recording")
    demo.add_argument("--report", type=_path, default=None, metavar="FILE", help="write the verdict as JSON")
    demo.add_argument("--folder", type=_path, default=None, help="where it keeps its files (default: run/demo-TIME)")
    demo.set_defaults(call=_demo)

    gateway = commands.add_parser("gateway", help="read machines, publish, make products").add_subparsers(
        required=True, metavar="COMMAND"
    )
    run = _file_command(gateway, "run", "run a gateway until SIGTERM or Ctrl-C", _gateway_run)
    run.add_argument("--log-format", choices=("text", "json"), default="text")
    _file_command(gateway, "check", "print the read plan, or every mistake in the file; touches no device", _gateway_check)

    add_identify(gateway)
    _outbox_commands(gateway)
    add_browse(gateway)
    _operations_commands(gateway)

    add_pki(commands)
    idnode = commands.add_parser("idnode", help="the identifier node").add_subparsers(required=True, metavar="COMMAND")
    _file_command(idnode, "serve", "serve until SIGTERM or Ctrl-C", _idnode_serve)
    add_store_commands(idnode)
    add_business_commands(idnode)
    add_register_command(idnode)

    simulate = _file_command(commands, "simulate", "run the virtual plant", _simulate)
    simulate.add_argument("--replay", type=_path, default=None, metavar="CSV", help="feed the bench this recording")

    add_tree(commands)
    _proxy_command(commands)
    _record_command(commands)

    verify = commands.add_parser("verify", help="compare a plant's ledger with what a subscriber received")
    verify.add_argument("ledger", type=Path)
    verify.add_argument("delivered", type=Path)
    verify.add_argument("--config", type=Path, default=None, help="the gateway's file, for the tags' deadbands")
    verify.add_argument("--json", action="store_true")
    verify.set_defaults(call=_verify)

    config = commands.add_parser("config", help="schemas and the settings reference").add_subparsers(
        required=True, metavar="COMMAND"
    )
    schema = config.add_parser("schema", help="print the JSON Schema of a component's file")
    schema.add_argument("component", choices=COMPONENTS)
    schema.set_defaults(call=_config_schema)
    config.add_parser("reference", help="print the settings reference").set_defaults(call=_config_reference)
    return parser


def _outbox_commands(gateway: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    outbox = gateway.add_parser("outbox", help="look into an outbox, export it, send again").add_subparsers(
        required=True, metavar="COMMAND", dest="outbox"
    )
    made = {}
    for name, summary in (
        ("info", "books, bytes, ages, where each sink stands; beside a running gateway"),
        ("list", "its records: seq, time, device, kind, bytes; beside a running gateway"),
        ("export", "its records as their consumers get them, JSON Lines; beside a running gateway"),
        ("import", "put a raw export back; the gateway must be stopped"),
        ("replay", "set a sink back, within what is stored; the gateway must be stopped"),
        ("quarantine", "records that can't be delivered; to release or delete one the gateway must be stopped"),
    ):
        made[name] = command = outbox.add_parser(name, help=summary)
        command.add_argument("file", type=Path, nargs="?", default=None, metavar="FILE", help="the outbox file")
        command.add_argument("--config", type=Path, default=None, metavar="FILE", help="or the gateway's file")
        command.set_defaults(call=_gateway_outbox)
    made["info"].add_argument("--json", action="store_true")
    for name in ("list", "export"):
        made[name].add_argument("--after", type=_number(int, 0), default=0, metavar="SEQ", help="only beyond this seq")
        made[name].add_argument("--limit", type=_number(int, 1), default=None, metavar="N", help="at most so many")
    made["import"].add_argument("--from", type=Path, required=True, dest="source", metavar="EXPORT", help="an export --raw")
    made["export"].add_argument("--raw", action="store_true", help="records as they are stored, base64")
    for command in made.values():
        command.add_argument("--gateway", default="", metavar="NAME", help="the gateway's name, for messages of a bare FILE")
    made["replay"].add_argument("--sink", required=True, metavar="NAME")
    made["replay"].add_argument("--seq", type=_number(int, 1), default=None, help="from this seq on")
    made["replay"].add_argument("--time", default=None, metavar="TIME", help="from what was stored then, ISO 8601 with zone")
    made["quarantine"].add_argument("action", nargs="?", choices=("list", "show", "release", "delete"), default="list")
    made["quarantine"].add_argument("--seq", type=_number(int, 1), default=None)


def _operations_commands(gateway: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = gateway.add_parser("status", help="how a running gateway does: 0 well, 1 something is wrong, 5 nobody answers")
    status.add_argument("file", type=Path, nargs="?", default=None, metavar="FILE", help="the gateway's file, on its machine")
    status.add_argument("--url", default=None, metavar="http://HOST:PORT", help="or its operations face")
    status.add_argument("--json", action="store_true")
    status.set_defaults(call=_gateway_status)
    bundle = _file_command(gateway, "support-bundle", "pack what a helper needs into a ZIP, no secrets", _gateway_support_bundle)
    bundle.add_argument("target", type=Path, metavar="OUT.zip", help="must not be there yet")
    bundle.add_argument("--log", type=Path, default=None, metavar="FILE", help="where the gateway's lines went, if to a file")


def _proxy_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    proxy = commands.add_parser("proxy", help="spoil the TCP connections to any server: slow, sliced, cut, silent")
    proxy.add_argument("listen", metavar="LISTEN", help="host:port of this machine's loopback; port 0 takes a free one")
    proxy.add_argument("target", metavar="TARGET", help="host:port of the server")
    for name in ("latency", "jitter", "slice-pause", "slow-close"):
        proxy.add_argument(f"--{name}-ms", type=_number(float, 0), default=0.0, metavar="MS")
    proxy.add_argument("--bytes-per-s", type=_number(float, 1), default=None, metavar="N", help="bandwidth")
    proxy.add_argument("--slice-bytes", type=_number(int, 1), default=None, metavar="N", help="most bytes in one piece")
    proxy.add_argument("--limit-bytes", type=_number(int, 0), default=None, metavar="N", help="close a connection after so many")
    proxy.add_argument(
        "--control-port", type=_number(int, 0, 65_535), default=None, metavar="PORT", help="change it all over HTTP as it runs"
    )
    proxy.add_argument("--seed", type=int, default=0, help="of the jitter")
    proxy.set_defaults(call=_proxy)


def _record_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    record = commands.add_parser("record", help="write a Modbus TCP device's answers down, for the plant to replay")
    record.add_argument("address", metavar="HOST:PORT", help="the device")
    record.add_argument("file", type=Path, metavar="FILE", help="written anew, JSON Lines")
    record.add_argument("blocks", nargs="+", metavar="BLOCK", help="such as hr:0+20: di, hr or ir; first address; how many")
    record.add_argument("--unit", type=_number(int, 0, 255), default=1, help="unit identifier (default: 1)")
    record.add_argument("--period-s", type=_number(float, 0.001), default=1.0, metavar="S", help="from poll to poll (default: 1)")
    record.add_argument(
        "--seconds", type=_number(float, 0.001), default=60.0, help="how long (default: 60); Ctrl-C ends it earlier"
    )
    record.set_defaults(call=_record)


def _file_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    call: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary)
    command.add_argument("file", type=Path, metavar="FILE")
    command.set_defaults(call=call)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (docs/exit-codes.md)."""
    from config.problems import ConfigError

    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.call(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end.
        return EXIT_READER_GONE
    except ConfigError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_PROBLEM
    return code


if __name__ == "__main__":
    sys.exit(main())
