"""lawful: probabilistic programs as traced forms, inference as lawful transformers, compiled by JAX."""

if __name__ == "ppl":
    raise ImportError("import lawful, not ppl: the folder ppl/ is installed as the package lawful (run make setup)")

from importlib.metadata import version as _version

import lazy_loader as _lazy

from .inspection.methods import bind_methods as _bind_methods

# What is public stands in `__init__.pyi`: a name is loaded when it is asked for, with no more than it needs.
__getattr__, _names, __all__ = _lazy.attach_stub(__name__, __file__)
__version__ = _version("lawful")
_bind_methods()


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted([*_names(), "__version__", *({"inference", "models"} & globals().keys())])
