"""The sets that are nothing but runs of dtbench."""

from runs import ACTIVITY_COLUMNS, OPERATION_COLUMNS, Bench, Load, Outcome

DRAINED = 50_000
FINISHED = 100_000


def load(name: str, workload: str, **options: int | float | bool) -> Load:
    """Options by their names; with `count` the run itself says how much it does."""
    arguments = ["--workload", workload]
    for option, value in options.items():
        arguments.append("--" + option.replace("_", "-"))
        if value is not True:
            arguments.append(str(value))
    return Load(name, tuple(arguments), exact="count" in options)


def chain(activities: int, in_flight: int) -> Load:
    return load(f"chain of {activities:,}, {in_flight} in flight", "chain", activities=activities,
                in_flight=in_flight)


def fanout(activities: int, in_flight: int) -> Load:
    return load(f"fan-out of {activities:,}, {in_flight} in flight", "fanout",
                activities=activities, in_flight=in_flight)


def long_chain(activities: int, in_all: int, streaming: bool) -> Load:
    """Chains side by side, with the same number of activities in all."""
    options: dict = dict(history_streaming=True) if streaming else {}
    return load(f"chain of {activities:,}{', streaming worker' if streaming else ''}", "chain",
                activities=activities, in_flight=8, count=in_all // activities, warmup_seconds=0,
                **options)


def chains(bench: Bench) -> Outcome:
    return bench.outcome("Chains", [chain(activities, in_flight) for activities in (3, 5, 50)
                                    for in_flight in (1, 64, 256)])


def fanouts(bench: Bench) -> Outcome:
    return bench.outcome("Fan-out, with a chain to compare", [
        chain(5, 256), fanout(10, 128), fanout(100, 16), fanout(1000, 4)])


def tree(bench: Bench) -> Outcome:
    return bench.outcome("Trees of sub-orchestrations, 3 wide and 3 deep", [
        load(f"{in_flight} in flight", "tree", width=3, depth=3, in_flight=in_flight)
        for in_flight in (1, 16)])


def timers(bench: Bench) -> Outcome:
    return bench.outcome("Durable timers", [
        load("100,000 due within 60 s", "timers", count=100_000, timer_spread_seconds=60,
             in_flight=256),
        load("10,000 due at one instant", "timers", count=10_000, in_flight=256)])


def events(bench: Bench) -> Outcome:
    return bench.outcome("Events", [
        load("one each to 10,000 instances", "events", count=10_000, in_flight=256),
        load("1,000 to one instance", "events", count=1, events_each=1000, in_flight=256)])


def generations(bench: Bench) -> Outcome:
    return bench.outcome("Continue as new, 1,000 generations", [
        load(f"{in_flight} in flight", "generations", generations=1000, in_flight=in_flight,
             count=in_flight, warmup_seconds=0) for in_flight in (1, 16)])


def entities(bench: Bench) -> Outcome:
    return bench.outcome("Entities", [
        load(f"{name}, {in_flight} in flight", workload, in_flight=in_flight, **options)
        for name, workload, options in (
            ("10 signals and a call to one", "entity_hot", {}),
            ("5 calls to 1,000", "entity_many", {}),
            ("5 signals and a call to 1,000", "entity_many", {"signals": 5, "calls": 1}),
            ("locks of two of 100", "entity_lock", {}))
        for in_flight in (1, 64)], OPERATION_COLUMNS)


def long_loads() -> list[Load]:
    return [long_chain(10, 16_000, False), long_chain(1000, 16_000, False),
            long_chain(10, 16_000, True), long_chain(1000, 16_000, True)]


def long(bench: Bench) -> Outcome:
    return bench.outcome("Long chains, 8 in flight", long_loads(), ACTIVITY_COLUMNS)


def payloads(bench: Bench) -> Outcome:
    large = {"in_flight": 4, "count": 40, "warmup_seconds": 0}  # a chain of these takes its time
    return bench.outcome("Chains of 5 with large inputs and results", [
        load(f"{size:,} bytes, {options['in_flight']} in flight", "chain", activities=5,
             payload_bytes=size, **options)
        for size, options in ((1024, {"in_flight": 256}), (65536, {"in_flight": 64}),
                              (1048576, large))])


def low(bench: Bench) -> Outcome:
    return bench.outcome("Low load", [
        load("chain of 5, 10 starts/s", "chain", activities=5, starts_per_second=10),
        chain(5, 1)])


def drain(bench: Bench) -> Outcome:
    queued = load(f"{DRAINED:,} chains of 5, beside {FINISHED:,} finished", "chain", activities=5,
                  queue_first=True, count=DRAINED, in_flight=256)
    return bench.outcome("Queued without a worker, then drained",
                         [Load(queued.name, queued.arguments, exact=True, finished=FINISHED)])
