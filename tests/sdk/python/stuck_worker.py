"""A worker in a process of its own, whose activity never ends: test_killed_worker kills it.

Usage: stuck_worker.py HUB. Prints one line when the activity has begun.
"""

import sys
import threading

from hub import Hub


def survivor(ctx, text):
    result = yield ctx.call_activity("work", input=text)
    return result


def work(ctx, _):
    print(f"{ctx.orchestration_id} is stuck", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    Hub(sys.argv[1]).worker(survivor, activities=[work])
    threading.Event().wait()
