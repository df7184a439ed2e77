"""One hub fills the memory of a daemon that has 1 GiB, as the manifests give it: the daemon lives,
and the other hub is served."""

import contextlib
import os
import pathlib

import pytest

import floods
from load import order, outputs, start_orchestrations
from processes import eventually
from test_recovery import LoadedHouse

LIMIT = 1 << 30
ORDERS = 20
GROUPS = (pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup"))


@contextlib.contextmanager
def control_group(name: str):
    """A control group with LIMIT bytes, or None where we may make none: then the daemon is told its
    limit, and what it had at most is all that is checked."""
    for parent, file in zip(GROUPS, ("memory.limit_in_bytes", "memory.max")):
        group = parent / f"{name}-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(str(LIMIT))
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            eventually(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
            group.rmdir()
        return
    yield None


@pytest.fixture
def group():
    with control_group("dt-recovery") as group:
        yield group


def in_group(group: pathlib.Path | None) -> list[str]:
    """What the command line of a daemon begins with so that it lives in the group."""
    if group is None:
        return []
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]


def peak_bytes(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no VmHWM of process {pid}")


NO_MORE = "no more is taken on until some of it ends"
OF_WORK = ("unread_items", "large_inputs", "unread_histories")
FLOODS = {
    "unread_items": lambda address: floods.unread_items(address, 600, floods.MIB),
    "large_inputs": lambda address: floods.unread_items(address, 40, 20 * floods.MIB),
    "unread_histories": lambda address: floods.unread_histories(address, 100, 14, floods.MIB),
    "unread_answers": lambda address: floods.unread_answers(address, 60, 30 * floods.MIB),
    "endless_parts": lambda address: floods.endless_parts(address, 12, floods.MIB),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_memory(postgres, group, flood):
    house = LoadedHouse(postgres, f"memory_{flood}")
    try:
        limit = () if group else ("--memory-bytes-max", str(LIMIT // 4 * 3))
        daemon = house.add_daemon("--hubs-create-unknown=true", *limit, prefix=in_group(group))
        house.add_worker(daemon)
        before = start_orchestrations(daemon.address, order, range(ORDERS))
        outputs(daemon.address, before)
        with FLOODS[flood](daemon.address):
            if flood in OF_WORK:
                eventually(lambda: NO_MORE in daemon.log.read_text(), "the hub gets no more")
            during = start_orchestrations(daemon.address, order, range(ORDERS))
            assert len(outputs(daemon.address, during)) == ORDERS
        peak = peak_bytes(daemon.pid)
        print(f"{flood}: {peak / floods.MIB:,.0f} MiB at most,"
              f" {'in a group of' if group else 'told to have'} {LIMIT / floods.MIB:,.0f} MiB")
        assert peak < LIMIT
    finally:
        house.close()
