"""A worker process as seen by the driver: start it, ask for one run, stop it.

Law: one request is answered by one record, or by ContestantError with the reason; a worker that is silent past the
limit is ended and counts as not finished.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ("JAX_", "XLA_")  # settings of the caller's shell that would change what is measured
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")  # one for each core


class ContestantError(Exception):
    """A contestant that failed or did not finish."""


class Worker:
    """One contestant, built and waiting."""

    def __init__(
        self,
        python: str,
        module: str,
        settings: Mapping[str, Any],
        limit_s: float,
        cores: int | None = None,
        variables: Mapping[str, str] | None = None,  # of its environment, beside those of the caller
    ) -> None:
        self._limit_s = limit_s
        environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        environment |= dict.fromkeys(THREADS, str(cores)) if cores else {}
        environment |= variables or {}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", module, json.dumps(dict(settings)), str(cores or 0)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.description = self._answer()
        except ContestantError:
            self.close()
            raise

    def run(self, i: int) -> dict[str, Any]:
        """One run with key i."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"run": i}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ContestantError("its process ended") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(self._limit_s):
                self.close()
                raise ContestantError(f"not finished within {self._limit_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise ContestantError(f"its process ended with status {self._process.wait()}")
        record = json.loads(line)
        if "error" in record:
            raise ContestantError(record["error"].splitlines()[0].replace(str(ROOT), "."))
        return record

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # an unsent request dies with the worker
