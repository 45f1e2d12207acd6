"""Time lawful side by side with the floor and its peers: `python benchmarks/run.py W1`; see README.md here."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.harness.driver import main

    main()
