"""lawful: probabilistic programs as traced forms, inference as lawful transformers, compiled by JAX."""

if __name__ == "ppl":
    raise ImportError("import lawful, not ppl: the folder ppl/ is installed as the package lawful (run make setup)")

from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import errors, handlers, messages
from .backends.compile_options import compile_cache
from .distributions.observed_law import Interval
from .distributions.truncated import truncated
from .errors import LawfulError
from .form import Form
from .inspection.lint.check import check_program
from .inspection.methods import bind_methods as _bind_methods
from .interop.density import Density, density
from .interop.numpyro.models import from_numpyro
from .language.control import bounded_loop, cond, scan, switch
from .language.data.observed import missing
from .language.mem import mem
from .language.padding import pad
from .language.statements import deterministic, factor, mask, plate, program, sample, scale, scope
from .tracing.trace import trace

_bind_methods()

if _TYPE_CHECKING:
    from lawful.inference.checkpoints.stored import open_run

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


def __getattr__(name: str) -> object:
    """Find `open_run` where inference keeps it, which imports this package."""
    if name == "open_run":
        from lawful.inference.checkpoints.stored import open_run

        return open_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted([*__all__, "__version__", *({"inference", "models"} & globals().keys())])
