"""The pytest plugin: a virtual plant per test, and `pytest --mumian-config site.yaml` for a gateway file of one's own.

Found by pytest through its entry point wherever mumian is installed, so this module loads nothing but pytest; the rest comes with
the first fixture that is used. docs/testing.md says how to use it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulators.plugin_gateway import Gateway
    from simulators.plugin_loop import LoopThread
    from simulators.plugin_plant import Plant
    from simulators.plugin_site import Site


_OURS = ("config", "drivers", "simulators")
"""Rooms that the fixtures import, by names that a user's own modules may have too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """--mumian-config"""
    group = parser.getgroup("mumian")
    group.addoption("--mumian-config", type=Path, metavar="FILE", help="the gateway file that mumian_gateway runs")


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line("markers", "mumian_plant(**settings): settings of the virtual plant that differ (docs/settings.md)")


@pytest.fixture(scope="session")
def mumian_loop() -> Iterator[LoopThread]:
    """The thread in which everything simulated runs."""
    _demand_own_rooms()
    from simulators.plugin_loop import LoopThread

    loop = LoopThread()
    try:
        yield loop
    finally:
        loop.close()


@pytest.fixture
def mumian_plant(request: pytest.FixtureRequest, mumian_loop: LoopThread, tmp_path: Path) -> Iterator[Plant]:
    """A fresh virtual plant on free ports; the marker mumian_plant(faults=[...], seed=7) changes its settings."""
    from simulators.plugin_plant import Plant, plant_settings

    marker = request.node.get_closest_marker("mumian_plant")
    folder = tmp_path / "mumian-plant"
    try:
        settings = plant_settings(folder, marker.kwargs if marker else {})
    except ValueError as error:
        pytest.fail(f"mumian_plant of {request.node.nodeid}: {error}", pytrace=False)
    plant = Plant(mumian_loop, settings)
    plant.open()
    try:
        yield plant
    finally:
        plant.close()


@pytest.fixture(scope="session")
def mumian_broker() -> Iterator[str]:
    """An MQTT 5 broker on the loopback; its mqtt:// address."""
    from simulators.demo.brokers import embedded_broker

    with embedded_broker() as url:
        yield url


@pytest.fixture(scope="session")
def mumian_site(pytestconfig: pytest.Config) -> Site:
    """The file of --mumian-config, checked by the gateway itself. Fails the test with every mistake in it."""
    _demand_own_rooms()
    from simulators.plugin_site import Unusable, read_site

    path: Path | None = pytestconfig.getoption("--mumian-config")
    if path is None:
        pytest.fail("which gateway? run pytest with --mumian-config FILE", pytrace=False)
    path = pytestconfig.invocation_params.dir / path
    # -P: a folder `config` or `gateway` where pytest is called is the user's, not ours.
    check = [sys.executable, "-P", "-m", "mumian", "gateway", "check", str(path)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    if checked.returncode:
        pytest.fail(f"{path} can't be used:\n{checked.stdout}{checked.stderr}", pytrace=False)
    try:
        return read_site(path)
    except Unusable as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def mumian_gateway(mumian_site: Site, mumian_loop: LoopThread, mumian_broker: str, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway of --mumian-config, running, its Modbus devices simulated from their tags; what it delivers is written down."""
    from simulators.plugin_gateway import Gateway

    folder = tmp_path / "mumian-gateway"
    folder.mkdir()
    gateway = Gateway(mumian_loop, mumian_site, mumian_broker, folder)
    gateway.open()
    try:
        yield gateway
    finally:
        gateway.close()


def _demand_own_rooms() -> None:
    """Fail when a module of the user's hides one of ours, which would be told by an error that nobody understands."""
    home = Path(__file__).resolve().parents[1]
    for name in _OURS:
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
        if origin is None or not origin.is_relative_to(home):
            where = origin or "a folder without __init__.py"
            pytest.fail(
                f"`{name}` is {where}, which hides mumian's module of that name; call pytest by its name (python -m pytest looks "
                "into the folder where it is called) with --import-mode=importlib, or put yours into a package",
                pytrace=False,
            )
