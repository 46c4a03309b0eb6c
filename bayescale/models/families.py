"""Scores of all models with what families and models have of their own integrated out, by Laplace's method.

Given everything else the logit of a score is ``offset + a . z`` with standard normal ``z``, which families do not share, and
within a family models share only what is the family's: its factors and its effects on tasks. So Newton's method for the mode
of ``z`` eliminates each model, then solves for what its family shares :cite:p:`rue2009`. Models are the last axis of every
array, along which the loops of a processor run.

The precision at the mode is made of the information that scores give of their logits on average, not of how their density bends
there: near a floor or a ceiling it bends upwards, and a determinant that may pass through zero is no energy to sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescale.models.eval_noise import Cells, NoiseName, information, log_density, score_and_weight
from bayescale.models.small_matrices import back, cholesky, forward, inverted, summed

#: Newton's steps end when the last one raised the log density of no family by more than this, which leaves about its square; or
#: after so many.
_TOLERANCE, _MOST_STEPS = 1e-6, 40

#: A step moves no logit by more than this; where Newton's fails, Fisher's scoring goes on until it rises by less than this.
_REACH, _CLOSE = 3.0, 0.3

#: Draws by Laplace's approximation among which one is chosen.
_PROPOSALS = 16

#: Nodes of the integral of a score over its logit.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


#: The compiler would compute what many sums need anew in each of them: it is made to compute it once, several times as fast.
_once: Callable[[Any], Any] = jax.lax.optimization_barrier


class Layout(NamedTuple):
    """Where the scores are.

    Parameters
    ----------
    family, place : int array (model,)
        Which family, sorted; and which of its models.
    members : int array (family, place)
        Each family's models; where it has no more, a number that is none of a model.
    mask : bool array (repeat, slot, model)
        Whether there is a score: ``slot`` is the place of the task among those of the family, several scores of a model on a
        task are repeats.
    start : float array (repeat, slot, model)
        Logits to start from.
    """

    family: Any
    place: Any
    members: Any
    mask: Any
    start: Any

    @property
    def families(self) -> int:
        """How many families there are."""
        return int(self.members.shape[0])


class Loads(NamedTuple):
    """How a logit depends on what is integrated out; cells are (repeat, slot, model), an axis of 1 holds for all repeats.

    Parameters
    ----------
    offset : array (repeat, slot, model)
    own : array (own, repeat, slot, model)
        On what is the model's.
    shared : array (factor, repeat, slot, model)
        On the factors of the family.
    effect : array (slot, model)
        On the family's effect on the task.
    """

    offset: Any
    own: Any
    shared: Any
    effect: Any


class Factors(NamedTuple):
    """The precision of ``z``, taken apart.

    Parameters
    ----------
    own : list of lists of array (model,)
        Lower Cholesky factor of the block of each model.
    cross : array (own, factor + slot, model)
        That factor's inverse times the block of model and family.
    inverse : array (factor + slot, factor + slot, family)
        Covariance of what a family shares.
    log_root : scalar
        Half the logarithm of the determinant.
    """

    own: Any
    cross: Any
    inverse: Any
    log_root: Any


class Mode(NamedTuple):
    """Mode of ``z``: of models (own, model), of families (factor + slot, family); and the logits (repeat, slot, model)."""

    own: Any
    family: Any
    eta: Any


class _Search(NamedTuple):
    """Where the search for the mode is.

    Of each family: the log density, the share of a step that it takes, whether the step is Newton's, and what the last one that
    was raised the density by. ``bent`` is the precision that the last step was made with.
    """

    count: Any
    mode: Mode
    value: Any
    share: Any
    newton: Any
    rise: Any
    bent: Factors


class Found(NamedTuple):
    """Laplace's approximation at given parameters."""

    log_marginal: Any
    mode: Mode
    factors: Factors
    variance: Any


def members_of(family: Any, families: int, none: int) -> tuple[Any, Any]:
    """The place of each model in its family (model,), and each family's models (family, place), ``none`` where it has no more.

    ``family`` is sorted.
    """
    counts = np.bincount(family, minlength=families)
    place = np.arange(len(family)) - (np.cumsum(counts) - counts)[family]
    members = np.full((families, counts.max()), none)
    members[family, place] = np.arange(len(family))
    return place, members


