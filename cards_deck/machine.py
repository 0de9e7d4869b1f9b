"""On what something was measured: the processor, and the versions of packages."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def hardware() -> dict[str, str | int]:
    """The processor's name, the number of its cores that this process may use, its kind, and the system."""
    return {"cpu": _cpu_model(), "cores": cores(), "machine": platform.machine(), "system": platform.system()}


def package_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of each installed package, None for one that is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
