from . import errors as errors
from . import handlers as handlers
from . import messages as messages
from .backends.compile_options import compile_cache as compile_cache
from .distributions.observed_law import Interval as Interval
from .distributions.truncated import truncated as truncated
from .errors import LawfulError as LawfulError
from .form import Form as Form
from .form.arguments.random_keys import one_key as one_key
from .inference.checkpoints.stored_run import open_run as open_run
from .inspection.lint.check import check_program as check_program
from .interop.density import Density as Density
from .interop.density import density as density
from .interop.numpyro.from_numpyro import from_numpyro as from_numpyro
from .language.control import bounded_loop as bounded_loop
from .language.control import cond as cond
from .language.control import scan as scan
from .language.control import switch as switch
from .language.data.observed import missing as missing
from .language.mem import mem as mem
from .language.padding import pad as pad
from .language.plates import plate as plate
from .language.statements import (
    deterministic as deterministic,
)
from .language.statements import (
    factor as factor,
)
from .language.statements import (
    mask as mask,
)
from .language.statements import (
    program as program,
)
from .language.statements import (
    sample as sample,
)
from .language.statements import (
    scale as scale,
)
from .language.statements import (
    scope as scope,
)
from .tracing.trace import trace as trace

__version__: str
__all__: list[str]
