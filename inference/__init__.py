"""lawful.inference: algorithms as short compositions of lawful transformers.

`inference.smc(model, particles=1000)(key, *args)`: an inference is built from a model and called with a key and the
model's arguments.
"""

if __name__ == "inference":
    raise ImportError(
        "import lawful.inference, not inference: "
        "the folder inference/ is installed as the package lawful.inference (run make setup)"
    )

from . import check as check
from . import kernels as kernels
from .findings import Finding as Finding
from .findings import Limits as Limits
from .findings import Status as Status
from .mcmc import mcmc as mcmc
from .moving import move as move
from .representations.enumerated import Enumerated as Enumerated
from .representations.enumerated import enumerate as enumerate
from .representations.sequential import Suspend as Suspend
from .representations.sequential import sequential as sequential
from .representations.traced import Trace as Trace
from .result import Result as Result
from .smc import importance as importance
from .smc import particle_filter as particle_filter
from .smc import smc as smc
from .transformer import Transformer as Transformer
from .transformers import Advance as Advance
from .transformers import Collapse as Collapse
from .transformers import Finish as Finish
from .transformers import PushEvidence as PushEvidence
from .transformers import ess_below as ess_below
from .transformers import repeat_to_end as repeat_to_end
from .transformers import resample as resample
from .transformers import spawn as spawn
