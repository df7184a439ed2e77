"""Tokens and TLS: a daemon of its own that knows who may do what, called by the unmodified SDK.

The SDK's `metadata` option carries the token, `secure_channel` turns TLS on.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import grpc
import pytest
from durabletask.client import TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

from hub import COMPLETED, PENDING, SECONDS, eventually

SIDECAR = os.environ.get("DTPG_SIDECAR")
TOKENS = {name: f"token-of-{name}" for name in ("owner", "orders", "worker", "billing")}
ACCESS = [("owner", "orders-*", "admin"), ("orders", "orders-*", "contributor"),
          ("worker", "orders-*", "worker"), ("billing", "billing", "admin")]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def access_text():
    return "".join(
        f'[[principals]]\nname = "{name}"\n'
        f'sha256 = "{hashlib.sha256(TOKENS[name].encode()).hexdigest()}"\n'
        f'rules = [{{hub = "{hub}", role = "{role}"}}]\n' for name, hub, role in ACCESS)


@pytest.fixture
def address(monkeypatch):
    """A daemon with TLS and the principals above; its address."""
    if not SIDECAR:
        pytest.skip("DTPG_SIDECAR names no program to start")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="dt-access-"))
    directory.chmod(0o755)  # PostgreSQL's own user must be able to get through it.
    (directory / "access.toml").write_text(access_text())
    certificate, key = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes",
         "-days", "2", "-subj", "/CN=sidecar", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate], check=True, capture_output=True)
    # How gRPC's Python is told of a private authority, before its first secure channel.
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(certificate))
    address = f"127.0.0.1:{free_port()}"
    log = directory / "log"
    with open(log, "wb") as output:
        daemon = subprocess.Popen(
            [SIDECAR, "dev", "--data-dir", directory / "data", "--listen", address,
             "--access-file", directory / "access.toml",
             "--listen-tls-certificate-file", certificate, "--listen-tls-key-file", key],
            stdout=output, stderr=output)
    try:
        def serving():
            assert daemon.poll() is None, log.read_text()
            check = [SIDECAR, "healthcheck", "--address", address, "--tls"]
            return subprocess.run(check, capture_output=True).returncode == 0
        eventually(serving)
        yield address
    finally:
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(timeout=SECONDS)
        text = log.read_text()
        shutil.rmtree(directory)
    assert status == 0
    assert not any(token in text for token in TOKENS.values())


class Caller:
    """A client of one principal in one hub; makes workers for it."""

    def __init__(self, address, hub, token):
        self.options = dict(host_address=address, secure_channel=True, metadata=[
            ("taskhub", hub), *([("authorization", f"Bearer {token}")] if token else [])])
        self.client = TaskHubGrpcClient(**self.options)

    def worker(self, *, orchestrator, activity):
        worker = TaskHubGrpcWorker(**self.options)
        worker.add_orchestrator(orchestrator)
        worker.add_activity(activity)
        return worker


def refusal(call, *args, **options):
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **options)
    assert not any(token in error.value.details() for token in TOKENS.values())
    return error.value.code()


def test_tokens_and_tls(address):
    """The right token does all that its role allows in its hub, and nothing else does anything."""
    ran_by = []

    def greet(ctx, name):
        ran_by.append("right")
        return f"Hello, {name}!"

    def steal(ctx, name):
        ran_by.append("wrong")
        return "stolen"

    def hello(ctx, name):
        return (yield ctx.call_activity("greet", input=name))

    steal.__name__ = "greet"
    orders = Caller(address, "orders-1", TOKENS["orders"])
    start = orders.client.schedule_new_orchestration
    # `dev` creates hubs on first use, but only for who may create them.
    assert refusal(start, hello, input="you") == grpc.StatusCode.NOT_FOUND
    owner = Caller(address, "orders-1", TOKENS["owner"])
    assert owner.client.get_orchestration_state("none") is None
    instance = start(hello, input="you")

    nobody = [Caller(address, "orders-1", token)
              for token in (None, "guess", TOKENS["orders"] + "x")]
    for caller in nobody:
        assert refusal(caller.client.schedule_new_orchestration, hello) == \
            grpc.StatusCode.UNAUTHENTICATED
    foreign = [Caller(address, "orders-1", TOKENS["billing"]),
               Caller(address, "billing", TOKENS["orders"])]
    for caller in foreign:
        client = caller.client
        for call in (client.get_orchestration_state, client.terminate_orchestration,
                     client.purge_orchestration):
            assert refusal(call, instance) == grpc.StatusCode.PERMISSION_DENIED
    workers_own = Caller(address, "orders-1", TOKENS["worker"])
    assert refusal(workers_own.client.schedule_new_orchestration, hello) == \
        grpc.StatusCode.PERMISSION_DENIED

    # Workers that may not work here are started and ask; they get nothing.
    wrong = [caller.worker(orchestrator=hello, activity=steal) for caller in nobody + foreign[:1]]
    for worker in wrong:
        worker.start()
    assert orders.client.get_orchestration_state(instance).runtime_status == PENDING
    with workers_own.worker(orchestrator=hello, activity=greet) as worker:
        worker.start()
        state = orders.client.wait_for_orchestration_completion(instance, timeout=SECONDS)
    for worker in wrong:
        worker.stop()
    assert state.runtime_status == COMPLETED
    assert state.get_output() == "Hello, you!"
    assert ran_by == ["right"]
