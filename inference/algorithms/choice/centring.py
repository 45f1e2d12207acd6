"""Centring: how far each normal site stays centred, learned from draws that a run has, and then frozen.

Law: whatever shares are learned, `noncentred(centred=shares)` is an exact change of variables, so they change no
answer, only how easily chains find it. A share c is chosen for each element to make the latent value
z = c m + s^(c - 1) (x - m) as normal as it can be given the mean m and log s of its law: it minimises

    1/2 log Var(z | m, log s, linearly) + (1 - c) E log s,

the divergence of the draws from the nearest normal law in the coordinates z, up to a constant: the entropy of that law
less the mean log Jacobian. Draws alone enter, so equal draws give equal shares.

Reference: Gorinova, Moore and Hoffman (2020), Automatic reparameterisation of probabilistic programs, section 4.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.backends.xla import emit
from lawful.errors import LawfulError
from lawful.form import Det, Form, Site, Var
from lawful.form.builder import Block, Tupled
from lawful.form.choices import choices_of
from lawful.form.rewriting import with_subforms
from lawful.passes.predict import rerun

from ...contract import Transformer
from ...representations.partly_centred import is_plain, told_law
from ...transformers.noncentred import noncentred

LAW = "~law"  # ends the address of the mean and the scale of a site
GRID = np.linspace(0.0, 1.0, 21)
MOST = 1000  # draws that are read
FEWEST = 100  # different draws, or nothing is learned
TIE = 1e-6  # of the divergence, within which the smaller share is taken


def learnt_coordinates(
    form: Form, sites: Collection[Address], inputs: Sequence[Any], results: Sequence[Any]
) -> Transformer:
    """Make coordinates of all normal sites from the last result whose draws can tell; without one, standard normals.

    Args:
        form: the program.
        sites: addresses of the sites whose shares are learned.
        inputs: of the form.
        results: of earlier attempts, with draws of all sites.
    """
    for result in reversed(results):
        try:
            draws = result.surviving().posterior
        except LawfulError:  # no run has draws
            continue
        shares = learnt_shares(form, sites, inputs, draws)
        if shares:
            return noncentred(centred=shares)
    return noncentred()


def learnt_shares(
    form: Form, sites: Collection[Address], inputs: Sequence[Any], draws: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Learn the shares of sites, by name, each of the shape of one value.

    Args:
        form: the program.
        sites: addresses of normal sites; those of other laws or in an arm are left out.
        inputs: of the form.
        draws: of all latent sites, (chains, draws, *shape).

    Returns: nothing where draws of a site are missing or too few are different.
    """
    choices = choices_of(form)
    wanted = [c for c in choices if c.address in sites and not c.conditional and is_plain(c.law)]
    if not wanted or any(c.conditional or c.name not in draws for c in choices):
        return {}
    if any(0 in c.full_shape for c in choices):
        return {}
    flat = {c.name: np.reshape(draws[c.name], (-1, *c.full_shape)) for c in choices}
    step = -(-len(flat[wanted[0].name]) // MOST)
    flat = {name: x[::step] for name, x in flat.items()}
    again = rerun(with_laws(form, {c.address for c in wanted}), [c.address for c in choices])
    run = emit(again.form)
    places = {c.address: place for place, c in enumerate(again.named)}

    def laws(values: list[jax.Array]) -> Any:
        outputs, *_ = run(jax.random.key(0), *inputs, *values)
        return [outputs[places[(*c.address, LAW)]] for c in wanted]

    found = jax.jit(jax.vmap(laws))([jnp.asarray(flat[c.name], c.dtype) for c in again.given])
    shares = {}
    for choice, law in zip(wanted, found, strict=True):
        mean, scale = np.moveaxis(np.asarray(law, float), len(choice.loops) + 1, 0)
        gap = divergences(flat[choice.name], mean, scale)
        if gap is None:
            return {}
        gap = gap.sum(tuple(range(1, 1 + len(choice.loops))))  # the steps of loops have one share
        shares[choice.name] = GRID[np.argmax(gap <= gap.min(0) + TIE, axis=0)]
    return shares


def divergences(value: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    """Give the divergence at each share of the grid, (shares, *shape), up to a constant; None where draws are too few.

    Args:
        value: draws (n, *shape) of a site.
        mean: of its law, at each draw.
        scale: of its law, at each draw.
    """
    value = np.asarray(value, float)
    parts = np.stack([value, mean, np.log(np.where(scale > 0, scale, np.nan))])
    usable = np.isfinite(parts).all((0, *range(2, parts.ndim)))
    value, mean, log_scale = parts[:, usable]
    if len(np.unique(value.reshape(len(value), -1), axis=0)) < FEWEST:
        return None
    first = log_scale - log_scale.mean(0)
    second = _rest(mean - mean.mean(0), first)
    gaps = []
    for share in GRID:
        latent = share * mean + np.exp((share - 1.0) * log_scale) * (value - mean)
        rest = _rest(_rest(latent - latent.mean(0), first), second)
        gaps.append(0.5 * np.log(np.mean(rest**2, axis=0) + np.finfo(float).tiny) + (1.0 - share) * log_scale.mean(0))
    return np.stack(gaps)


def _rest(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Take away what x explains of y, linearly; what hardly varies explains nothing."""
    squares = np.sum(x**2, axis=0)
    varies = squares > 1e-20 * len(x)
    return y - np.where(varies, np.sum(x * y, axis=0) / np.where(varies, squares, 1.0), 0.0) * x


def with_laws(form: Form, sites: Collection[Address]) -> Form:
    """Name the mean and the scale of sites, (2, *shape), as values under their addresses and `~law`."""
    block = Block()
    block.constants.extend(form.constants)
    for node in form.nodes:
        block.nodes.append(with_subforms(node, lambda inner: with_laws(inner, sites)))
        if isinstance(node, Site) and node.observed is None and node.address in sites:
            out = Var((2, *node.law.shape), node.law.dtype, node.plates)
            function = Tupled(partial(_stacked, node.law))
            det = Det(function, tuple(node.parameters), (out,), "law", node.plates, address=(*node.address, LAW))
            block.nodes.append(det)
    return block.form(form.inputs, form.outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def _stacked(law: Any, *parameters: jax.Array) -> jax.Array:
    return jnp.stack(told_law(law, *parameters))
