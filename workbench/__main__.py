"""The script `workbench`, also as `python -m workbench`."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with its exit code; Ctrl+C counts from the first import on."""
    try:
        from workbench.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
