"""What a process group has used, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")


def members(group: int) -> list[int]:
    """Process ids of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and int(fields[2]) == group:
            found.append(int(entry.name))
    return found


def cpu_s(group: int) -> float:
    """CPU seconds of a process group, ended children included."""
    # utime, stime, cutime, cstime
    return sum(sum(int(x) for x in fields[11:15]) for pid in members(group) if (fields := _stat(pid))) / TICKS_S


def peak_mb(group: int) -> float:
    """Peak resident memory of the processes of a group, summed, in MiB."""
    return _memory_mb(group, "VmHWM")


def resident_mb(group: int) -> float:
    """Resident memory of the processes of a group, summed, in MiB."""
    return _memory_mb(group, "VmRSS")


def _memory_mb(group: int, which: str) -> float:
    total = 0
    for pid in members(group):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(which))
    return total / 1024


def nices(group: int) -> dict[int, int]:
    """The nice value of each process of a group."""
    return {pid: int(fields[16]) for pid in members(group) if (fields := _stat(pid))}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command's name; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
