"""One run of a contender in a process of its own: CPU seconds of it and its children, wall seconds, and what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.common import Outcome
from benchmarks.speed.contenders import Contender

ROOT = Path(__file__).resolve().parents[2]

#: Set for all: one kind of device, and no cache but the contender's own.
FIXED = {"JAX_PLATFORMS": "cpu", "BAYESCALE_COMPILATION_CACHE": "off"}


class ContenderFailed(Exception):
    """The process ended with an error; the message is the end of what it printed."""


@dataclass(frozen=True)
class Run:
    """A whole process: CPU seconds (user and system, children included), wall seconds, the outcome."""

    cpu: float
    wall: float
    outcome: Outcome


def measure(contender: Contender, fit: str, table: Path, setting: tuple[int, int], seed: int, caches: Path) -> Run:
    """Run a contender once, from the interpreter's start to its exit, with its caches in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcome.json"
        arguments = [fit, str(table), *map(str, setting), str(seed), contender.variant, str(out)]
        cpu, wall = _spend(
            [sys.executable, "-m", f"benchmarks.speed.{contender.module}", *arguments], _environment(contender, caches)
        )
        return Run(cpu, wall, Outcome(**json.loads(out.read_text())))


def warm(contender: Contender) -> None:
    """Import what a contender imports, so that Python's byte code is compiled and the disk's cache warm for everyone alike."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", f"import benchmarks.speed.{contender.module}"]
        _spend(command, _environment(contender, Path(folder)))


def _environment(contender: Contender, caches: Path) -> dict[str, str]:
    return os.environ | FIXED | {name: value.format(folder=caches) for name, value in contender.caches.items()}


def _spend(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    with tempfile.TemporaryFile() as printed:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise ContenderFailed(printed.read().decode(errors="replace").strip()[-600:])
    return usage.ru_utime + usage.ru_stime, wall
