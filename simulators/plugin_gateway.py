"""The user's gateway under test: the real process on a trial of its file, simulated devices, a broker, and a witness."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt import publish

from simulators.counterpart import Counterpart, counterpart_of
from simulators.demo.processes import Child
from simulators.demo.subscriber import Subscriber
from simulators.fleet import Fleet
from simulators.ledger import Ledger
from simulators.plugin_delivery import Delivered, Deliveries
from simulators.plugin_ledger import LedgerView
from simulators.plugin_loop import LoopThread
from simulators.plugin_site import Site, write_trial
from simulators.plugin_wire import Wire
from simulators.proxy import ChaosProxy
from simulators.verdict import Verdict
from simulators.verification import verify

_LOOK_S = 0.02
_START_S = _STOP_S = 30.0
_STARTS = " starts with "
"""The gateway's first line once it can be stopped in order: "hall-1 starts with 0 stored records in ..."."""


class SimulatedDevice(Wire):
    """The counterpart of a device, and the wire to it."""

    def __init__(self, loop: LoopThread, proxy: ChaosProxy, counterpart: Counterpart) -> None:
        super().__init__(loop, proxy)
        self._counterpart = counterpart

    @property
    def unknown_tags(self) -> tuple[str, ...]:
        """Tags that are served as zeros, and judged by nobody."""
        return self._counterpart.unknown

    def answer_exception(self, code: int) -> None:
        """Answer every read with this Modbus exception, until restore()."""
        self._counterpart.exception = code

    def restore(self) -> None:
        """The wire and the device are good again."""
        self._counterpart.exception = None
        super().restore()


