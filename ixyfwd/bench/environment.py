"""The environment of a measurement: without it, a figure cannot be compared with another."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ixyfwd import __version__


def environment() -> dict[str, Any]:
    """Machine, kernel, interpreter and packages, as plain data for a report."""
    return {
        "ixyfwd": __version__,
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "virtual_machine": " hypervisor " in _cpuinfo(),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "isolated_cpus": _first_line("/sys/devices/system/cpu/isolated"),
        "boost": _first_line("/sys/devices/system/cpu/cpufreq/boost"),
        "simd": [flag for flag in ("sse4_2", "avx2", "avx512f") if f" {flag} " in _cpuinfo()],
        "tsc_mhz": tsc_mhz(),
        "hugepages_free": _first_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"),
        "load_average": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "numpy": _version("numpy"),
        "cffi": _version("cffi"),
    }


def tsc_mhz() -> float | None:
    """The frequency, in MHz, of the time stamp counter where it is constant; None on other processors.

    Linux sets its delay loop (`bogomips`) to twice that; `cpu MHz` is the core's
    frequency of the moment.
    """
    if " constant_tsc " not in _cpuinfo():
        return None
    for line in _cpuinfo().splitlines():
        if line.startswith("bogomips"):
            return round(float(line.split(":", 1)[1]) / 2, 1)
    return None


def _commit() -> str | None:
    """The commit of the checkout that this runs from, if it is one; "+" if files differ from it."""
    top = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (top / ".git").exists():
        return None
    found = subprocess.run(  # noqa: S603
        [git, "-C", str(top), "describe", "--always", "--dirty=+", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


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
