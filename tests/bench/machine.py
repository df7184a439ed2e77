"""The machine that figures come from, and what its processes use."""

import os
import pathlib
import platform
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYNC_SECONDS = 1.0
SYNC_BYTES = 8192  # a page of WAL, as pg_test_fsync writes it


def cpu_seconds(pid: int) -> float:
    """What the process has used, with threads that have ended; its CPU clock counts nanoseconds."""
    return time.clock_gettime((~pid << 3) | 2)


def children(pid: int) -> list[int]:
    return [int(word)
            for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def children_cpu_seconds(pid: int) -> float:
    """What children that have ended and been waited for have used, in steps of a tick."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def family_cpu_seconds(pid: int) -> float:
    """What a process and its children have used, also those that have ended."""
    total = cpu_seconds(pid) + children_cpu_seconds(pid)
    for child in children(pid):
        try:
            total += cpu_seconds(child)
        except OSError:  # It has ended since, and is counted the next time.
            pass
    return total


def _status_bytes(pid: int, name: str) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {pid} has no {name}")


def resident_bytes(pid: int) -> int:
    return _status_bytes(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most that it had resident at any time."""
    return _status_bytes(pid, "VmHWM")


def sync_microseconds(directory: pathlib.Path) -> float:
    """How long a page takes to the disk, one after the other, as pg_test_fsync's fdatasync."""
    path = directory / "sync"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, bytes(SYNC_BYTES), 0)
        os.fsync(file)
        count, begin = 0, time.monotonic()
        while (passed := time.monotonic() - begin) < SYNC_SECONDS:
            os.pwrite(file, bytes(SYNC_BYTES), 0)
            os.fdatasync(file)
            count += 1
    finally:
        os.close(file)
        path.unlink()
    return passed / count * 1e6


def first_field(file: str, name: str) -> str:
    for line in pathlib.Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return "unknown"


def commit() -> str:
    """The commit of the working tree, with a mark when files differ from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=ROOT,
                          capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def describe(directory: pathlib.Path) -> dict:
    """What stands above every table; `directory` is on the disk that is measured."""
    return {
        "CPU": first_field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "RAM GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "8 kB write + fdatasync, us": round(sync_microseconds(directory)),
        "load average before": round(os.getloadavg()[0], 2),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
