"""A worker in a process of its own, whose activity and entity never end: tests kill it.

Usage: stuck_worker.py HUB. Prints one line when one of them has begun.
"""

import sys
import threading

from entities import call
from hub import Hub


def survivor(ctx, text):
    result = yield ctx.call_activity("work", input=text)
    return result


def work(ctx, _):
    print(f"{ctx.orchestration_id} is stuck", flush=True)
    threading.Event().wait()


def stuck(ctx, _):
    print(f"{ctx.entity_id} is stuck", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    Hub(sys.argv[1]).worker(survivor, call, activities=[work], entities=[stuck])
    threading.Event().wait()
