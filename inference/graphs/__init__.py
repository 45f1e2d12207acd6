"""Factor graphs: finite variables, tables and counts, by hand or from a program or a file, and inference on them.

Law: a graph denotes the product of its tables and counts, normaliser included; exact methods keep it, and approximate
ones say what they guarantee.
May import: laws, findings, eager, representations, summing.
"""

import lazy_loader as _lazy

from .bound_methods import bind_methods as _bind_methods

# The public names stand in `__init__.pyi`.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
_bind_methods()
