"""What reading over Modbus TCP costs: our driver beside a C client on libmodbus and beside a bare Protocol, in turn.

    python -m benchmarks.modbus [--json] [--rounds N] [--requests N] [--seconds S] [--devices N]

| key | what | target |
|---|---|---|
| cpu_vs_libmodbus_1 | CPU per FC 3 request of 125 registers, link and decode, against the C client's; one outstanding | 1.5 |
| cpu_vs_libmodbus_8 | the same with eight outstanding; the C client can only have one | 0.5 |
| cores_1000x10 | cores for 1,000 devices polled 10 times a second, 125 registers each, link and decode | 0.6 |
| late_ms_p99_1000x10 | from the due time of a poll to its decoded answer | 50 |
| decode_us_125 | 125 registers of mixed tags into columns | 20 |
| requests_1000_gapped | requests for 1,000 float32 with holes of ten registers | 91 |

The server is C throughout (modbus_server.c), the same for both sides of a ratio, on a core of its own; ratios are of medians over
the rounds. CPU is user and system time of the reading process alone. Run it on a quiet machine: whoever else uses the readers'
core spoils the lateness, and a C client that finds its answer waiting costs a third. Needs gcc and Debian's libmodbus-dev;
without them it says so and ends with 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.modbus_native import NativeAbsent, Programs, build, client_cpu_us, on_core, serving
from drivers.modbus.codec import decode
from drivers.modbus.plan import ModbusReadPlan, compile_device
from drivers.modbus.settings import ModbusSettings

_DECODES = 2000
_MIX: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"type": "float32", "order": "CDAB"}, 2, ">f"),
    ({"type": "int16", "scale": 0.1}, 1, ">h"),
    ({"type": "uint32"}, 2, ">I"),
    ({"type": "uint16"}, 1, ">H"),
    ({"type": "float64"}, 4, ">d"),
    ({"type": "bool", "bit": 3}, 1, ">H"),
    ({"type": "int32", "order": "BADC"}, 2, ">i"),
    ({"type": "uint64"}, 4, ">Q"),
    ({"type": "float32", "order": "DCBA", "scale": 2.0, "offset": 1.0}, 2, ">f"),
)


def _device(tags: list[dict[str, Any]]) -> ModbusSettings:
    return ModbusSettings.model_validate({"name": "d", "driver": "modbus", "address": "127.0.0.1", "tags": tags})


def _plan(settings: ModbusSettings) -> ModbusReadPlan:
    plan = compile_device(settings).scans[0].plan
    assert isinstance(plan, ModbusReadPlan)
    return plan


def requests_gapped() -> int:
    """Requests for 1,000 float32, ten unused registers after each."""
    tags = [{"name": f"f{n}", "area": "holding_register", "address": 12 * n, "type": "float32"} for n in range(1000)]
    return len(_plan(_device(tags)).requests())


def _mixed() -> tuple[ModbusReadPlan, list[tuple[str, int]]]:
    """A plan over 125 registers of every type, and (struct, byte) of each of its values."""
    tags: list[dict[str, Any]] = []
    places: list[tuple[str, int]] = []
    address = 0
    while address < 125:
        tag, width, form = _MIX[len(tags) % len(_MIX)]
        if address + width > 125:
            tag, width, form = _MIX[3]
        tags.append({"name": f"t{len(tags)}", "area": "holding_register", "address": address, **tag})
        places.append((form, 2 * address))
        address += width
    return _plan(_device(tags)), places


def _time_us(call: Callable[[], object]) -> float:
    call()
    begin = time.perf_counter()
    for _ in range(_DECODES):
        call()
    return (time.perf_counter() - begin) / _DECODES * 1e6


def decoding_us(rounds: int) -> tuple[float, float, int]:
    """(ours, `struct` value by value without status, orders or bits, how many tags); best of rounds, in turn."""
    plan, places = _mixed()
    # 0x3f.. in every register: a plain number in all types and byte orders, never a NaN.
    image = bytes([0x3F] * 250)
    ours, reference = [], []
    for _ in range(rounds):
        ours.append(_time_us(lambda: decode(plan.layout, image, "d", 0)))
        reference.append(_time_us(lambda: [(struct.unpack_from(form, image, at)[0], 0) for form, at in places]))
    return min(ours), min(reference), len(places)


def _reader(*words: object) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.modbus_reader", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _median(rows: list[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def cpu_per_request(programs: Programs, rounds: int, requests: int) -> dict[str, float]:
    """The C client and our driver with one and with eight outstanding, in turn against one server."""
    c_us: list[float] = []
    ours: dict[int, list[dict[str, float]]] = {1: [], 8: []}
    with serving(programs) as port:
        for _ in range(rounds):
            c_us.append(client_cpu_us(programs, port, requests))
            for outstanding, rows in ours.items():
                with on_core(-1):
                    rows.append(_reader("driver", port, outstanding, requests))
    c = statistics.median(c_us)
    one, eight = _median(ours[1], "cpu_us"), _median(ours[8], "cpu_us")
    return {
        "cpu_vs_libmodbus_1": round(one / c, 2),
        "cpu_vs_libmodbus_8": round(eight / c, 2),
        "cpu_us_libmodbus": round(c, 1),
        "cpu_us_1": round(one, 1),
        "cpu_us_8": round(eight, 1),
        "requests_per_s_8": round(_median(ours[8], "requests_per_s")),
    }


def many_devices(programs: Programs, rounds: int, devices: int, seconds: float) -> dict[str, float]:
    """A fleet through the driver and through a bare Protocol, in turn against one server."""
    rows: dict[str, list[dict[str, float]]] = {"fleet": [], "bare": []}
    with serving(programs) as port:
        for _ in range(rounds):
            for mode, found in rows.items():
                found.append(_reader(mode, port, devices, 100, seconds))
    fleet, bare = rows["fleet"], rows["bare"]
    return {
        "cores_1000x10": round(_median(fleet, "cores"), 2),
        "late_ms_p99_1000x10": round(_median(fleet, "late_ms_p99"), 1),
        "polls_done_1000x10": round(_median(fleet, "share_of_polls"), 4),
        "bare_cores_1000x10": round(_median(bare, "cores"), 2),
        "bare_late_ms_p99_1000x10": round(_median(bare, "late_ms_p99"), 1),
    }


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=8000, help="per round and client")
    parser.add_argument("--seconds", type=float, default=5.0, help="per round of the fleet")
    parser.add_argument("--devices", type=int, default=1000, help="in the fleet; the keys say 1000 whatever it is")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mumian-modbus-") as folder:
        try:
            programs = build(Path(folder))
        except NativeAbsent as absent:
            sys.stderr.write(f"{absent}\n")
            return 2
        result = cpu_per_request(programs, arguments.rounds, arguments.requests)
        result |= many_devices(programs, max(arguments.rounds // 2, 1), arguments.devices, arguments.seconds)
    ours, reference, tags = decoding_us(arguments.rounds)
    result |= {"decode_us_125": round(ours, 1), "decode_us_125_struct": round(reference, 1), "decode_tags_125": tags}
    result["requests_1000_gapped"] = requests_gapped()
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.write("".join(f"{name:>26}  {figure:>10,}\n" for name, figure in result.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
