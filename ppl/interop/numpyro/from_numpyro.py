"""From NumPyro: models, unchanged: a model in NumPyro's language as a program of ours.

Law: the program has the sites of `numpyro.handlers.trace` and the density of `numpyro.infer.util.log_density`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import LawfulError
from ...form.arguments.constant_data import allow
from .adapter import Adapter, refuse_unknown

_LOCK = threading.RLock()  # NumPyro has one stack of handlers for all threads


def from_numpyro(
    model: Callable[..., Any], *, params: Mapping[str, Any] | None = None, subsample: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """Read a NumPyro model as a program: every inference takes it, without an edit.

    Handlers of NumPyro around the model or inside it keep their meaning, and so do plates, subsampling, scan and cond;
    but of the handlers around a scan or a cond, those that would act on its sites are refused, save `condition`.
    Names are the same; a prefix of `numpyro.handlers.scope`, "a/x", becomes the address ("a", "x"), in results "a.x". A
    site with `obs_mask` is one site here, and its missing elements are summed out where nothing reads them. Random keys
    come from addresses, so `numpyro.handlers.seed` only serves sites that are hidden by `block`.

    A model may compute Python numbers from its data, as `int(np.max(codes))`, where they are arrays of NumPy: the data
    are then constants of the Form, and other data are traced and compiled anew.

    Args:
        model: a function with statements of NumPyro, or one wrapped in its handlers.
        params: values of `numpyro.param` by name; one that is left out keeps the value that it starts from. Call
            `from_numpyro` inside a program to make them arguments of it.
        subsample: for each plate that subsamples, the integer indices of its rows.

    Returns: a program of the model's arguments.

    Raises:
        LawfulError: a parameter has no value, or a name is no parameter or plate.
        UnsupportedProgramError: the model subsamples without indices, uses mutable state, or has a handler around a
            scan or a cond that would act inside.
        IndexRangeError: an index is no element of its plate.

    >>> import numpyro, numpyro.distributions as dist, lawful
    >>> def coin(flips):
    ...     p = numpyro.sample("p", dist.Beta(2.0, 2.0))
    ...     with numpyro.plate("flip", len(flips)):
    ...         numpyro.sample("heads", dist.Bernoulli(p), obs=flips)
    >>> import jax.numpy as jnp
    >>> form = lawful.trace(lawful.from_numpyro(coin), jnp.array([1, 1, 0]))
    >>> round(float(form.log_density({"p": 0.5}, jnp.array([1, 1, 0]))), 4)
    -1.674
    """
    if not callable(model):
        raise LawfulError(f"from_numpyro: expected a NumPyro model, a function, got {type(model).__name__}.")
    given, rows = dict(params or {}), dict(subsample or {})

    @functools.wraps(model, updated=())
    def program(*args: Any, **kwargs: Any) -> Any:
        with _LOCK:
            adapter = Adapter(given, rows)
            with adapter:
                out = model(*args, **kwargs)
                adapter.finish()
        refuse_unknown(adapter)
        return out

    allow(program)
    return program
