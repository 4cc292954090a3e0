"""The demo in the terminal: a live picture where there is one, a line now and then where there is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulators.demo.registration import load_json
from simulators.demo.site import Site
from simulators.demo.verdict import Report

_REFRESH_S = 0.5
_LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at the chain."""

    status: Mapping[str, Any]
    """The gateway's status file; {} until it has written one."""
    urls: Mapping[str, str]
    received: int
    repeated: int

    @classmethod
    def read(cls, site: Site, urls: Mapping[str, str], received: int, repeated: int) -> Progress:
        """Take the look."""
        return cls(load_json(site.outbox.with_name(site.outbox.name + ".status.json")), urls, received, repeated)

    @property
    def devices(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.status.get("devices", {})
        return found

    @property
    def outbox(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.status.get("outbox", {})
        return found

    @property
    def products(self) -> int:
        return sum(int(rule.get("made", 0)) for rule in self.status.get("products", {}).values())

    @property
    def links(self) -> Mapping[str, str]:
        """Where to click: the parts of the chain, and the page of the newest product."""
        made = [rule["identifier"] for rule in self.status.get("products", {}).values() if rule.get("identifier")]
        return {**self.urls, "product": f"{self.urls['idnode']}/{made[-1]}"} if made else self.urls


def show(looks: Iterator[Progress], seconds: float | None, stop: threading.Event) -> None:
    """Show the chain until `stop` is set or `seconds` are over."""
    console = Console()
    began = time.monotonic()
    deadline = began + seconds if seconds is not None else None

    def running() -> bool:
        wait_s = _REFRESH_S if deadline is None else min(_REFRESH_S, max(0.0, deadline - time.monotonic()))
        return not stop.wait(wait_s) and (deadline is None or time.monotonic() < deadline)

    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while running():
                live.update(_picture(next(looks), time.monotonic() - began, seconds))
        return
    next_line = began
    while running():
        look = next(looks)
        if time.monotonic() >= next_line:
            console.print(_line(look, time.monotonic() - began), soft_wrap=True, highlight=False)
            next_line += _LINE_EVERY_S


def tell_verdict(report: Report, folder: Path) -> None:
    """Print the verdict, what was found, and where to look."""
    console = Console()
    table = Table(
        title="PASSED 通过" if report.passed else "FAILED 未通过",
        title_style="bold green" if report.passed else "bold red",
    )
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in (
        ("read 读取", report.read),
        ("delivered 送达", report.delivered),
        ("filtered (within deadband) 死区内", report.filtered),
        ("lost 丢失", report.lost),
        ("repeated 重复", report.repeated),
        ("altered 篡改", report.altered),
        ("products made 产品", report.products),
        ("identifiers resolvable 可解析标识", report.resolvable),
        ("age p50 / p99 时延 (ms)", f"{_ms(report.age_ms_p50)} / {_ms(report.age_ms_p99)}"),
    ):
        table.add_row(name, str(value))
    console.print(table)
    for finding in report.findings[:20]:
        console.print(f"  {finding}", style="red", highlight=False, soft_wrap=True)
    if report.example_identifier:
        console.print(f"last product 最近产品: {report.example_identifier}", highlight=False)
    console.print(f"files 文件: {folder}", highlight=False, soft_wrap=True)


def _ms(age: float | None) -> str:
    return "-" if age is None else f"{age:.0f}"


def _line(look: Progress, elapsed_s: float) -> str:
    devices = ", ".join(f"{name} {device.get('state', '?')}" for name, device in look.devices.items()) or "starting"
    return (
        f"{elapsed_s:5.0f} s  {devices}; outbox {look.outbox.get('stored', 0)}; received {look.received} messages, "
        f"repeated {look.repeated}; products {look.products}; {look.urls['idnode']}"
    )


def _picture(look: Progress, elapsed_s: float, seconds: float | None) -> Group:
    devices = Table(expand=True, title="devices 设备", title_justify="left")
    for heading in ("name 名称", "state 状态", "readings/s 读数", "late 迟到", "skipped 跳过"):
        devices.add_column(heading)
    for name, device in look.devices.items():
        state = str(device.get("state", "?"))
        devices.add_row(
            name,
            Text(state, style="green" if state == "online" else "red"),
            f"{device.get('readings_per_s', 0):.0f}",
            str(device.get("late", 0)),
            str(device.get("skipped", 0)),
        )
    sinks = Table(expand=True, title="northbound 北向", title_justify="left")
    for heading in ("name 名称", "state 状态", "waiting 待发", "in flight 在途"):
        sinks.add_column(heading)
    for name, sink in look.status.get("sinks", {}).items():
        state = str(sink.get("state", "?"))
        sinks.add_row(
            name,
            Text(state, style="green" if state == "online" else "red"),
            str(sink.get("depth", 0)),
            str(sink.get("in_flight", 0)),
        )
    links = Table.grid(padding=(0, 2))
    for name, url in look.links.items():
        links.add_row(name, Text(url, style=f"link {url}" if url.startswith("http") else ""))
    remaining = f" / {seconds:.0f}" if seconds is not None else ""
    counts = Text(
        f"outbox 发件箱 {look.outbox.get('stored', 0)}   received 收到 {look.received}   repeated 重复 {look.repeated}   "
        f"products 产品 {look.products}"
    )
    title = f"木棉 Mumian  {elapsed_s:.0f}{remaining} s  (Ctrl-C: stop and judge 停止并核对)"
    return Group(Panel(Group(devices, sinks, counts), title=title), Panel(links, title="where to click 地址"))
