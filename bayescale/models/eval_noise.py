"""How a benchmark score scatters about the accuracy that a model of a capability has: densities of cells, elementwise."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from scipy.special import ndtr
from scipy.stats import binom

NoiseName = Literal["normal", "beta", "beta_binomial"]
NOISES: tuple[NoiseName, ...] = ("normal", "beta", "beta_binomial")

#: Beta densities are taken this far from 0 and 1, where they may have poles.
_EDGE = 1e-4


class Cells(NamedTuple):
    """What the density of a score depends on beside the logit; arrays of one shape.

    Parameters
    ----------
    y : score.
    per_item : 1 over the number of items; 0 where it is not known.
    floor, ceiling : accuracy of a model of no, and of every, capability.
    sigma : standard deviation of what adds to the accuracy.
    jitter : standard deviation of what adds to the logit.
    """

    y: Any
    per_item: Any
    floor: Any
    ceiling: Any
    sigma: Any
    jitter: Any


def mean_of(xp: Any, eta: Any, floor: Any, ceiling: Any) -> Any:
    """``floor + (ceiling - floor) sigmoid(eta)``."""
    return floor + (ceiling - floor) * (0.5 + 0.5 * xp.tanh(eta / 2))


def moments(xp: Any, eta: Any, cells: Cells) -> tuple[Any, Any, Any]:
    """Mean of the score, its derivative in the logit, and the variance of the score."""
    share = 0.5 + 0.5 * xp.tanh(eta / 2)
    range_ = cells.ceiling - cells.floor
    mean, slope = cells.floor + range_ * share, range_ * share * (1 - share)
    return mean, slope, cells.sigma**2 + mean * (1 - mean) * cells.per_item + (slope * cells.jitter) ** 2


def log_density(noise: NoiseName, eta: Any, cells: Cells) -> Any:
    """Log density of each score given its logit.

    Notes
    -----
    ``"normal"``: mean ``mu``, variance ``sigma^2 + mu (1 - mu) / n + (mu' jitter)^2``. ``"beta"``: the same two moments, held
    to what a beta distribution can have. ``"beta_binomial"``: counts ``y n``, the accuracy of an item set beta with the moments
    that are left when the binomial part is taken out; the density is per unit of accuracy.
    """
    mean, _, variance = moments(jnp, eta, cells)
    if noise == "normal":
        return -((cells.y - mean) ** 2) / variance / 2 - jnp.log(2 * np.pi * variance) / 2
    mean = jnp.clip(mean, _EDGE, 1 - _EDGE)
    whole = mean * (1 - mean)
    if noise == "beta":
        size = jnp.maximum(whole / variance - 1, 0.1)
        y = jnp.clip(cells.y, _EDGE, 1 - _EDGE)
        a, b = mean * size, (1 - mean) * size
        return gammaln(size) - gammaln(a) - gammaln(b) + (a - 1) * jnp.log(y) + (b - 1) * jnp.log1p(-y)
    n = 1 / cells.per_item
    beyond = jnp.maximum(variance - mean * (1 - mean) * cells.per_item, 1e-8)
    size = jnp.maximum(whole / beyond - 1, 0.1)
    hits = jnp.clip(cells.y, 0.0, 1.0) * n
    a, b = mean * size, (1 - mean) * size
    ways = gammaln(n + 1) - gammaln(hits + 1) - gammaln(n - hits + 1)
    return (
        ways
        + jnp.log(n)
        + gammaln(hits + a)
        + gammaln(n - hits + b)
        - gammaln(n + size)
        + gammaln(size)
        - gammaln(a)
        - gammaln(b)
    )


def score_and_weight(noise: NoiseName, eta: Any, cells: Cells) -> tuple[Any, Any]:
    """First derivative of the log density in the logit, and minus the second, which may be negative in the tails."""
    ones = jnp.ones_like(eta)

    def slope(at: Any) -> Any:
        return jax.jvp(lambda e: log_density(noise, e, cells), (at,), (ones,))[1]

    score, bend = jax.jvp(slope, (eta,), (ones,))
    return score, -bend


def information(eta: Any, cells: Cells) -> Any:
    """What a score tells of the logit on average: Fisher's information of a normal of the same moments, never negative."""
    ones = jnp.ones_like(eta)
    (_, slope, variance), (_, _, change) = jax.jvp(lambda e: moments(jnp, e, cells), (eta,), (ones,))
    return slope**2 / variance + (change / variance) ** 2 / 2


def draw_scores(noise: NoiseName, rng: np.random.Generator, eta: Any, cells: Cells) -> Any:
    """Scores with the noise, by NumPy; those of the normal noise are held to the range from 0 to 1."""
    mean, _, variance = moments(np, eta, cells)
    if noise == "normal":
        return np.clip(mean + np.sqrt(variance) * rng.standard_normal(mean.shape), 0.0, 1.0)
    mean = np.clip(mean, _EDGE, 1 - _EDGE)
    counts = cells.per_item > 0
    counted = noise == "beta_binomial"
    beyond = np.maximum(variance - np.where(counted, mean * (1 - mean) * cells.per_item, 0.0), 1e-8)
    size = np.maximum(mean * (1 - mean) / beyond - 1, 0.1)
    drawn = rng.beta(mean * size, (1 - mean) * size)
    if not counted:
        return drawn
    n = np.broadcast_to(np.where(counts, 1 / np.where(counts, cells.per_item, 1.0), 1.0), drawn.shape)
    hits = rng.binomial(np.rint(n).astype(np.int64), drawn) / n
    return np.where(counts, hits, drawn)


def draw_scores_on(noise: NoiseName, rng: np.random.Generator, eta: Any, cells: Cells, items: Any) -> Any:
    """Scores as of :func:`draw_scores` with the noise of the items given: standard normals, alike for the same items."""
    mean, _, variance = moments(np, eta, cells._replace(per_item=np.zeros_like(cells.per_item)))
    if noise == "normal":
        accuracy = mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
    else:
        inside = np.clip(mean, _EDGE, 1 - _EDGE)
        size = np.maximum(inside * (1 - inside) / np.maximum(variance, 1e-8) - 1, 0.1)
        accuracy = rng.beta(inside * size, (1 - inside) * size)
    if noise == "beta_binomial":
        n = np.rint(1 / cells.per_item)
        return binom.ppf(ndtr(items), n, accuracy) / n
    return np.clip(accuracy + np.sqrt(mean * (1 - mean) * cells.per_item) * items, 0.0, 1.0)
