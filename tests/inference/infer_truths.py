"""What is true of the programs in `infer_programs`, by NumPy alone: sums over assignments, closed forms, quadrature.

Each gives the log evidence first, then posterior probabilities and means by name.
"""

import itertools

import numpy as np
from scipy import stats
from scipy.special import gammaln, logsumexp

from . import infer_programs as programs


def arrays(*values):
    return tuple(np.asarray(value, float) for value in values)


def weighed(log_weights):
    """Log of a sum, and its shares."""
    total = logsumexp(log_weights)
    return float(total), np.exp(log_weights - total)


def assignments(elements, values=2):
    return np.array(list(itertools.product(range(values), repeat=elements)))


def log_normal(x, mean, scale):
    return -0.5 * ((x - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def log_density(y, covariance):
    return float(stats.multivariate_normal(np.zeros(len(y)), covariance).logpdf(y))


def line(low, high, nodes=40):
    """Points and weights of Gauss and Legendre between two numbers."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


def mixture_of_means(nodes=400):
    y, share = arrays(programs.HEIGHTS, programs.SHARE)
    (a, wa), (b, wb) = line(-6.0, 2.0, nodes), line(-4.0, 3.0, nodes)
    a, b = a[:, None], b[None, :]
    means = np.broadcast_arrays(a, a + np.exp(b))
    prior = log_normal(a, -1.0, 2.0) + log_normal(b, 0.0, 1.0) + np.log(wa)[:, None] + np.log(wb)
    each = np.array([np.log(share[k]) + log_normal(y, means[k][..., None], 0.8) for k in range(2)])
    points = logsumexp(each, axis=0)
    total, share_of = weighed(prior + points.sum(axis=-1))
    second = (share_of[..., None] * np.exp(each[1] - points)).sum(axis=(0, 1))
    return total, {"mu": np.array([(share_of * m).sum() for m in means]), "z": second}


def known_mixture():
    y, table, share = arrays(programs.HEIGHTS, programs.COMPONENTS, programs.SHARES)
    each = np.log(share) + log_normal(y[:, None], table[:, 0], table[:, 1])
    return float(logsumexp(each, axis=1).sum()), {"z": np.exp(each - logsumexp(each, axis=1, keepdims=True))}


def hidden_markov():
    initial, moves, emits = arrays(programs.INITIAL, programs.MOVES, programs.EMITS)
    y = np.asarray(programs.SYMBOLS)
    forward, backward = [initial], [np.ones(3)]  # of the first state, and of each that follows
    for symbol in y:
        forward.append((forward[-1] * emits[:, symbol]) @ moves)
    for symbol in y[::-1]:
        backward.append(emits[:, symbol] * (moves @ backward[-1]))
    both = np.array(forward) * np.array(backward[::-1])
    total = both[-1].sum()
    return float(np.log(total)), {"first": both[0] / total, "z": both[1:] / total}


def unknown_hidden_markov(nodes=28):
    y = np.asarray(programs.LEVELS)
    grid = [line(0.0, 1.0, nodes), line(0.0, 1.0, nodes), line(-1.5, 1.5, nodes), line(0.8, 4.2, nodes)]
    up, down, low, gap = np.meshgrid(*(x for x, _ in grid), indexing="ij", sparse=True)
    weight = np.ix_(*(w for _, w in grid))
    beta, gamma = stats.beta(2, 6), stats.gamma(4, scale=0.5)
    prior = beta.pdf(up) * beta.pdf(down) * stats.norm.pdf(low) * gamma.pdf(gap)
    for w in weight:
        prior = prior * w
    off, on = 1.0, 0.0
    for level in y:
        off, on = off * (1 - up) + on * down, off * up + on * (1 - down)
        off = off * np.exp(log_normal(level, low, 0.7))
        on = on * np.exp(log_normal(level, low + gap, 0.7))
    joint = prior * (off + on)
    total = joint.sum()
    means = [float((joint * x).sum() / total) for x in (up, down, low, gap)]
    last = float((prior * on).sum() / total)
    return float(np.log(total)), {"change": np.array(means[:2]), "low": means[2], "gap": means[3], "last": last}


def changepoint():
    y = np.asarray(programs.COUNTS, float)
    when = np.arange(1, len(y))

    def part(counts):
        """Log evidence of counts with one rate, and the mean of the rate."""
        shape, rate = 2.0 + counts.sum(), 1.0 + len(counts)
        log = gammaln(shape) - shape * np.log(rate) - gammaln(2.0) - gammaln(counts + 1).sum()
        return log, shape / rate

    early, late = (
        np.array([part(y[s]) for s in own]).T for own in ([slice(w) for w in when], [slice(w, None) for w in when])
    )
    total, share = weighed(early[0] + late[0] - np.log(len(when)))
    return total, {"when": share, "early": share @ early[1], "late": share @ late[1]}


def ising(coupling=0.4):
    up = assignments(16).reshape(-1, 4, 4)
    spin, field = 2.0 * up - 1, np.asarray(programs.FIELD)
    energy = (field * spin).sum(axis=(1, 2)) - 16 * np.log(2)
    energy += coupling * (spin[:, 1:] * spin[:, :-1]).sum(axis=(1, 2))
    energy += coupling * (spin[:, :, 1:] * spin[:, :, :-1]).sum(axis=(1, 2))
    total, share = weighed(energy)
    return total, {"up": np.tensordot(share, up, 1)}


def sprinkler():
    log, rows = [], assignments(3)
    for cloudy, on, rain in rows:
        p = 0.5 * [0.5, 0.1][cloudy] ** on * [0.5, 0.9][cloudy] ** (1 - on)
        p *= [0.2, 0.8][cloudy] ** rain * [0.8, 0.2][cloudy] ** (1 - rain)
        log.append(np.log(p * [[0.001, 0.9], [0.9, 0.99]][on][rain]))
    total, share = weighed(np.array(log))
    return total, dict(zip(("cloudy", "sprinkler", "rain"), share @ rows, strict=True))


def lda():
    words, documents = np.asarray(programs.WORDS), np.asarray(programs.DOCUMENT)
    z = assignments(len(words))
    topic = np.stack([z == 0, z == 1], axis=1).astype(float)  # (assignment, topic, word)
    in_topic = topic @ np.eye(4)[words]  # (assignment, topic, kind of word)
    in_document = topic @ np.eye(5)[documents]

    def dirichlet(counts, alpha, axis):
        each = (gammaln(counts + alpha) - gammaln(alpha)).sum(axis=axis)
        size = counts.shape[axis]
        return each + gammaln(size * alpha) - gammaln(counts.sum(axis=axis) + size * alpha)

    total, share = weighed(dirichlet(in_topic, 0.7, 2).sum(axis=1) + dirichlet(in_document, 0.8, 1).sum(axis=1))
    theta = (in_document[:, 0] + 0.8) / (in_document.sum(axis=1) + 1.6)
    phi = (in_topic + 0.7) / (in_topic.sum(axis=2, keepdims=True) + 2.8)
    both = np.einsum("a,ai,aj->ij", share, theta, theta)
    return total, {
        "theta": share @ theta,
        "phi": np.tensordot(share, phi, 1),
        "together": np.array([share @ (z[:, i] == z[:, 0]) for i in range(len(words))]),
        "apart": np.array([both[0, 1], both[0, 2]]),
    }


def how_many():
    y, log = programs.SPREAD, []
    for k in (1, 2, 3):
        labels = assignments(len(y), k)
        each = [log_density(y, 0.25 * np.eye(len(y)) + 4.0 * (z[:, None] == z)) for z in labels]
        log.append(logsumexp(each) - len(y) * np.log(k))
    total, share = weighed(np.array(log) + np.log([0.5, 0.3, 0.2]))
    return total, {"extra": share}


def visits():
    number = np.arange(400)
    total, share = weighed(number * np.log(0.6) + np.log(0.4) + stats.binom.logpmf(3, number, 0.8))
    return total, {"return": share}


def noisy_or():
    prior, shows = arrays(programs.PRIORS, programs.SHOWS)
    has, findings = assignments(8), np.asarray(programs.FINDINGS)
    absent = 0.98 * np.prod(1 - shows * has[:, None, :], axis=-1)
    seen = np.log(np.where(findings == 1, 1 - absent, absent)).sum(axis=1)
    total, share = weighed(seen + (has * np.log(prior) + (1 - has) * np.log1p(-prior)).sum(axis=1))
    return total, {"has": share @ has}


def spike_and_slab():
    x, y = arrays(programs.X, programs.RESPONSE)
    used, log, means = assignments(6), [], []
    for own in used:
        rows = x * own
        covariance = np.eye(len(y)) + rows @ rows.T
        log.append(log_density(y, covariance) + own.sum() * np.log(0.3) + (6 - own.sum()) * np.log(0.7))
        means.append(rows.T @ np.linalg.solve(covariance, y))
    total, share = weighed(np.array(log))
    return total, {"used": share @ used, "slope": share @ np.array(means)}
