"""Quick compilation: small programs that run once or a hundred times are compiled in the shortest time, not to be fast.

Law: how a program is compiled changes the time that it takes, and its results by rounding at most.
"""

from __future__ import annotations

import os

# Options of one compilation, as `jax.jit(..., compiler_options=QUICK)`.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

# XLA takes this one from the environment alone. Kernels for the CPU are then made by LLVM directly, not through MLIR,
# which is 70 % of the time of an unoptimised compilation; programs that run for long become three times slower.
PLAIN_EMITTER = "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"


def use_plain_emitter() -> None:
    """Compile quickly on CPU in this process, if nothing was compiled in it yet, and in the processes that it starts.

    >>> use_plain_emitter()
    >>> os.environ["XLA_FLAGS"].count(PLAIN_EMITTER)
    1
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if PLAIN_EMITTER not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {PLAIN_EMITTER}".strip()
