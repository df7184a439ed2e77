"""The sets that are nothing but runs of dtbench."""

from runs import COLUMNS, Bench, Load, Outcome


def chain(activities: int, in_flight: int, *more: str) -> Load:
    return Load(f"chain of {activities:,}, {in_flight} in flight",
                ("--workload", "chain", "--activities", str(activities), "--in-flight",
                 str(in_flight), *more))


def fanout(activities: int, in_flight: int) -> Load:
    return Load(f"fan-out of {activities:,}, {in_flight} in flight",
                ("--workload", "fanout", "--activities", str(activities), "--in-flight",
                 str(in_flight)))


def chains(bench: Bench) -> Outcome:
    return bench.outcome("Chains", [chain(activities, in_flight) for activities in (3, 5, 50)
                                    for in_flight in (1, 64, 256)])


def fanouts(bench: Bench) -> Outcome:
    return bench.outcome("Fan-out, with a chain to compare", [
        chain(5, 256), fanout(10, 128), fanout(100, 16), fanout(1000, 4)])


def payloads(bench: Bench) -> Outcome:
    return bench.outcome("Chains of 5 with large inputs and results", [
        Load(f"{size:,} bytes, {in_flight} in flight",
             ("--workload", "chain", "--activities", "5", "--in-flight", str(in_flight),
              "--payload-bytes", str(size)))
        for size, in_flight in ((1024, 256), (65536, 64), (1048576, 4))])
