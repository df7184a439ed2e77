# A worker for deploy/COMMAND_LINE.md: its orders wait for an event, and then for an activity that
# this worker does not have. It runs until it is ended.
import os
import signal

from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker


def charge(ctx, item):
    return f"charged for {item}"


def order(ctx, item):
    yield ctx.call_activity(charge, input=item)
    yield ctx.wait_for_external_event("packed")
    yield ctx.call_activity("ship", input=item)


address = os.environ.get("DTPG_ADDRESS", "localhost:4001")
slots = ConcurrencyOptions(maximum_concurrent_activity_work_items=10,
                           maximum_concurrent_orchestration_work_items=10)
with TaskHubGrpcWorker(host_address=address, concurrency_options=slots) as worker:
    worker.add_orchestrator(order)
    worker.add_activity(charge)
    worker.use_work_item_filters()  # it is sent only what it knows
    worker.start()
    signal.pause()
