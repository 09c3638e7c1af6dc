"""In the place of ssh, for tests: starts the engine behind it and carries the bytes, slowly; killed, it is a cut link.

relay.py DELAY PIECE COMMAND...: every PIECE bytes of what the engine says wait DELAY seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time


def main() -> int:
    delay, piece, *command = sys.argv[1:]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdin
        assert engine.stdout
        threading.Thread(target=carry, args=(0, engine.stdin.fileno(), 0.0, 65_536), daemon=True).start()
        carry(engine.stdout.fileno(), 1, float(delay), int(piece))
        return engine.wait()


def carry(source: int, target: int, delay: float, piece: int) -> None:
    """Copies until the source ends, then closes the target."""
    while data := os.read(source, piece):
        time.sleep(delay)
        while data:
            data = data[os.write(target, data) :]
    if target != 1:
        os.close(target)


if __name__ == "__main__":
    sys.exit(main())
