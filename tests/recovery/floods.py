"""What one hub can do to fill the memory of a daemon. Each flood lasts as long as its context."""

import contextlib
import threading
from collections.abc import Iterator

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from processes import SECONDS, eventually

MIB = 1 << 20
HUB = (("taskhub", "greedy"),)
ONLY_TURNS = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name="large")])
OPTIONS = [("grpc.max_receive_message_length", 100 * MIB),
           ("grpc.max_send_message_length", 100 * MIB)]


@contextlib.contextmanager
def client(address: str) -> Iterator[TaskHubSidecarServiceStub]:
    with grpc.insecure_channel(address, OPTIONS) as channel:
        yield TaskHubSidecarServiceStub(channel)


def start(stub: TaskHubSidecarServiceStub, name: str, count: int, input_bytes: int) -> list[str]:
    """Starts so many orchestrations, each with an input of this size."""
    value = StringValue(value="x" * input_bytes)
    ids = [f"{name}-{i}" for i in range(count)]
    for instance_id in ids:
        stub.StartInstance(pb.CreateInstanceRequest(instanceId=instance_id, name="large",
                                                    input=value),
                           metadata=HUB)
    return ids


def open_stream(stub: TaskHubSidecarServiceStub):
    """A worker stream for as many turns as there may be; whoever does not iterate it does not
    read."""
    return stub.GetWorkItems(
        pb.GetWorkItemsRequest(maxConcurrentOrchestrationWorkItems=1000,
                               workItemFilters=ONLY_TURNS),
        metadata=HUB)


@contextlib.contextmanager
def unread_items(address: str, count: int, input_bytes: int) -> Iterator[None]:
    """Turns with large inputs, for a worker that does not read them."""
    with client(address) as stub:
        stream = open_stream(stub)
        start(stub, f"unread-{input_bytes}", count, input_bytes)
        yield
        stream.cancel()


def answer_with_tasks(stub: TaskHubSidecarServiceStub, item: pb.WorkItem, tasks: int,
                      input_bytes: int) -> None:
    value = StringValue(value="y" * input_bytes)
    stub.CompleteOrchestratorTask(
        pb.OrchestratorResponse(
            instanceId=item.orchestratorRequest.instanceId, completionToken=item.completionToken,
            actions=[pb.OrchestratorAction(id=i + 1, scheduleTask=pb.ScheduleTaskAction(
                name="never", input=value)) for i in range(tasks)]),
        metadata=HUB)


@contextlib.contextmanager
def unread_histories(address: str, count: int, events: int, event_bytes: int) -> Iterator[None]:
    """Instances with large histories, each with a turn that is due, for a worker that does not
    read."""
    with client(address) as stub:
        reading = open_stream(stub)
        ids = start(stub, "history", count, 1)
        for _, item in zip(ids, reading):
            answer_with_tasks(stub, item, events, event_bytes)
        reading.cancel()
        stream = open_stream(stub)
        for instance_id in ids:
            stub.RaiseEvent(pb.RaiseEventRequest(instanceId=instance_id, name="go"), metadata=HUB)
        yield
        stream.cancel()


@contextlib.contextmanager
def endless_parts(address: str, count: int, part_bytes: int) -> Iterator[None]:
    """A worker that answers turns in parts of which none is the last, until it is refused."""
    over = threading.Event()
    refused = []

    def answer(item: pb.WorkItem) -> None:
        with client(address) as stub:
            value = StringValue(value="z" * part_bytes)
            index = 0
            while not over.is_set():
                part = pb.OrchestratorResponse(
                    instanceId=item.orchestratorRequest.instanceId,
                    completionToken=item.completionToken, isPartial=True,
                    chunkIndex=Int32Value(value=index), actions=[pb.OrchestratorAction(
                        id=index + 1,
                        scheduleTask=pb.ScheduleTaskAction(name="never", input=value))])
                index += 1
                try:
                    stub.CompleteOrchestratorTask(part, metadata=HUB)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
                    refused.append(item)
                    return

    with client(address) as stub:
        stream = open_stream(stub)
        start(stub, "parts", count, 1)
        threads = [threading.Thread(target=answer, args=[item])
                   for _, item in zip(range(count), stream)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: refused, "a part is refused")
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(SECONDS)
            stream.cancel()


@contextlib.contextmanager
def unread_answers(address: str, calls: int, output_bytes: int) -> Iterator[None]:
    """Calls that ask for an instance with a large input, over connections that are not read."""
    with client(address) as stub:
        [instance_id] = start(stub, "answers", 1, output_bytes)
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
        path = "/TaskHubSidecarService/GetInstance"
        with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1),
                                             ("grpc.http2.bdp_probe", 0),
                                             ("grpc.use_local_subchannel_pool", 1)]) as channel:
            # As a stream of answers: whoever does not iterate over it does not read.
            ask = channel.unary_stream(path,
                                       request_serializer=pb.GetInstanceRequest.SerializeToString)
            unread = [ask(request, metadata=HUB) for _ in range(calls)]
            eventually(lambda: any(call.done() for call in unread), "an answer is refused")
            [refused] = {call.code() for call in unread if call.done()}
            assert refused == grpc.StatusCode.RESOURCE_EXHAUSTED, refused
            yield
            for call in unread:
                call.cancel()
