"""Checks who may include and link whom.

An include points to a lower row or to the own folder, and the targets of CMake link no other way.
Each source file and each target is one check.

Usage: check.py [GRAPH], where GRAPH is what `cmake --graphviz` wrote. Without it only includes are
checked. Ends with "N passed, N failed".
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ("storage", "server", "tests")
SUFFIXES = (".h", ".cc")

# Unit -> the units it may include, beyond itself. A unit is a folder, or headers of a folder that
# holds two rows.
PROTO = "proto"
RECORDS = "storage/records.h"
MORE_RECORDS = "storage/management_records.h"  # of the unit RECORDS
STORE = "storage/store.h"
STEADY_CLOCK = "storage/steady_clock.h"  # of the unit STORE: the pure core may have no clock
MANAGEMENT_READS = "storage/management_reads.h"  # of the unit STORE
LOG_EVENTS = "storage/log_events.h"  # of the unit STORE: the pure core logs nothing
LOG_FIELDS = "storage/log_fields.h"  # as these
CORE = "server/orchestration"
ENTITY = "server/entity"
DISPATCH = "server/dispatch"
RPC = "server/rpc"
CLI = "server/cli"
ADMIN = "server/admin"
POSTGRES = "storage/postgres"
METRICS = "storage/metrics"
ALLOWED = {
    RECORDS: set(),
    STORE: {RECORDS},
    METRICS: {RECORDS},
    CORE: {RECORDS, PROTO},
    ENTITY: {RECORDS, PROTO, CORE},
    POSTGRES: {RECORDS, STORE, METRICS},
    DISPATCH: {RECORDS, PROTO, STORE, METRICS, CORE, ENTITY},
    RPC: {RECORDS, PROTO, STORE, METRICS, CORE, ENTITY, DISPATCH},
    # The client of a daemon: of the daemon's own rows it has how times and statuses are written.
    CLI: {PROTO, CORE, RPC},
    ADMIN: {RECORDS, STORE, METRICS, RPC},
    "server": {RECORDS, PROTO, STORE, METRICS, CORE, ENTITY, DISPATCH, RPC, ADMIN, CLI, POSTGRES},
}

# Headers from outside that belong to one unit alone.
OUTSIDE = {
    re.compile(r"libpq|postgres_ext"): {POSTGRES},
    re.compile(r"grpc"): {RPC, CLI, "server"},
    re.compile(r"google/protobuf"): {PROTO, CORE, ENTITY, DISPATCH, RPC, CLI,
                                      "server"},
    re.compile(r"CLI/"): {CLI, "server"},
    re.compile(r"httplib"): {ADMIN},
    re.compile(r"prometheus"): {ADMIN},
}
# The core and the entities are pure: no clock, thread, log, file or random number.
IMPURE = re.compile(r"thread|mutex|condition_variable|atomic|future|chrono|random|iostream|fstream|"
                    r"filesystem|ctime|time\.h|unistd\.h|absl/(synchronization|random|time/clock)|"
                    r"spdlog")

TARGETS = {
    "dt_records": RECORDS, "dt_store": STORE, "dt_proto": PROTO, "dt_orchestration": CORE,
    "dt_entity": ENTITY, "dt_postgres": POSTGRES, "dt_dispatch": DISPATCH,
    "dt_proto_grpc": "proto service", "dt_rpc": RPC, "dt_cli": CLI, "dt_admin": ADMIN,
    "dt_metrics": METRICS,
    "dt_server": "server",
}


def unit_of(path):
    """The unit of a path below the root, or None for files that no rule concerns."""
    text = path.as_posix()
    if text in (RECORDS, MORE_RECORDS):
        return RECORDS
    if text in (STORE, STEADY_CLOCK, MANAGEMENT_READS, LOG_EVENTS, LOG_FIELDS):
        return STORE
    for unit in (CORE, ENTITY, DISPATCH, RPC, CLI, ADMIN, POSTGRES, METRICS, PROTO, "server"):
        if text.startswith(unit + "/"):
            # A folder nobody gave a row is a mistake, not a part of the folder above it.
            folder = path.parent.as_posix()
            return unit if folder == unit else "unknown folder " + folder
    if text.startswith("storage/"):
        return "unknown folder " + path.parent.as_posix()
    return None


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^">]+)[">]', line)
        if match:
            yield number, match[1] == '"', match[2]


def faults_of_include(unit, own, header):
    if own:
        if not (ROOT / header).exists() and not header.startswith(PROTO + "/"):
            # Generated headers stand in the build folder under the path of their source.
            if "/" not in header:
                return "is not a path from the root"
            return None
        target = unit_of(pathlib.PurePosixPath(header))
        if target is None:
            return "leads into the tests"
        if unit in (RPC, CLI) and header.endswith(".grpc.pb.h"):
            return None
        if header.endswith(".grpc.pb.h") and unit != "server":
            return "is the service, which only server/rpc and server/cli know"
        if target != unit and target not in ALLOWED[unit]:
            return f"leads from {unit} to {target}"
        return None
    for pattern, units in OUTSIDE.items():
        if pattern.match(header) and unit not in units:
            return f"belongs to {', '.join(sorted(units))} only"
    if unit in (CORE, ENTITY) and IMPURE.match(header):
        return "brings a clock, thread, log or file into the pure core"
    return None


def check_includes(report):
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            name = path.relative_to(ROOT)
            faults = []
            if {"common", "util", "utils", "misc"} & set(name.parts[:-1]):
                faults.append(f"{name}: a folder says what is in it; no common, no util")
            unit = unit_of(name)
            if unit is not None and unit not in ALLOWED:
                faults.append(f"{name}: {unit}: give it a row in tests/layering/check.py")
            elif unit is not None:
                for number, own, header in includes(path):
                    fault = faults_of_include(unit, own, header)
                    if fault:
                        faults.append(f'{name}:{number}: include of "{header}" {fault}')
            report(faults)


def check_links(graph, report):
    text = pathlib.Path(graph).read_text()
    names = {node: label.split("\\n")[0]
             for node, label in re.findall(r'"(node\d+)" \[ label = "([^"]+)"', text)}
    links = {}
    for source, target in re.findall(r'"(node\d+)" -> "(node\d+)"', text):
        links.setdefault(names[source], set()).add(names[target])
    for target, unit in TARGETS.items():
        if target not in names.values():
            report([f"target {target} is gone; mend TARGETS in tests/layering/check.py"])
            continue
        may = ALLOWED.get(unit, {PROTO}) | ({"proto service"} if unit in (RPC, CLI, "server") else
                                          set())
        report([f"target {target} links {other}, its folder may not include {TARGETS[other]}"
                for other in sorted(links.get(target, ()))
                if other in TARGETS and TARGETS[other] not in may])


def main():
    counts = {"passed": 0, "failed": 0}

    def report(faults):
        counts["failed" if faults else "passed"] += 1
        for fault in faults:
            print("FAILED " + fault)

    check_includes(report)
    if len(sys.argv) > 1:
        check_links(sys.argv[1], report)
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
