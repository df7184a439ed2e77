# A worker with one orchestration and one activity, and a client that runs it, in one process.
import os

from durabletask.client import TaskHubGrpcClient
from durabletask.task import ActivityContext, OrchestrationContext, when_all
from durabletask.worker import TaskHubGrpcWorker

address = os.environ.get("DTPG_ADDRESS", "localhost:4001")


def hello(ctx: ActivityContext, city: str) -> str:
    return f"Hello, {city}!"


def greet_all(ctx: OrchestrationContext, cities: list[str]):
    greetings = yield when_all([ctx.call_activity(hello, input=city) for city in cities])
    return greetings


with TaskHubGrpcWorker(host_address=address) as worker:
    worker.add_activity(hello)
    worker.add_orchestrator(greet_all)
    worker.start()

    client = TaskHubGrpcClient(host_address=address)
    instance = client.schedule_new_orchestration(greet_all, input=["Lima", "Oslo", "Turin"])
    state = client.wait_for_orchestration_completion(instance, timeout=60)
    print(state.runtime_status.name, state.serialized_output)