def integrate(noise: NoiseName, layout: Layout, loads: Loads, cells: Cells) -> Found:
    """Log density of the scores with ``z`` integrated out, with the posterior of ``z``.

    Its gradient is that of Laplace's approximation itself, the movement of the mode included; nothing is differentiated
    through the search for the mode, nor through a factorisation.

    Returns
    -------
    Found
        ``log_marginal``: scalar; ``variance``: of each logit, (repeat, slot, model). Only the first can be differentiated.
    """
    still = jax.lax.stop_gradient
    loads, cells = _once((loads, cells))
    fixed, fixed_cells = jax.tree.map(still, (loads, cells))
    mode, bent = jax.tree.map(still, _search(noise, layout, fixed, fixed_cells))
    told, steeper = _once(jax.jvp(lambda e: information(e, fixed_cells), (mode.eta,), (jnp.ones_like(mode.eta),)))
    weight = still(jnp.where(layout.mask, told, 0.0))
    factors = jax.tree.map(still, _once(_factor(layout, fixed, weight)))
    own, shared, effect, variance = jax.tree.map(still, _once(_moved(layout, fixed, factors)))
    # How the determinant pulls at the mode, and where the mode would go for it, by the precision that Newton's last step had.
    pull = jnp.where(layout.mask, -steeper * variance / 2, 0.0)
    tug = jax.tree.map(still, _once(_solve(layout, fixed, bent, pull)))

    def around(loads: Loads, cells: Cells) -> Any:
        """A function whose gradient at the given parameters is that of the approximation."""
        eta = loads.offset + _linear(layout, loads, mode.own, mode.family)
        score, _ = score_and_weight(noise, eta, cells)
        turned = jnp.sum(own * loads.own, 0) + jnp.sum(shared * loads.shared, 0) + effect * loads.effect
        terms = log_density(noise, eta, cells) - information(eta, cells) * variance / 2 - weight * turned
        return jnp.sum(jnp.where(layout.mask, terms + score * _linear(layout, loads, *tug), 0.0))

    stand_in = around(loads, cells)
    density = jnp.sum(jnp.where(layout.mask, log_density(noise, mode.eta, fixed_cells), 0.0))
    value = still(density - (jnp.sum(mode.own**2) + jnp.sum(mode.family**2)) / 2 - factors.log_root)
    return Found(value + (stand_in - still(stand_in)), mode, factors, variance)


def draw(noise: NoiseName, key: Any, layout: Layout, loads: Loads, cells: Cells, found: Found) -> tuple[Any, Any, Any, Any]:
    """One draw of ``z``: of models, of families; its logits; and of each family what Laplace's approximation is off by.

    The draw is one of several by Laplace's approximation, each family's chosen with weights of the true density over the drawn
    (sampling importance resampling, :cite:p:`rubin1988`). What the approximation is off by is the logarithm of their mean: 0
    wherever it is exact, and in expectation of its exponential what corrects the density of the family's scores.
    """
    proposing, choosing = jax.random.split(key)
    keys = jax.random.split(proposing, _PROPOSALS)
    own, family, eta, ratio = jax.vmap(lambda one: _propose(noise, one, layout, loads, cells, found))(keys)
    chosen = jnp.argmax(ratio + jax.random.gumbel(choosing, ratio.shape, ratio.dtype), 0)

    def of(values: Any, which: Any) -> Any:
        return jnp.take_along_axis(values, which.reshape(1, *(1,) * (values.ndim - 2), -1), 0)[0]

    here = chosen[layout.family]
    return of(own, here), of(family, chosen), of(eta, here), jax.nn.logsumexp(ratio, 0) - np.log(_PROPOSALS)


def _propose(noise: NoiseName, key: Any, layout: Layout, loads: Loads, cells: Cells, found: Found) -> tuple[Any, Any, Any, Any]:
    """A draw by Laplace's approximation, its logits, and of each family the log ratio of the true to the drawn density."""
    first, second = jax.random.split(key)
    mode, factors = found.mode, found.factors
    noise_own = jax.random.normal(first, mode.own.shape, mode.own.dtype)
    noise_family = jax.random.normal(second, mode.family.shape, mode.family.dtype)
    root = jnp.moveaxis(jnp.linalg.cholesky(jnp.moveaxis(factors.inverse, -1, 0)), 0, -1)
    off = jnp.einsum("abf,bf->af", root, noise_family)
    family = mode.family + off
    own = mode.own + back(factors.own, noise_own - jnp.einsum("kbm,bm->km", factors.cross, off[:, layout.family]))
    eta = loads.offset + _linear(layout, loads, own, family)
    change = log_density(noise, eta, cells) - log_density(noise, mode.eta, cells)
    change = jnp.sum(jnp.where(layout.mask, change, 0.0), (0, 1)) + jnp.sum(mode.own**2 - own**2 + noise_own**2, 0) / 2
    return own, family, eta, _by_family(layout, change) + jnp.sum(mode.family**2 - family**2 + noise_family**2, 0) / 2


