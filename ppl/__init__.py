"""lawful: probabilistic programs as traced forms, inference as lawful transformers, compiled by JAX."""

if __name__ == "ppl":
    raise ImportError("import lawful, not ppl: the folder ppl/ is installed as the package lawful (run make setup)")

from importlib.metadata import version as _version

from . import errors, handlers, messages
from .censoring import Interval
from .check import check_program
from .compile_cache import compile_cache
from .control import bounded_loop, cond, scan, switch
from .errors import LawfulError
from .export import Density, density
from .form import Form
from .incomplete import missing
from .language import deterministic, factor, mask, plate, program, sample, scale, scope
from .memoise import mem
from .numpyro_models import from_numpyro
from .ragged import pad
from .stored import open_run
from .tracing import trace
from .truncated import truncated

__version__ = _version("lawful")

__all__ = [
    "Density",
    "Form",
    "Interval",
    "LawfulError",
    "bounded_loop",
    "check_program",
    "compile_cache",
    "cond",
    "density",
    "deterministic",
    "errors",
    "factor",
    "from_numpyro",
    "handlers",
    "mask",
    "mem",
    "messages",
    "missing",
    "open_run",
    "pad",
    "plate",
    "program",
    "sample",
    "scale",
    "scan",
    "scope",
    "switch",
    "trace",
    "truncated",
]


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted([*__all__, "__version__", *({"inference", "models"} & globals().keys())])
