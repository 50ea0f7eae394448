"""A producer process that enqueues jobs on request.

    python -m airunner.bench.comparison.peers.produce PEER

The process reads orders from standard input, a line each: {"kind": ..., "count": ...}. It answers
each order with the times of the first call and of the queue's last answer: {"start": ..., "end":
...}. It ends with its input. Its first line of output reports that it is ready.
"""

import importlib
import json
import sys
import time


def main() -> None:
    peer = importlib.import_module(f"airunner.bench.comparison.peers.{sys.argv[1]}")
    peer.prepare()
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        start = time.time()
        peer.enqueue(order["kind"], order["count"])
        print(json.dumps({"start": start, "end": time.time()}), flush=True)


if __name__ == "__main__":
    main()
