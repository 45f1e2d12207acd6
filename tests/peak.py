"""The peak of this process's memory, as the system counts it since the program began.

Not that of `getrusage`: it starts at what the parent held when it forked, which may be more than the child ever takes.
"""

from pathlib import Path


def peak_bytes():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
