"""What a hub pays for what it keeps: a million finished instances and ten thousand waiting ones.

Compares dtbench on a hub that keeps them with dtbench on an empty one, in turns (empty, aged, empty,
aged ...), each on a daemon and a PostgreSQL of its own that run alone; then, on the aged one, pages of
queries, an idle poll, and a purge beside the load. Prints one table and one line of JSON. It measures,
and judges nothing: what is to be reached is said beside the figures.
"""

import argparse
import contextlib
import ctypes
import glob
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub
from google.protobuf import timestamp_pb2, wrappers_pb2

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ["DTPG_BUILD"])
START_SECONDS = 120
PAGE = 100
FILL_BATCH = 100_000
FILL_DAYS = 30
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Runs in the child: the kernel ends it when this program ends, however it ends."""
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`durabletask-sidecar dev` on a data directory, while the context lasts."""

    def __init__(self, directory: pathlib.Path):
        self._directory = directory
        self.address = f"127.0.0.1:{free_port()}"

    def __enter__(self) -> "Server":
        self._log = open(self._directory.with_suffix(".log"), "ab")
        self._process = subprocess.Popen(
            [BUILD / "durabletask-sidecar", "dev", "--data-dir", self._directory,
             "--listen", self.address],
            stdout=self._log, stderr=self._log, preexec_fn=die_with_parent)
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([BUILD / "durabletask-sidecar", "healthcheck", "--address",
                              self.address], capture_output=True).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the daemon does not serve; its log: {self._log.name}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def bench(self, options: argparse.Namespace, seconds: float) -> subprocess.Popen:
        """dtbench on its way; see `figures`."""
        return subprocess.Popen(
            [BUILD / "dtbench", "--address", self.address, "--workload", "chain",
             "--activities", str(options.activities), "--in-flight", str(options.in_flight),
             "--warmup-seconds", str(options.warmup_seconds), "--seconds", str(seconds), "--json"],
            stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

    def psql(self, *arguments: str) -> str:
        """What psql prints on the daemon's private PostgreSQL."""
        program = sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]
        url = f"postgresql:///durabletask?host={self._directory}/socket&user=postgres"
        done = subprocess.run([program, "-XqAt", "-v", "ON_ERROR_STOP=1", url, *arguments],
                              capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"psql {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    @contextlib.contextmanager
    def client(self):
        with grpc.insecure_channel(self.address) as channel:
            yield TaskHubSidecarServiceStub(channel)


def figures(bench: subprocess.Popen) -> dict:
    output, _ = bench.communicate()
    if bench.returncode != 0:
        sys.exit(f"dtbench failed: {output}")
    return json.loads(output.splitlines()[-1])


def age(server: Server, options: argparse.Namespace) -> float:
    """Fills the hub; returns how long it took."""
    begin = time.monotonic()
    server.psql("-v", f"instances={options.instances}", "-v", f"waiting={options.waiting}",
                "-v", f"batch={FILL_BATCH}", "-v", f"days={FILL_DAYS}", "-f", str(HERE / "aged.sql"))
    server.psql("-c", "vacuum analyze")
    server.psql("-c", "checkpoint")
    return time.monotonic() - begin


def created(server: Server, number: int) -> timestamp_pb2.Timestamp:
    """When the aged instance of this number was created; 1 is the oldest."""
    text = server.psql("-c", "select extract(epoch from created_time) from dt.Instances "
                       f"where instance_id = md5('aged' || {max(1, number)})")
    result = timestamp_pb2.Timestamp()
    result.FromMicroseconds(round(float(text) * 1e6))
    return result


def query_pages(server: Server, options: argparse.Namespace) -> dict:
    """Name -> how long a page took (ms), asked for by an SDK's stub, the first one included."""
    middle = options.instances // 2
    asked = {
        "of all": {},
        "of all, with inputs and outputs": dict(fetchInputsAndOutputs=True),
        "of RUNNING": dict(runtimeStatus=[pb.ORCHESTRATION_STATUS_RUNNING]),
        "of FAILED": dict(runtimeStatus=[pb.ORCHESTRATION_STATUS_FAILED]),
        "of a prefix": dict(instanceIdPrefix=wrappers_pb2.StringValue(value="waiting-12")),
        "created in a range": dict(createdTimeFrom=created(server, middle),
                                   createdTimeTo=created(server, middle + PAGE)),
        "from the middle on": dict(createdTimeFrom=created(server, middle)),
    }
    pages = {}
    with server.client() as client:
        for name, fields in asked.items():
            request = pb.QueryInstancesRequest(
                query=pb.InstanceQuery(maxInstanceCount=PAGE, **fields))
            taken = []
            for _ in range(options.queries):
                begin = time.perf_counter()
                rows = len(client.QueryInstances(request).orchestrationState)
                taken.append((time.perf_counter() - begin) * 1000)
            pages[name] = dict(rows=rows, p50_ms=statistics.median(taken),
                               p99_ms=sorted(taken)[int(len(taken) * 0.99)], max_ms=max(taken))
    return pages


def idle_poll(server: Server) -> dict:
    """What a look for work costs PostgreSQL when there is none."""
    hub = server.psql("-c", "select hub_id from dt.Instances limit 1")
    call = (f"select * from dt._LockNextOrchestration({hub}, "
            "'{\"token\": 1, \"kind\": 0, \"max_messages\": 1, \"max_bytes\": 1, "
            "\"groups\": [{\"max\": 100}]}', null)")
    explain = f"explain (analyze, buffers, format json) {call}"
    # The session makes its plans in the first call.
    output = server.psql("-c", f"do $$ begin perform count(*) from ({call}) c; end $$", "-c", explain)
    plan = json.loads(output)[0]
    return dict(pages=plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"],
                ms=plan["Execution Time"])


class Purge(threading.Thread):
    """Purges the oldest instances, after the load has warmed up."""

    def __init__(self, server: Server, options: argparse.Namespace):
        super().__init__()
        self._server, self._delay = server, options.warmup_seconds
        self._until = created(server, options.purge + 1)
        self.purged, self.seconds = 0, 0.0

    def run(self) -> None:
        time.sleep(self._delay)  # the load's own warm-up, which is a time, too
        begin = time.monotonic()
        request = pb.PurgeInstancesRequest(
            purgeInstanceFilter=pb.PurgeInstanceFilter(createdTimeTo=self._until))
        with self._server.client() as client:
            complete = False
            while not complete:
                response = client.PurgeInstances(request)
                self.purged += response.deletedInstanceCount
                complete = response.isComplete.value
        self.seconds = time.monotonic() - begin


def purge_beside_load(server: Server, options: argparse.Namespace) -> dict:
    without = figures(server.bench(options, options.seconds))
    purge = Purge(server, options)
    bench = server.bench(options, options.seconds)
    purge.start()
    beside = figures(bench)
    purge.join()
    ratio = beside["orchestrations_per_second"] / without["orchestrations_per_second"]
    # The loss falls on the time of the purge alone, if that was shorter than the measurement.
    share = min(1.0, purge.seconds / options.seconds)
    return dict(without=without["orchestrations_per_second"],
                beside=beside["orchestrations_per_second"], ratio=ratio,
                ratio_while_purging=1 - (1 - ratio) / share, purged=purge.purged,
                purge_seconds=purge.seconds)


def compare(root: pathlib.Path, aged: pathlib.Path, options: argparse.Namespace) -> dict:
    """Throughput on empty hubs and on the aged one, in turns."""
    measured: dict = {"empty": [], "aged": []}
    for number in range(options.repetitions):
        # A new one each time, since each run leaves its instances behind.
        empty = root / f"empty{number}"
        for name, directory in (("empty", empty), ("aged", aged)):
            with Server(directory) as server:
                result = figures(server.bench(options, options.seconds))
            measured[name].append(result)
            note(f"{name}: {result['orchestrations_per_second']:.1f} orchestrations/s")
        shutil.rmtree(empty)
    return measured


def table(result: dict) -> str:
    lines = []

    def row(name: str, value: str, wanted: str = "") -> None:
        lines.append(f"  {name:<64}{value:>14}  {wanted}".rstrip())

    def median(name: str, key: str) -> float:
        return statistics.median(run[key] for run in result["throughput"][name])

    lines.append(f"{result['instances']} finished and {result['waiting']} waiting instances "
                 f"({result['database_bytes'] / 2**20:.0f} MiB, filled in {result['fill_seconds']:.0f} s)")
    for key, title in (("orchestrations_per_second", "orchestrations/s"),
                       ("postgres_cpu_seconds_per_1000", "PostgreSQL CPU s per 1,000"),
                       ("daemon_cpu_seconds_per_1000", "daemon CPU s per 1,000")):
        for name in ("empty", "aged"):
            row(f"{title}, {name} (median)", f"{median(name, key):.3f}")
    row("aged : empty", f"{result['ratio']:.3f}", "wanted: 0.9 or more")
    for name, page in result["pages"].items():
        row(f"page {name}, {page['rows']} rows, p50 / p99 ms",
            f"{page['p50_ms']:.1f} / {page['p99_ms']:.1f}", "wanted: 50 or less")
    row("idle poll, pages looked at", str(result["idle_poll"]["pages"]), "wanted: 5 or less")
    row("idle poll, ms", f"{result['idle_poll']['ms']:.3f}")
    purge = result["purge"]
    row("orchestrations/s before the purge", f"{purge['without']:.1f}")
    row(f"orchestrations/s beside the purge of {purge['purged']}", f"{purge['beside']:.1f}")
    row("purge, instances/s", f"{purge['purged'] / purge['purge_seconds']:.0f}")
    row("beside : before, while purging", f"{purge['ratio_while_purging']:.3f}",
        "wanted: 0.8 or more")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/aged", description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=1_000_000, help="finished ones")
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--purge", type=int, default=100_000, help="purged beside the load")
    parser.add_argument("--repetitions", type=int, default=5, help="of empty and aged, in turns")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--warmup-seconds", type=float, default=5)
    parser.add_argument("--activities", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100, help="pages of each kind")
    options = parser.parse_args()
    if options.purge >= options.instances:
        parser.error("--purge must be less than --instances")
    return options


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="dt-aged-") as scratch:
        root = pathlib.Path(scratch)
        root.chmod(0o755)  # PostgreSQL's own user must be able to get through it.
        aged = root / "aged"
        with Server(aged) as server:
            figures(server.bench(options, 1))  # what a finished instance looks like
            fill_seconds = age(server, options)
            size = int(server.psql("-c", "select pg_database_size(current_database())"))
        throughput = compare(root, aged, options)
        with Server(aged) as server:
            server.psql("-c", "vacuum analyze")
            result = dict(
                instances=options.instances, waiting=options.waiting, database_bytes=size,
                fill_seconds=fill_seconds, throughput=throughput, pages=query_pages(server, options),
                idle_poll=idle_poll(server), purge=purge_beside_load(server, options))
    rates = {name: statistics.median(run["orchestrations_per_second"] for run in runs)
             for name, runs in throughput.items()}
    result["ratio"] = rates["aged"] / rates["empty"]
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
