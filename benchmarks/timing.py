"""What the benchmarks of speed share: commands measured in processes of their own, rivals measured in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds between two rivals: a BLAS library's threads go on spinning for a while after their work is done.
SETTLE = 0.2
SOURCE = Path(__file__).parents[1] / "src"

# A process of its own between us and the command: Linux counts what the parent holds in memory to the child's peak.
_LAUNCHER = """
import json, os, sys, time
begin = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
took = time.perf_counter() - begin
print(json.dumps([took, used.ru_maxrss, os.waitstatus_to_exitcode(status)]), file=sys.stderr)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: wall clock in seconds, peak resident memory in MB (mapped files included), its output."""

    seconds: float
    megabytes: float
    output: str


def apart(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Cost:
    """Run a Python command (its arguments after ``python``) from start to last byte. Raises where it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SOURCE), str(SOURCE.parent))), **(env or {})}
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, sys.executable, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    *told, last = done.stderr.splitlines() or [""]
    seconds, kilobytes, code = json.loads(last)
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n" + "\n".join(told[-20:]))
    return Cost(seconds, kilobytes / 1024, done.stdout)


def child(module: str, work: str, *arguments: object) -> tuple[dict[str, Any], Cost]:
    """``module``'s function ``work`` in a process of its own: the dictionary it returns, and what that took."""
    code = f"import sys, json, {module} as m; print(json.dumps(m.{work}(*sys.argv[1:])))"
    cost = apart(["-c", code, *map(str, arguments)])
    found: dict[str, Any] = json.loads(cost.output.splitlines()[-1])
    return found, cost


def in_turn(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work in each round. All take turns, so that what slows the machine down slows all of them."""
    out: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            time.sleep(SETTLE)
            begin = time.perf_counter()
            work()
            out[name].append(time.perf_counter() - begin)
    return out


def ratio(times: Sequence[float], other: Sequence[float]) -> float:
    """The median over rounds of one time over the other of the same round."""
    return statistics.median(a / b for a, b in zip(times, other, strict=True))


def median(times: Sequence[float]) -> float:
    """Of seconds."""
    return statistics.median(times)
