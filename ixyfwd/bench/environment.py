"""What a figure was measured on: without it a figure cannot be compared with another."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ixyfwd import __version__


def environment() -> dict[str, Any]:
    """Machine, kernel, interpreter and packages, as plain data for a report."""
    return {
        "ixyfwd": __version__,
        "cpu": _cpu_model(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "virtual_machine": " hypervisor " in _cpuinfo(),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "isolated_cpus": _first_line("/sys/devices/system/cpu/isolated"),
        "load_average": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "numpy": _version("numpy"),
        "cffi": _version("cffi"),
    }


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_model() -> str:
    for line in _cpuinfo().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
