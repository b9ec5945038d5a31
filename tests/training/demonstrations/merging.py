"""Forks a process per line of its input, each of which merges; waits to be told to kill it.

Started once, so that a kill does not cost the start of an interpreter. It has no threads.
"""

import json
import os
import signal
import sys
import time

from bridle.training.demonstrations.merging import merge


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            try:
                merge(order["inputs"], order["out"])
                os._exit(0)
            except BaseException as error:
                print(f"merge: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
        if order["after"] is not None:
            time.sleep(order["after"])
            os.kill(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
