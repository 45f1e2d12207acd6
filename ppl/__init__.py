"""lawful: probabilistic programs as traced forms, inference as lawful transformers, compiled by JAX."""

if __name__ == "ppl":
    raise ImportError("import lawful, not ppl: the folder ppl/ is installed as the package lawful (run make setup)")

from . import handlers as handlers
from . import messages as messages
from .errors import LawfulError as LawfulError
from .language import cond as cond
from .language import deterministic as deterministic
from .language import factor as factor
from .language import plate as plate
from .language import program as program
from .language import sample as sample
from .language import scan as scan
from .language import scope as scope
from .form import Form as Form
from .tracing import trace as trace
