"""A process that puts jobs in line when it is told to: python -m airunner.bench.comparison.peers.produce PEER.

It reads {"kind": ..., "count": ...} from standard input, a line each, and answers with when it
began and when the queue had taken the last: {"start": ..., "end": ...}. It ends with its
input. Its first line says that it is ready.
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
