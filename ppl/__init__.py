"""lawful: probabilistic programs as traced forms, inference as lawful transformers, compiled by JAX."""

if __name__ == "ppl":
    raise ImportError("import lawful, not ppl: the folder ppl/ is installed as the package lawful (run make setup)")

from importlib.metadata import version as _version

from . import errors, handlers, messages
from .errors import LawfulError
from .export import Density, density
from .form import Form
from .language import cond, deterministic, factor, plate, program, sample, scan, scope
from .tracing import trace

__version__ = _version("lawful")

__all__ = [
    "Density",
    "Form",
    "LawfulError",
    "cond",
    "density",
    "deterministic",
    "errors",
    "factor",
    "handlers",
    "messages",
    "plate",
    "program",
    "sample",
    "scan",
    "scope",
    "trace",
]
