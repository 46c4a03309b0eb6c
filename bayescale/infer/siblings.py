"""Curves that are siblings: the population of their parameters, learnt from what was drawn of each curve alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bayescale.infer.sample import Draws
from bayescale.laws.param import Link, Param
from bayescale.models.binding import Binding

#: How many curves the prior counts for: in the spread of the population, so that it does not collapse with few or short curves,
#: and in its mean. From forecasts inside the training parts of 46 curves (``benchmarks.extrapolation curves --inside``).
CURVES_OF_SPREAD, CURVES_OF_MEAN = 4.0, 0.2

#: Sweeps that count, and those before that do not.
SWEEPS, FORGOTTEN = 2000, 500

#: Draws of a curve from which each sweep chooses its next, beside the one it is at.
CANDIDATES = 20

#: Fractions closer than this to 0 or 1 are taken for it.
_EDGE = 1e-12


def shared(binding: Binding) -> dict[str, Param]:
    """What siblings share: what their law has no unit for, the noise, the discrepancy; the prior of each."""
    model = binding.model
    shapes = {name: param for name, param in binding.params.items() if not param.unit}
    return shapes | {"sigma": model.noise.prior} | {site: prior for part in model.parts for site, prior in part.priors.items()}


def on_link_scale(drawn: Draws, priors: Mapping[str, Param]) -> np.ndarray:
    """Draws of all chains on the scale on which priors are normal, shape (draw, parameter)."""
    found = drawn.results["parameters"]
    return np.stack([_to_link(prior.link, found[name].reshape(-1)) for name, prior in priors.items()], axis=-1)


def population(
    drawn: Sequence[np.ndarray], priors: Mapping[str, Param], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of what a further curve of the population would have, two arrays (parameter,).

    Every parameter is ``Normal(mean, sd^2)`` over the population, with a normal-inverse-gamma prior about the prior of a curve
    alone. Gibbs sampling goes from the population given the curves to the curves given the population, each curve moving among
    the draws that it has, which were drawn under its own prior :cite:p:`lunn2013`.

    Parameters
    ----------
    drawn : sequence of array (draw, parameter)
        Of each curve, on the link scale.
    priors : mapping of parameter to Param
        That each curve was drawn under.
    """
    loc, scale = np.array([(prior.loc, prior.scale) for prior in priors.values()]).T
    counts, n = np.array([len(d) for d in drawn]), len(drawn)
    start, values = np.r_[0, np.cumsum(counts)[:-1]], np.concatenate(list(drawn))
    own = -(((values - loc) / scale) ** 2).sum(axis=1) / 2
    at, weight = rng.integers(counts), CURVES_OF_MEAN + n
    means, variances = [], []
    for sweep in range(-FORGOTTEN, SWEEPS):
        curves = values[start + at]
        middle = curves.mean(axis=0)
        apart = ((curves - middle) ** 2).sum(axis=0) + CURVES_OF_MEAN * n / weight * (middle - loc) ** 2
        variance = (CURVES_OF_SPREAD * scale**2 + apart) / rng.chisquare(CURVES_OF_SPREAD + n, len(loc))
        mean = (CURVES_OF_MEAN * loc + n * middle) / weight + rng.standard_normal(len(loc)) * np.sqrt(variance / weight)
        if sweep >= 0:
            means.append(mean)
            variances.append(variance)
        choice = np.concatenate([at[None], rng.integers(counts, size=(CANDIDATES, n))])
        rows = start + choice
        log_weight = -((values[rows] - mean) ** 2 / variance).sum(axis=-1) / 2 - own[rows]
        share = np.exp(log_weight - log_weight.max(axis=0)).cumsum(axis=0)
        at = choice[(share < rng.random(n) * share[-1]).sum(axis=0), np.arange(n)]
    return np.mean(means, axis=0), np.sqrt(np.mean(variances, axis=0) + np.var(means, axis=0))


def _to_link(link: Link, value: np.ndarray) -> np.ndarray:
    if link == "identity":
        return value
    inside: np.ndarray = np.clip(value, _EDGE, 1 - _EDGE if link == "logit" else np.inf)
    return np.log(inside) if link == "log" else np.log(inside) - np.log1p(-inside)
