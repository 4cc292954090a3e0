"""`mumian simulate FILE`."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

import uvloop

from config.documents import load
from config.problems import ConfigError
from simulators.ledger import LedgerError
from simulators.listening import CannotListen
from simulators.plant_server import Endpoints, run
from simulators.settings import PlantSettings

EXIT_OK = 0
EXIT_CONFIGURATION = 2
EXIT_DISK = 4
EXIT_ADDRESS = 5


def simulate(path: Path, replay: Path | None = None) -> int:
    """Run the plant of a settings file until SIGTERM or Ctrl-C; `replay` is a recording to feed the bench instead of the file's.

    Prints one line of JSON with the endpoints once all servers listen.

    Returns:
        The exit code: 0 stopped in order, 2 the settings or the recording can't be used, 4 the ledger can't be written, 5 an
        address can't be had.
    """
    _quieten_libraries()
    try:
        settings = load(path, PlantSettings)
        if replay is not None:
            settings = settings.model_copy(update={"replay": replay.absolute()})
        uvloop.run(_until_signalled(settings))
    except ConfigError as error:
        return _fail(str(error), EXIT_CONFIGURATION)
    except LedgerError as error:
        return _fail(f"ledger {error}", EXIT_DISK)
    except CannotListen as error:
        return _fail(str(error), EXIT_ADDRESS)
    return EXIT_OK


async def _until_signalled(settings: PlantSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(settings, _announce, stop)


def _announce(endpoints: Endpoints) -> None:
    sys.stdout.write(json.dumps(endpoints) + "\n")
    sys.stdout.flush()


def _quieten_libraries() -> None:
    """What clients do wrong, or die of, is no business of the plant's operator; the libraries would tell it with stack traces."""
    for name in ("asyncua", "pymodbus", "pymodbus.logging", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
