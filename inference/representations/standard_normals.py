"""Standard normals: a program whose draws are functions of standard normals, one for each number that it draws.

Law: [[by_normals(p)]] = [[p]] as a measure on outputs: a site of law q becomes a noise u ~ N(0, 1) and the value
F(Phi(u)), F being the quantile function of q. What a program computes then moves little where the noise moves little.

Reference: Deligiannidis, Doucet and Pitt (2018), The correlated pseudo-marginal method, section 2: particles are sorted
before they are resampled, or else a small change of one moves all ancestors after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import ndtr

from lawful.addresses import Address, show_address
from lawful.distributions.families import core_of
from lawful.distributions.law import DistributionLaw, law_of
from lawful.distributions.short_roots import times
from lawful.errors import UnsupportedProgramError
from lawful.form import Det, Form, Node, Site, Var
from lawful.form.builder import Block, Tupled
from lawful.form.choices import NORMAL as NORMAL
from lawful.form.dependence import dependence
from lawful.form.rewriting import with_operations, with_subforms

from ..laws.picks import PickLaw
from ..laws.resampling_schemes import ResampleLaw
from .population import take


def by_normals(form: Form, only: Collection[Address] | None = None, *, named: bool = False) -> Form:
    """Rewrite draws of a form as functions of standard normals.

    Args:
        form: a form, as a particle filter; its sites are normal, functions of normals, of a law whose quantiles NumPyro
            knows, or Bernoulli or categorical; ancestors and picks of an algorithm.
        only: the sites to rewrite; default: all.
        named: keep the values of the rewritten sites, as named values under the addresses of the sites.

    Returns: the same measure on the same outputs; the choices are the noises, named `<site>.~normal`.

    Raises: UnsupportedProgramError for a site of another law.

    >>> import numpyro.distributions as dist, lawful
    >>> form = by_normals(lawful.trace(lambda: lawful.sample("x", dist.LogNormal(0.0, 2.0))))
    >>> [site.address for site in form.sites()]
    [('x', '~normal')]
    """
    block = Block()
    block.constants.extend(form.constants)
    for node in form.nodes:
        if isinstance(node, Site) and node.observed is None and (only is None or node.address in only):
            _rewrite(block, node, form.nodes, named)
        else:
            block.nodes.append(with_subforms(node, lambda inner: by_normals(inner, only, named=named)))
    return block.form(form.inputs, form.outputs, in_tree=form.in_tree, out_tree=form.out_tree)


def without_names(form: Form, gone: Collection[Address]) -> Form:
    """Take the names off the values of rewritten sites that read choices which are summed out, as `gone`.

    A named value is a part of the record of a program, and so would keep what draws those choices back.
    """
    graph = dependence(form, named=True)
    rewritten = [a for a, v in graph.vertices.items() if v.kind == "deterministic" and (*a, NORMAL) in graph.vertices]
    lost = {address for address in rewritten if not graph.ancestors([address]).isdisjoint(gone)}
    return with_operations(form, lambda node, _: replace(node, address=None) if node.address in lost else node)


def normal_site(
    block: Block, address: Any, shape: tuple[int, ...], plates: Sequence[Any] = (), droppable: bool = False
) -> Var:
    """Append standard normals of a shape."""
    dtype = jnp.result_type(float)  # NumPy has nothing to compile
    law, parameters = law_of(dist.Normal(np.zeros(shape, dtype), 1.0).to_event(len(shape)))
    noise = Var(tuple(law.shape), law.dtype, tuple(plates))
    constants = tuple(block.constant(x) for x in parameters)
    block.nodes.append(Site(address, law, constants, noise, plates=tuple(plates), droppable=droppable))
    return noise


def _rewrite(block: Block, node: Site, nodes: Sequence[Node], named: bool) -> None:
    """Append the noise of a site, and the value that it makes."""
    law, parameters, plates = node.law, tuple(node.parameters), node.plates
    if isinstance(law, ResampleLaw):
        shape = law.scheme.uniforms_shape(law.size, law.offspring)
        key = _sorted_by(node, nodes)
        operands = (*parameters, *(() if key is None else (key,)))
        function: Callable[..., Any] = partial(_ancestors, law)
    elif isinstance(law, PickLaw):
        shape, operands, function = (), parameters, _picked
    elif law.numbered is not None:
        _refuse_without_quantiles(node, law)
        shape, operands, function = law.shape, parameters, partial(_value, law)
    else:
        raise _no_quantiles(node)
    noise = normal_site(block, (*node.address, NORMAL), tuple(shape), plates)
    label = f"{node.address[-1]} by normals"
    value = Det(Tupled(function), (noise, *operands), (node.out,), label, plates)
    if named:
        value = replace(value, **node.told())
    block.nodes.append(value)


def _sorted_by(node: Site, nodes: Sequence[Node]) -> Var | None:
    """Find the first value that ancestors gather which has an order."""
    gathered = (n.ins[0] for n in nodes if isinstance(n, Det) and n.function == Tupled(take) and n.ins[1] is node.out)
    return next((v for v in gathered if jnp.issubdtype(v.dtype, jnp.floating)), None)


def _ancestors(law: ResampleLaw, noise: jax.Array, weights: jax.Array, *key: jax.Array) -> jax.Array:
    """Resample particles in the order of the first number of their key."""
    uniforms = jnp.minimum(ndtr(noise), 1.0 - jnp.finfo(noise.dtype).epsneg)
    if not key:
        return law.scheme.push(uniforms, weights, law.offspring).astype(jnp.int32)
    order = jnp.argsort(key[0].reshape(law.size, -1)[:, 0])
    return order[law.scheme.push(uniforms, weights[order], law.offspring)].astype(jnp.int32)


def _picked(noise: jax.Array, weights: jax.Array) -> jax.Array:
    """Pick an index by its weight; weights that are all zero pick uniformly."""
    usable = jnp.where(jnp.sum(weights) > 0, weights, jnp.ones_like(weights))
    return _index(noise, usable).astype(jnp.int32)


def _index(noise: jax.Array, weights: jax.Array) -> jax.Array:
    """Find the index whose share of the weights, along the last axis, holds the probability below a noise.

    An item of weight zero at the end has no share, although a rounded probability may be one.
    """
    sums = jnp.cumsum(weights, axis=-1)
    return jnp.sum((ndtr(noise) * sums[..., -1])[..., None] > sums[..., :-1], axis=-1)


def _value(law: DistributionLaw, noise: jax.Array, *parameters: jax.Array) -> jax.Array:
    return jnp.broadcast_to(quantile(law.distribution(*parameters), noise), law.shape).astype(law.dtype)


def quantile(distribution: Any, noise: jax.Array) -> jax.Array:
    """Give the value of a distribution that standard normals of its shape make.

    >>> import jax.numpy as jnp, numpyro.distributions as dist
    >>> float(quantile(dist.Normal(1.0, 2.0), jnp.array(0.5))), int(quantile(dist.Bernoulli(0.3), jnp.array(0.0)))
    (2.0, 0)
    """
    distribution = core_of(distribution)
    if isinstance(distribution, dist.Normal):
        return distribution.loc + distribution.scale * noise
    if isinstance(distribution, dist.MultivariateNormal):
        return distribution.loc + times(jnp.asarray(distribution.scale_tril), noise)
    if isinstance(distribution, dist.TransformedDistribution):
        if distribution.base_dist.shape() != distribution.shape():
            # as numpyro says it of a law without a quantile function; by_normals then names the site
            raise NotImplementedError("there are not as many normals as numbers")
        value = quantile(distribution.base_dist, noise)
        for transform in distribution.transforms:
            value = transform(value)
        return value
    if isinstance(distribution, dist.BernoulliProbs | dist.BernoulliLogits):
        p = distribution.probs  # each tail by its own small numbers: what is impossible stays so
        return jnp.where(p > 0.5, ndtr(noise) >= 1.0 - p, ndtr(-noise) < p)
    if isinstance(distribution, dist.CategoricalProbs | dist.CategoricalLogits):
        return _index(noise, distribution.probs)
    found: jax.Array = distribution.icdf(ndtr(noise))
    return found


def _refuse_without_quantiles(node: Site, law: DistributionLaw) -> None:
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in node.parameters]
    try:
        jax.eval_shape(partial(_value, law), jax.ShapeDtypeStruct(law.shape, jnp.result_type(float)), *shapes)
    except (NotImplementedError, ImportError) as error:  # some quantiles of NumPyro are those of another package
        raise _no_quantiles(node) from error


def _no_quantiles(node: Site) -> UnsupportedProgramError:
    return UnsupportedProgramError(
        f"by_normals: site '{show_address(node.address)}' ({node.source}) has the law {node.law.label}, whose quantile "
        "function is not known. Fix: write it as a function of normals, or use pmmh without correlation.",
        site=node.address,
    )
