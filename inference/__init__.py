"""lawful.inference: algorithms as short compositions of lawful transformers.

`inference.smc(model, particles=1000)(key, *args)`: an inference is built from a model and called with a key and the
model's arguments.
"""

if __name__ == "inference":
    raise ImportError(
        "import lawful.inference, not inference: "
        "the folder inference/ is installed as the package lawful.inference (run make setup)"
    )

from . import check, kernels
from .findings import Finding, Limits, Status
from .mcmc import mcmc
from .moving import move
from .representations.enumerated import Enumerated, enumerate
from .representations.sequential import Suspend, sequential
from .representations.traced import Trace
from .result import Result
from .smc import importance, particle_filter, smc
from .transformer import Transformer
from .transformers import Advance, Collapse, Finish, PushEvidence, ess_below, repeat_to_end, resample, spawn

__all__ = [
    "Advance",
    "Collapse",
    "Enumerated",
    "Finding",
    "Finish",
    "Limits",
    "PushEvidence",
    "Result",
    "Status",
    "Suspend",
    "Trace",
    "Transformer",
    "check",
    "enumerate",
    "ess_below",
    "importance",
    "kernels",
    "mcmc",
    "move",
    "particle_filter",
    "repeat_to_end",
    "resample",
    "sequential",
    "smc",
    "spawn",
]