def each_cell(noise: NoiseName, layout: Layout, cells: Cells, found: Found) -> Any:
    """Log density of each score given all the others, integrated over what these leave open of its logit."""
    score, _ = score_and_weight(noise, found.mode.eta, cells)
    left = jnp.maximum(1 - information(found.mode.eta, cells) * found.variance, 1e-3)
    variance = jnp.maximum(found.variance, 1e-12) / left
    mean, sd = found.mode.eta - variance * score, jnp.sqrt(jnp.maximum(found.variance, 1e-12))
    share = np.log(_NODE_WEIGHTS / _NODE_WEIGHTS.sum())
    terms = []
    for node, log_share in zip(_NODES, share, strict=True):
        # Nodes lie where the score and the others together put the logit: what the others leave may be much wider.
        eta = found.mode.eta + sd * node
        change = node**2 / 2 - (eta - mean) ** 2 / (2 * variance) + jnp.log(left) / 2
        terms.append(log_density(noise, eta, cells) + change + log_share)
    return jnp.where(layout.mask, jax.nn.logsumexp(jnp.stack(terms), axis=0), 0.0)


def _by_family(layout: Layout, values: Any) -> Any:
    """Sums over the models of each family, along the last axis."""
    out = jnp.zeros((*values.shape[:-1], layout.families), values.dtype)
    return out.at[..., layout.family].add(values, indices_are_sorted=True)


def _apart(layout: Layout, values: Any) -> Any:
    """Values (..., model) of each family's models (..., family, place), 0 where there are no more."""
    return jnp.take(values, layout.members, axis=-1, mode="fill", fill_value=0.0)


def _linear(layout: Layout, loads: Loads, own: Any, family: Any) -> Any:
    """``a . z`` of each cell."""
    factors, mine = loads.shared.shape[0], family[:, layout.family]
    total = loads.effect * mine[factors:]
    for k in range(loads.own.shape[0]):
        total = total + loads.own[k] * own[k]
    for k in range(factors):
        total = total + loads.shared[k] * mine[k]
    return total


def _search(noise: NoiseName, layout: Layout, loads: Loads, cells: Cells) -> tuple[Mode, Factors]:
    """The mode of ``z``, and the precision there that Newton's last step had.

    A step that would lower the density of a family is not taken, but one of Fisher's scoring, whose direction always rises, and
    a quarter of it, and so on. So the search ends at a mode whatever the parameters.
    """

    def height(mode: Mode) -> Any:
        density = jnp.sum(jnp.where(layout.mask, log_density(noise, mode.eta, cells), 0.0), (0, 1))
        return _by_family(layout, density - jnp.sum(mode.own**2, 0) / 2) - jnp.sum(mode.family**2, 0) / 2

    def solved(eta: Any, newton: Any) -> tuple[Any, Any, Any, Factors]:
        score, bend = score_and_weight(noise, eta, cells)
        told = jnp.where(layout.mask, information(eta, cells), 0.0)
        weight = jnp.where(newton[layout.family] & layout.mask, bend, told)
        target = weight * (eta - loads.offset) + jnp.where(layout.mask, score, 0.0)
        told, weight, target = _once((told, weight, target))
        factors = _once(_factor(layout, loads, weight))
        return *_once(_solve(layout, loads, factors, target)), told, factors

    def step(state: _Search) -> _Search:
        mode = state.mode
        own, family, told, bent = solved(mode.eta, state.newton)
        eta = loads.offset + _linear(layout, loads, own, family)
        move = jnp.where(layout.mask, eta - mode.eta, 0.0)
        most = jnp.max(jnp.abs(move), (0, 1))
        most = jnp.full(layout.families, 1e-300, most.dtype).at[layout.family].max(most)
        share = jnp.minimum(state.share, _REACH / most)
        at = share[layout.family]
        mixed = Mode(mode.own + at * (own - mode.own), mode.family + share * (family - mode.family), mode.eta + at * move)
        value = height(mixed)
        # What is no number is no rise either; near the mode the last digits decide nothing.
        good = value >= state.value - 1e-9 * (1 + jnp.abs(state.value))
        rise = jnp.sum(told * move**2, (0, 1)) + jnp.sum((own - mode.own) ** 2, 0)
        rise = _by_family(layout, rise) + jnp.sum((family - mode.family) ** 2, 0)
        here = good[layout.family]
        return _Search(
            count=state.count + 1,
            mode=Mode(*(jnp.where(g, new, old) for g, new, old in zip((here, good, here), mixed, mode, strict=True))),
            value=jnp.where(good, value, state.value),
            share=jnp.where(good, jnp.minimum(1.0, 2 * state.share), jnp.where(state.newton, state.share, state.share / 4)),
            newton=good & (state.newton | (rise < _CLOSE)),
            rise=jnp.where(good & state.newton, rise, jnp.inf),
            bent=bent,
        )

    none = jnp.zeros(layout.families, bool)
    own, family, _, bent = solved(layout.start, none)
    mode = Mode(own, family, loads.offset + _linear(layout, loads, own, family))
    value = height(mode)
    start = _Search(0, mode, value, jnp.ones_like(value), ~none, jnp.full_like(value, jnp.inf), bent)
    found = jax.lax.while_loop(lambda s: (jnp.max(s.rise) > _TOLERANCE) & (s.count < _MOST_STEPS), step, start)
    return found.mode, found.bent


