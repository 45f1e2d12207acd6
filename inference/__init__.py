"""lawful.inference: algorithms as short compositions of lawful transformers.

`inference.smc(model, particles=1000)(key, *args)`: an inference is built from a model and called with a key and the
model's arguments.
"""

if __name__ == "inference":
    raise ImportError(
        "import lawful.inference, not inference: "
        "the folder inference/ is installed as the package lawful.inference (run make setup)"
    )

import lazy_loader

# What is public stands in `__init__.pyi`: a name is loaded when it is asked for, with no more than it needs.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
