"""The checks of tests/metrics/run. Each is a function of the house, which has a PostgreSQL and
daemons; they run in their order, and one that fails does not hold up the others."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import traceback

from tests.metrics.scrape import (Scrape, alerts, get, names_in_alerts, names_in_board, promtool,
                                  rows_of_page, TROUBLES)
from tests.support.processes import (Daemon, eventually, free_port, private_postgres, schema_up,
                                     SIDECAR)

BENCH = str(pathlib.Path(SIDECAR).parent / "dtbench")
HUB = "shop"
CHAINS = 300


class House:
    def __init__(self, postgres):
        self.postgres = postgres
        postgres.create_database("metrics")
        self.url = postgres.url("metrics")
        schema_up(self.url)
        self.daemons = []
        self.first = self.add()

    def add(self, *options, hub=HUB):
        port = free_port()
        daemon = Daemon(f"daemon{len(self.daemons)}", self.url, self.postgres.directory,
                        "--admin-listen", f"127.0.0.1:{port}", "--metrics-sample-seconds", "1",
                        "--postgres-lease-seconds", "3", *options, hub=hub)
        daemon.admin = f"127.0.0.1:{port}"
        self.daemons.append(daemon)
        return daemon

    def bench(self, workload, *options, daemon=None, hub=HUB):
        return subprocess.run(
            [BENCH, "--address", (daemon or self.first).address, "--hub", hub,
             "--workload", workload, "--warmup-seconds", "0", *options],
            capture_output=True, text=True, timeout=120)


def good(done):
    assert done.returncode == 0, done.stdout + done.stderr


def counts(house):
    """What is counted is what was done."""
    before = Scrape.of(house.first.admin)
    good(house.bench("chain", "--count", str(CHAINS), "--in-flight", "32"))
    good(house.bench("timers", "--count", "20"))
    good(house.bench("entity_many", "--count", "20", "--entities", "5", "--signals", "2"))
    good(house.bench("tree", "--count", "2", "--width", "2", "--depth", "1"))
    after = Scrape.of(house.first.admin)

    def rise(name, **labels):
        return after.sum(name, **labels) - before.sum(name, **labels)

    started = CHAINS + 20 + 20 + 2 * 3
    assert rise("durabletask_instances_started_total", task_hub=HUB) == started
    assert rise("durabletask_instances_finished_total", task_hub=HUB, status="completed") == started
    assert rise("durabletask_actions_total", type="complete") == started
    activities = CHAINS * 5 + 2 * 2
    assert rise("durabletask_actions_total", type="activity") == activities
    assert rise("durabletask_actions_total", type="timer") == 20
    assert rise("durabletask_actions_total", type="sub_orchestration") == 4
    sent = rise("durabletask_work_items_dispatched_total", kind="activity")
    assert sent == rise("durabletask_work_items_completed_total", kind="activity") == activities
    assert rise("durabletask_work_items_dispatched_total", kind="entity") > 0
    assert rise("durabletask_dispatch_latency_seconds_count", kind="activity") == activities
    assert rise("durabletask_work_item_duration_seconds_count", kind="activity") == activities
    assert rise("durabletask_timers_due_lag_seconds_count", task_hub=HUB) == 20
    assert rise("durabletask_timers_due_lag_seconds_bucket", le="3600") == 20
    assert rise("durabletask_history_bytes_total") > 0
    assert rise("grpc_server_handled_total", method="CompleteActivityTask", code="OK") == activities
    assert rise("grpc_server_handling_seconds_count", method="CompleteActivityTask") == activities
    assert rise("grpc_server_handled_total", method="GetWorkItems") >= 4
    assert rise("durabletask_db_query_seconds_count", function="_CheckpointOrchestration") > 0
    batches = rise("durabletask_lane_batch_size_count", lane="writes 1")
    assert 0 < batches <= rise("durabletask_lane_batch_size_sum", lane="writes 1")
    assert after.sum("durabletask_work_items_active") == 0
    assert after.sum("durabletask_connected_workers") == 0
    assert after.sum("process_cpu_seconds_total") > before.sum("process_cpu_seconds_total")


def samples(house):
    """One daemon counts what waits, and another follows it; the sum is right at any time."""
    second = house.add()
    # By the SQL API, for the hub of the login; nobody is connected, so they wait.
    for number in range(3):
        house.postgres.query(
            "metrics", f"select * from dt.CreateInstance('Nobody', InstanceID => 'w-{number}')")

    def seen(daemon):
        scrape = Scrape.of(daemon.admin)
        return (scrape.sum("durabletask_leader", role="metrics"),
                scrape.sum("durabletask_work_items_pending", kind="orchestration"),
                scrape.sum("durabletask_instances", status="pending"),
                scrape.sum("durabletask_work_item_oldest_age_seconds") > 0)

    eventually(lambda: seen(house.first) == (1, 3, 3, True), "the first daemon counts what waits")
    scrape = Scrape.of(house.first.admin)
    assert scrape.sum("durabletask_instances", task_hub=HUB, status="completed") > CHAINS
    assert seen(second) == (0, 0, 0, False), "who does not lead shows nothing"
    house.first.kill()
    eventually(lambda: seen(second) == (1, 3, 3, True), "the second daemon follows")
    house.first.start()
    eventually(lambda: seen(house.first) == (0, 0, 0, False), "and goes on leading")


def page(house):
    """The page has a row for each family that is scraped, with its type and its labels."""
    scrape = Scrape.of(house.first.admin)
    rows = rows_of_page()
    assert set(rows) == set(scrape.types), set(rows) ^ set(scrape.types)
    types = {name: kind for name, (kind, _) in rows.items()}
    assert types == scrape.types, {n for n in types if types[n] != scrape.types[n]}
    for family, labels in scrape.labels().items():
        assert labels == rows[family][1], f"{family}: {labels} are scraped, {rows[family][1]} said"


def tools(house):
    """promtool has nothing against the scrape and the alerts."""
    scrape = Scrape.of(house.first.admin)
    assert not (said := promtool("check", "metrics", text=scrape.text)), said
    assert not (said := promtool("check", "rules", "deploy/prometheus/alerts.yaml")), said


def names(house):
    """What alerts and board ask for is scraped; each alert has its row."""
    scrape = Scrape.of(house.first.admin)
    for where in (names_in_alerts(), names_in_board()):
        assert len(where) > 5
        missing = {name for name in where if scrape.family(name) is None}
        assert not missing, missing
    rows = TROUBLES.read_text()
    missing = [alert for alert in alerts() if f"| `{alert}` |" not in rows]
    assert alerts() and not missing, missing


def cap(house):
    """Hubs beyond the limit are counted together."""
    daemon = house.add("--metrics-hubs-max", "2", "--hubs-create-unknown")
    for hub in ("cap-1", "cap-2"):
        good(house.bench("chain", "--count", "4", daemon=daemon, hub=hub))
    scrape = Scrape.of(daemon.admin)
    assert scrape.sum("durabletask_instances_started_total", task_hub="cap-1") == 4
    assert scrape.sum("durabletask_instances_started_total", task_hub="_other") == 4
    assert scrape.sum("durabletask_instances_started_total", task_hub="cap-2") == 0
    assert daemon.stop() == 0


def hammer(house):
    """Callers who do their worst at the admin listener: the work goes on, and probes are
    answered."""
    daemon = house.add()
    ended = threading.Event()
    port = int(daemon.admin.rpartition(":")[2])
    worst = [b"", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00garbage",
             b"GET /" + b"x" * 100_000, b"POST /livez HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"]

    def attack(number):
        held = []
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=1)
                connection.sendall(worst[number % len(worst)])
                held.append(connection)  # and nothing is read
            number += 1
            if len(held) > 50:
                held.pop(0).close()
            ended.wait(0.01)
        for connection in held:
            connection.close()

    attackers = [threading.Thread(target=attack, args=(i,)) for i in range(4)]
    for attacker in attackers:
        attacker.start()
    missed = [0]  # after each probe: how many got no answer in a row
    try:
        bench = subprocess.Popen(
            [BENCH, "--address", daemon.address, "--hub", HUB, "--workload", "chain", "--count",
             "2000", "--in-flight", "64"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while bench.poll() is None:
            probe(daemon, missed)
        assert bench.returncode == 0, bench.stdout.read().decode()
        assert Scrape.of(daemon.admin).sum("durabletask_instances_finished_total") >= 2000
    finally:
        ended.set()
        for attacker in attackers:
            attacker.join()
    assert len(missed) > 10 and max(missed) < 3, missed
    assert daemon.stop() == 0


def probe(daemon, missed):
    """Asks as Kubernetes does, which starts a pod again when three in a row get no answer in 1 s;
    counts those."""
    try:
        answered = get(daemon.admin, "/livez", seconds=1)[0] == 200
    except OSError:
        answered = False
    missed.append(0 if answered else missed[-1] + 1)
    time.sleep(0.05)


def readiness(house):
    """Without PostgreSQL a daemon is alive, not ready, and says why."""
    house.postgres.kill()
    eventually(lambda: get(house.first.admin, "/readyz")[0] == 503, "not ready without PostgreSQL")
    status, text = get(house.first.admin, "/readyz")
    assert status == 503 and "not ready: " in text, text
    assert get(house.first.admin, "/livez") == (200, "alive\n")
    scrape = Scrape.of(house.first.admin)
    assert scrape.sum("durabletask_db_errors_total") > 0
    house.postgres.start()
    eventually(lambda: get(house.first.admin, "/readyz")[0] == 200, "ready again")


CHECKS = (counts, tools, page, names, samples, cap, hammer, readiness)


def main():
    wanted = sys.argv[1:]
    passed = failed = 0
    with private_postgres("dtpg-metrics-", role=HUB) as postgres:
        house = House(postgres)
        for check in CHECKS:
            if wanted and check.__name__ not in wanted:
                continue
            begin = time.monotonic()
            try:
                check(house)
                passed += 1
                print(f"ok     {check.__name__}, {time.monotonic() - begin:.1f} s", flush=True)
            except Exception:  # noqa: the others go on
                failed += 1
                print(f"FAILED {check.__name__}")
                traceback.print_exc(file=sys.stdout)
        for daemon in house.daemons:
            daemon.stop()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    sys.exit(main())