def _factor(layout: Layout, loads: Loads, weight: Any) -> Factors:
    own, shared, effect = loads.own, loads.shared, loads.effect
    size, factors, slots = own.shape[0], shared.shape[0], effect.shape[0]
    weighed, turned = weight * own, weight * shared
    block = [[jnp.sum(weighed[j] * own[k], (0, 1)) + float(j == k) for k in range(j + 1)] for j in range(size)]
    root = cholesky(block)
    to_factors = jnp.stack([jnp.stack([jnp.sum(weighed[j] * shared[k], (0, 1)) for k in range(factors)]) for j in range(size)])
    cross = forward(root, jnp.concatenate([to_factors, jnp.sum(weighed, 1) * effect], 1))
    both = jnp.stack([jnp.stack([jnp.sum(turned[j] * shared[k], (0, 1)) for k in range(factors)]) for j in range(factors)])
    both, beside = _by_family(layout, both), _by_family(layout, jnp.sum(turned, 1) * effect)
    alone = np.eye(slots)[..., None] * _by_family(layout, jnp.sum(weight, 0) * effect**2)
    top, bottom = jnp.concatenate([both, beside], 1), jnp.concatenate([jnp.swapaxes(beside, 0, 1), alone], 1)
    # Products of each family's own, many times as fast as those of all models summed by family.
    apart = _apart(layout, cross)
    total = jnp.concatenate([top, bottom], 0) - jnp.einsum("kafp,kbfp->abf", apart, apart) + np.eye(factors + slots)[..., None]
    inverse, log_pivots = inverted(total)
    roots = summed(jnp.sum(jnp.log(root[k][k])) for k in range(size))
    return Factors(root, cross, inverse, roots + log_pivots / 2)


def _solve(layout: Layout, loads: Loads, factors: Factors, target: Any) -> tuple[Any, Any]:
    """``H^-1 A' target``, of models and of families."""
    half = forward(factors.own, jnp.sum(loads.own * target, (1, 2)))
    shared = jnp.concatenate([jnp.sum(loads.shared * target, (1, 2)), jnp.sum(target, 0) * loads.effect], 0)
    for k in range(half.shape[0]):
        shared = shared - factors.cross[k] * half[k]
    family = jnp.sum(factors.inverse * _by_family(layout, shared), 1)
    return back(factors.own, half - jnp.sum(factors.cross * family[:, layout.family], 1)), family


def _moved(layout: Layout, loads: Loads, factors: Factors) -> tuple[Any, Any, Any, Any]:
    """``H^-1 a`` of each cell: of what is the model's, the family's factors, its effect on the task; and ``a' H^-1 a``."""
    number, size = loads.shared.shape[0], loads.own.shape[0]
    shared, effect = list(loads.shared), loads.effect
    half = forward(factors.own, loads.own)
    # What a family shares moves by its inverse times ``border - cross' half``; of that only these products are needed.
    across = jnp.einsum("abf,kbfp->kafp", factors.inverse, _apart(layout, factors.cross))[..., layout.family, layout.place]
    inverse = factors.inverse[:number, :, layout.family]
    own_effect = jnp.diagonal(factors.inverse[number:, number:]).T[:, layout.family]
    twice = jnp.sum(across[:, None] * factors.cross, 2)
    moved_shared = jnp.stack(
        [
            summed(inverse[a, b] * shared[b] for b in range(number))
            + inverse[a, number:] * effect
            - summed(across[k, a] * half[k] for k in range(size))
            for a in range(number)
        ]
    )
    moved_effect = (
        summed(inverse[a, number:] * shared[a] for a in range(number))
        + own_effect * effect
        - summed(across[k, number:] * half[k] for k in range(size))
    )
    through = [
        summed(across[k, a] * shared[a] for a in range(number))
        + across[k, number:] * effect
        - summed(twice[k, j] * half[j] for j in range(size))
        for k in range(size)
    ]
    own = back(factors.own, half - jnp.stack(through))
    variance = jnp.sum(own * loads.own, 0) + jnp.sum(moved_shared * loads.shared, 0) + moved_effect * effect
    return own, moved_shared, moved_effect, variance
