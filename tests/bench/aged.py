"""What a hub pays for what it keeps: a million finished instances and ten thousand waiting ones.

Compares dtbench on a hub that keeps them with dtbench on an empty one, in turns (empty, aged,
empty, aged ...), each on a daemon and a PostgreSQL of its own that run alone; then, on the aged
one, pages of queries, an idle poll, and a purge beside the load. Prints one table and one line of
JSON. It measures, and judges nothing: what is to be reached is said beside the figures.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import tempfile
import threading
import time

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf import timestamp_pb2, wrappers_pb2

from servers import Server, chain_arguments, figures, note

PAGE = 100


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
    output = server.psql("-c", f"do $$ begin perform count(*) from ({call}) c; end $$",
                         "-c", explain)
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
    without = figures(server.bench(*chain_arguments(options, options.seconds)))
    purge = Purge(server, options)
    bench = server.bench(*chain_arguments(options, options.seconds))
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
                result = figures(server.bench(*chain_arguments(options, options.seconds)))
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
                 f"({result['database_bytes'] / 2**20:.0f} MiB, "
                 f"filled in {result['fill_seconds']:.0f} s)")
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
            # What a finished instance looks like.
            figures(server.bench(*chain_arguments(options, 1)))
            fill_seconds = server.fill(options.instances, options.waiting)
            size = int(server.psql("-c", "select pg_database_size(current_database())"))
        throughput = compare(root, aged, options)
        with Server(aged) as server:
            server.psql("-c", "vacuum analyze")
            result = dict(
                instances=options.instances, waiting=options.waiting, database_bytes=size,
                fill_seconds=fill_seconds, throughput=throughput,
                pages=query_pages(server, options),
                idle_poll=idle_poll(server), purge=purge_beside_load(server, options))
    rates = {name: statistics.median(run["orchestrations_per_second"] for run in runs)
             for name, runs in throughput.items()}
    result["ratio"] = rates["aged"] / rates["empty"]
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
