"""What others keep of their rate while one hub, or one caller, does its worst."""

import argparse
import contextlib
import json
import pathlib
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub

import floods
import machine
from servers import SIDECAR, Server, note

ATTACKER = (("taskhub", "attacker"),)
LOCKED = 1000  # instances
EVENT_PAUSE_SECONDS = 5
CALL_SECONDS = 30
ACTIONS = 100_000


def start_instances(client: TaskHubSidecarServiceStub, name: str, count: int) -> list[str]:
    """Starts so many instances in the attacker's hub, for no worker."""
    calls = [client.StartInstance.future(pb.CreateInstanceRequest(instanceId=f"{name}-{i}",
                                                                  name=name),
                                         metadata=ATTACKER) for i in range(count)]
    return [call.result().instanceId for call in calls]


@contextlib.contextmanager
def locks(server: Server, client: TaskHubSidecarServiceStub) -> Iterator[None]:
    """Somebody keeps instances locked in an open transaction, and a client sends events to them."""
    instances = start_instances(client, "locked", LOCKED)
    session = subprocess.Popen(server.psql_command("-f", "-"), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    session.stdin.write("begin; select count(*) from (select from dt.ReadyInstances r join"
                        " dt.TaskHubs h using (hub_id) where h.name = 'attacker'"
                        " for no key update of r) l;\n")
    session.stdin.flush()
    assert int(session.stdout.readline()) == LOCKED
    over = threading.Event()

    def raise_events() -> None:
        while not over.is_set():
            for instance in instances:
                client.RaiseEvent.future(pb.RaiseEventRequest(instanceId=instance, name="e"),
                                         metadata=ATTACKER)
            over.wait(EVENT_PAUSE_SECONDS)

    thread = threading.Thread(target=raise_events)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        session.stdin.close()
        session.wait()


@contextlib.contextmanager
def fanout(server: Server, _: TaskHubSidecarServiceStub) -> Iterator[None]:
    """Turns that schedule as many activities as a turn may."""
    load = server.bench("--hub", "attacker", "--workload", "fanout", "--activities", str(ACTIONS),
                        "--in-flight", "1", "--seconds", "600", "--warmup-seconds", "0",
                        "--timeout-seconds", "600")
    try:
        yield
    finally:
        load.kill()
        load.communicate()


@contextlib.contextmanager
def hints(server: Server, _: TaskHubSidecarServiceStub) -> Iterator[None]:
    """Somebody who may connect to the database sends hints for the others' hub, as fast as he
    can."""
    flood = subprocess.Popen(server.psql_command("-f", "-"), stdin=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    flood.stdin.write("""do $$
        declare
          v_hint text := (select hub_id from dt.TaskHubs where name = 'others') || ' 1000000';
        begin
          loop
            perform pg_notify('durabletask/dt', v_hint);
            commit;
          end loop;
        end $$;\n""")
    flood.stdin.flush()
    try:
        yield
    finally:
        server.psql("-c", "select pg_terminate_backend(pid) from pg_stat_activity"
                          " where query like 'do $$%'")
        flood.stdin.close()
        flood.wait()


def inputs(server: Server, _: TaskHubSidecarServiceStub) -> contextlib.AbstractContextManager:
    """Turns with 20 MiB each are queued, for a worker that does not read."""
    return floods.unread_items(server.address, 40, 20 * floods.MIB)


ATTACKS: dict[str, Callable] = {attack.__name__: attack
                                for attack in (fanout, hints, inputs, locks)}


def others(server: Server, options: argparse.Namespace) -> dict:
    """What a hub that does nothing wrong gets; a rate of 0 if one of its calls got no answer in
    time."""
    run = server.bench("--hub", "others", "--workload", "chain", "--activities", "5", "--in-flight",
                       str(options.in_flight), "--seconds", str(options.seconds),
                       "--warmup-seconds", "1", "--timeout-seconds", str(CALL_SECONDS))
    output, _ = run.communicate()
    if run.returncode != 0:
        return {"per_second": 0, "ms_p99": CALL_SECONDS * 1000}
    measured = json.loads(output.splitlines()[-1])
    return {"per_second": measured["orchestrations_per_second"],
            "ms_p99": measured["latency_ms_p99"]}


def measure(name: str, server: Server, options: argparse.Namespace) -> dict:
    with server, server.client() as client:
        alone = others(server, options)
        with ATTACKS[name](server, client):
            attacked = others(server, options)
        return {"attack": name, "alone": alone, "attacked": attacked,
                "kept_percent": 100 * attacked["per_second"] / alone["per_second"],
                "peak_mib": machine.peak_bytes(server.pid) / 2**20}


def line(result: dict) -> str:
    """For people."""
    rates = ", ".join(f"{result[when]['per_second']:,.0f}/s"
                      f" and p99 {result[when]['ms_p99']:,.0f} ms {when}"
                      for when in ("alone", "attacked"))
    return (f"{result['attack']}, {result['build']}: others {rates}"
            f" ({result['kept_percent']:.0f} %);"
            f" daemon {result['peak_mib']:,.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/bench/attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", choices=[[], *ATTACKS], help="default: all")
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--in-flight", type=int, default=64, help="orchestrations of the others")
    parser.add_argument("--baseline", type=pathlib.Path,
                        help="another build's sidecar, for a before")
    options = parser.parse_args()
    builds = {"current": SIDECAR}
    if options.baseline:
        builds = {"baseline": options.baseline, **builds}
    with tempfile.TemporaryDirectory(prefix="dt-attacks-") as root:
        pathlib.Path(root).chmod(0o755)
        for name in options.attacks or ATTACKS:
            for build, sidecar in builds.items():
                result = {"build": build, **measure(
                    name, Server(pathlib.Path(root) / f"{name}-{build}", sidecar), options)}
                note(line(result))
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