class Gateway:
    """See the module's docstring. Construct, open(), close()."""

    def __init__(self, loop: LoopThread, site: Site, broker_url: str, folder: Path) -> None:
        self._loop = loop
        self._site = site
        self._broker_url = broker_url
        self._folder = folder
        self._stack = ExitStack()
        self._child: Child | None = None
        self._deliveries = Deliveries(folder / "delivered.db")
        self.devices: dict[str, SimulatedDevice] = {}
        """The simulated devices by name."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Devices of the file that have no counterpart: those that don't speak Modbus."""
        return self._site.left_out

    @property
    def log(self) -> str:
        """What the gateway has logged so far."""
        path = self._folder / "gateway.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def open(self) -> None:
        """Start devices, subscriber and gateway.

        Raises:
            AssertionError: the gateway didn't start; says what it logged.
        """
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all. Safe twice."""
        self._stack.close()

    def start(self) -> None:
        """Run the gateway, after stop() or kill() on the same outbox. Nothing happens if it runs.

        Raises:
            AssertionError: it didn't start; says what it logged.
        """
        if self._child is not None:
            if self._child.running():
                return
            self._child.kill()
        before, end = len(self.log), time.monotonic() + _START_S
        # A module `gateway` or `config` where pytest is called is the user's, not ours.
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        self._child = Child("gateway", ["gateway", "run", str(self._trial)], self._folder / "gateway.log", environment)
        while _STARTS not in self.log[before:]:
            self._demand_running()
            if time.monotonic() > end:
                raise AssertionError(f"the gateway did not start in {_START_S:g} s; it logged:\n{self.log[-2000:]}")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """End the gateway in order: it delivers what it has for `drain_s`. Nothing happens if it doesn't run.

        Raises:
            AssertionError: it didn't end well; says what it logged.
        """
        child, self._child = self._child, None
        if child is None:
            return
        code = child.stop(_STOP_S)
        self._wait_passed_on()
        if code:
            raise AssertionError(f"the gateway ended with code {code}:\n{self.log[-2000:]}")

    def kill(self) -> None:
        """End the gateway as a power cut would, if it runs; start() again to see what it kept."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def delivered(self, device: str | None = None, tag: str | None = None) -> list[Delivered]:
        """What arrived, in its order; of one device or tag, or of all. Repeats of a message are left out."""
        return [one for one in self._deliveries.so_far() if device in (None, one.device) and tag in (None, one.tag)]

    def wait_delivered(
        self,
        device: str,
        tag: str,
        condition: Callable[[Delivered], bool] = lambda reading: reading.value is not None,
        timeout_s: float = 30.0,
        after: int = 0,
    ) -> Delivered:
        """Return the first reading of a tag, beyond the first `after`, that fulfils the condition (by default: that isn't Bad).

        Raises:
            AssertionError: none in time, or the gateway ended.
            ValueError: there is no such tag.
        """
        self._demand_known(device, tag)
        end = time.monotonic() + timeout_s
        while True:
            found = next((one for one in self.delivered(device, tag)[after:] if condition(one)), None)
            if found is not None:
                return found
            self._demand_running()
            if time.monotonic() > end:
                raise AssertionError(
                    f"no such reading of {device}.{tag} in {timeout_s:g} s; the gateway logged:\n{self.log[-2000:]}"
                )
            time.sleep(_LOOK_S)

    def wait_all_delivered(self, timeout_s: float = 30.0) -> None:
        """Return once every tag of every simulated device has arrived with a value.

        Raises:
            AssertionError: not in time; names the tags that are missing. Or the gateway ended.
        """
        wanted = set(self._site.deadbands())
        end = time.monotonic() + timeout_s
        while missing := wanted - {(one.device, one.tag) for one in self.delivered() if one.value is not None}:
            self._demand_running()
            if time.monotonic() > end:
                names = ", ".join(sorted(f"{device}.{tag}" for device, tag in missing))
                raise AssertionError(f"without a value after {timeout_s:g} s: {names}; the gateway logged:\n{self.log[-2000:]}")
            time.sleep(_LOOK_S)

    def verdict(self) -> Verdict:
        """Stop the gateway, and judge what it delivered against what its devices served (docs/simulators.md).

        Raises:
            AssertionError: it didn't end well.
        """
        self.stop()
        self.ledger.served()
        known = {
            (name, tag["name"])
            for (name, device), entry in zip(self.devices.items(), self._site.devices, strict=True)
            for tag in entry["tags"]
            if tag["name"] not in device.unknown_tags
        }
        return verify(self.ledger.path, self._deliveries.path, self._site.deadbands(), known)

    def assert_nothing_lost(self) -> None:
        """Stop the gateway, and demand that each reading it took arrived, unaltered and in order.

        Raises:
            AssertionError: says what is lost, altered or out of order; or that nothing was delivered at all.
        """
        verdict = self.verdict()
        if not verdict.delivered:
            raise AssertionError(f"nothing was delivered; the gateway logged:\n{self.log[-2000:]}")
        if not verdict.clean:
            raise AssertionError(verdict.as_text())

    def _open(self) -> None:
        ledger = self._stack.enter_context(Ledger(self._folder / "ledger.db", seed=0))
        self.ledger = LedgerView(ledger)
        counterparts = [counterpart_of(device, ledger, time.time_ns) for device in self._site.devices]
        fleet = Fleet(counterparts)
        self._stack.callback(lambda: self._loop.run(fleet.stop()))
        for counterpart, address in zip(counterparts, self._loop.run(fleet.start()), strict=True):
            host, port = address.rsplit(":", 1)
            proxy = self._loop.call(ChaosProxy, (host, int(port)))
            self._stack.callback(self._stop_proxy, proxy)
            self._loop.run(proxy.start())
            self.devices[counterpart.name] = SimulatedDevice(self._loop, proxy, counterpart)
        addresses = {name: device.address for name, device in self.devices.items()}
        self._trial = write_trial(self._site, addresses, self._broker_url, self._folder)
        self._subscriber = Subscriber(self._deliveries.path, self._broker_url, "#", f"mumian-plugin-{time.time_ns():x}")
        self._stack.callback(self._subscriber.stop)
        self._subscriber.start(_STOP_S)
        self._stack.callback(self.kill)
        self.start()

    def _stop_proxy(self, proxy: ChaosProxy) -> None:
        self._loop.run(proxy.stop())

    def _wait_passed_on(self) -> None:
        """Return once the broker has passed on all that it acknowledged: a message behind it has come."""
        before, end = self._subscriber.foreign, time.monotonic() + _STOP_S
        url = urlsplit(self._broker_url)
        publish.single("mumian-plugin/end", "", 1, hostname=url.hostname or "", port=url.port or 0, protocol=mqtt.MQTTv5)
        while self._subscriber.foreign == before:
            if time.monotonic() > end:
                raise AssertionError(f"the broker has not passed on what it holds in {_STOP_S:g} s")
            time.sleep(_LOOK_S)

    def _demand_known(self, device: str, tag: str) -> None:
        known = self._site.deadbands()
        if (device, tag) not in known:
            names = ", ".join(f"{device}.{tag}" for device, tag in known)
            raise ValueError(f"no simulated tag {device}.{tag}; there are {names}")

    def _demand_running(self) -> None:
        if self._child is not None and not self._child.running():
            raise AssertionError(f"the gateway ended by itself:\n{self.log[-2000:]}")
