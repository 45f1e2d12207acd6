"""One of several processes that share their devices.

    python -m tests.inference.sharding.processes ID COUNT PORT JOB ...

This is the recipe of docs/many_devices.md: nothing is computed before the processes have found each other.
"""

import sys

import jax

if __name__ == "__main__":
    number, count, port, *jobs = sys.argv[1:]
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=int(count), process_id=int(number))

    from tests.inference.sharding.devices import main

    main(jobs)
