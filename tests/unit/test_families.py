"""The integral over what families and models have of their own: against quadrature, a dense normal density, differences."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayescale.core.numerics import double_precision
from bayescale.models.eval_noise import Cells, NoiseName, log_density
from bayescale.models.families import Layout, Loads, draw, each_cell, integrate, members_of


def _table(rng: np.random.Generator, models: tuple[int, ...], slots: int, factors: int = 2) -> tuple[Layout, Loads]:
    family = np.repeat(np.arange(len(models)), models)
    shape = (1, slots, len(family))
    layout = Layout(family, *members_of(family, len(models), len(family)), rng.random(shape) < 0.85, np.zeros(shape))
    return layout, Loads(
        rng.normal(0, 0.5, shape),
        rng.normal(0, 0.6, (factors, *shape)),
        rng.normal(0, 0.6, (factors, *shape)),
        rng.random(shape[1:]) / 2,
    )


def _dense(layout: Layout, loads: Loads) -> tuple[np.ndarray, np.ndarray]:
    """``A`` (cell, z) of the cells that are there, and their places."""
    places = np.argwhere(layout.mask)
    families, models, slots = layout.families, len(layout.family), layout.mask.shape[1]
    own, factors = loads.own.shape[0], loads.shared.shape[0]
    a = np.zeros((len(places), models * own + families * (factors + slots)))
    for i, (r, s, m) in enumerate(places):
        a[i, m * own : (m + 1) * own] = loads.own[:, r, s, m]
        start = models * own + layout.family[m] * (factors + slots)
        a[i, start : start + factors] = loads.shared[:, r, s, m]
        a[i, start + factors + s] = loads.effect[s, m]
    return a, places


def _everything(noise: NoiseName, layout: Layout, loads: Loads, cells: Cells) -> tuple[Any, Any, Any, Any]:
    """Log density, variances of the logits, log density of each score, and log ratios of 2,000 draws."""
    found = integrate(noise, layout, loads, cells)
    keys = jax.random.split(jax.random.key(1), 2000)
    ratio = jax.vmap(lambda key: draw(noise, key, layout, loads, cells, found)[3])(keys)
    return found.log_marginal, found.variance, each_cell(noise, layout, cells, found), ratio


def test_a_linear_mean_is_integrated_exactly() -> None:
    rng = np.random.default_rng(0)
    layout, loads = _table(rng, (3, 1, 2), 4)
    small = Loads(*(0.001 * np.asarray(part) for part in loads))
    a, places = _dense(layout, small)
    y = rng.normal(0, 3, layout.mask.shape)
    # So wide a range that the sigmoid is a straight line of slope 2,500 where the logits lie.
    cells = Cells(y, 0.0, -5000.0, 5000.0, 1.5, 0.0)
    there = tuple(places.T)
    mean, cov = 2500 * small.offset[there], 2500**2 * a @ a.T + 1.5**2 * np.eye(len(a))
    with double_precision():
        value, variance, each, ratio = map(np.asarray, jax.jit(_everything, static_argnums=0)("normal", layout, small, cells))
    assert value == pytest.approx(stats.multivariate_normal(mean, cov).logpdf(y[there]), abs=1e-4)
    precision = np.linalg.inv(cov)
    others = y[there] - (precision @ (y[there] - mean)) / np.diag(precision)
    np.testing.assert_allclose(each[there], stats.norm(others, np.diag(precision) ** -0.5).logpdf(y[there]), atol=1e-4)
    prior = a @ a.T
    left = prior - prior @ precision @ prior * 2500**2
    np.testing.assert_allclose(variance[there], np.diag(left), rtol=1e-4)
    np.testing.assert_allclose(ratio, 0.0, atol=1e-4)


# Each noise compiles a program of its own, for ten seconds.
@pytest.mark.parametrize("noise", ["normal", *(pytest.param(n, marks=pytest.mark.slow) for n in ("beta", "beta_binomial"))])
def test_two_dimensions_agree_with_quadrature(noise: NoiseName) -> None:
    # One family of one model on three tasks: its own factor and the family's.
    shape = (1, 3, 1)
    family = np.zeros(1, int)
    layout = Layout(family, *members_of(family, 1, 1), np.ones(shape, bool), np.zeros(shape))
    own, shared = np.array([0.9, 0.5, 1.1]).reshape(1, *shape), np.array([0.4, 0.9, 0.6]).reshape(1, *shape)
    loads = Loads(np.array([-0.3, 0.2, 0.1]).reshape(shape), own, shared, np.zeros((3, 1)))
    cells = Cells(np.array([0.45, 0.62, 0.5]).reshape(shape), 1 / 200, 0.25, 0.95, 0.02, 0.1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    one, two = np.meshgrid(nodes, nodes)
    weight = np.outer(weights, weights) / weights.sum() ** 2
    with double_precision():
        eta = jnp.asarray(loads.offset[..., None, None] + own[0][..., None, None] * one + shared[0][..., None, None] * two)
        wide = Cells(np.asarray(cells.y)[..., None, None], *cells[1:])
        exact = np.log(np.sum(weight * np.exp(np.asarray(log_density(noise, eta, wide)).sum((0, 1, 2)))))
        laplace, _, _, ratio = map(np.asarray, jax.jit(_everything, static_argnums=0)(noise, layout, loads, cells))
    assert laplace == pytest.approx(exact, abs=0.03)
    # The weights of the draws put right what is left.
    assert laplace + np.log(np.exp(ratio).mean()) == pytest.approx(exact, abs=0.01)
    assert np.exp(ratio).std() < 0.08


def test_draws_are_of_the_posterior_where_it_is_skewed() -> None:
    """One model on three tasks near their floor: what it lacks is told, not how much it lacks."""
    shape = (1, 3, 1)
    family = np.zeros(1, int)
    layout = Layout(family, *members_of(family, 1, 1), np.ones(shape, bool), np.zeros(shape))
    own, none = np.full((1, *shape), 2.0), np.zeros((1, *shape))
    loads = Loads(np.full(shape, -2.0), own, none, np.zeros((3, 1)))
    cells = Cells(np.array([0.26, 0.25, 0.27]).reshape(shape), 1 / 200, 0.25, 0.95, 0.02, 0.1)
    z = np.linspace(-6, 6, 4001)

    def drawn(layout: Layout, loads: Loads, cells: Cells) -> Any:
        found = integrate("normal", layout, loads, cells)
        keys = jax.random.split(jax.random.key(0), 4000)
        return found.mode.own, jax.vmap(lambda key: draw("normal", key, layout, loads, cells, found)[0])(keys)

    with double_precision():
        eta = jnp.asarray(-2.0 + 2.0 * z)
        each = [np.asarray(log_density("normal", eta, cells._replace(y=y))) for y in (0.26, 0.25, 0.27)]
        mode, own_drawn = map(np.asarray, jax.jit(drawn)(layout, loads, cells))
    weight = np.exp(np.sum(each, axis=0) - z**2 / 2)
    weight /= weight.sum()
    mean, sd = np.sum(weight * z), np.sqrt(np.sum(weight * z**2) - np.sum(weight * z) ** 2)
    # Laplace's approximation has its mean at the mode; of the gap a choice among few draws leaves a little.
    assert abs(mode.item() - mean) > 0.25
    assert abs(own_drawn.mean() - mean) < 0.3 * abs(mode.item() - mean)
    assert own_drawn.std() == pytest.approx(sd, rel=0.15)


def test_the_gradient_is_that_of_the_value() -> None:
    """Also where scores lie about the floor, some above it: densities bend upwards there, and Newton's steps may fail."""
    rng = np.random.default_rng(1)
    layout, loads = _table(rng, (3, 1, 2), 4)
    middle = np.clip(0.5 + 0.2 * rng.standard_normal(layout.mask.shape), 0.05, 0.95)
    low = 0.115 + 0.05 * np.abs(rng.standard_normal(layout.mask.shape))

    def value(at: Any, y: Any, start: Any) -> Any:
        scale, floor, sigma = at[0], 0.2 * jax.nn.sigmoid(at[1]), jnp.exp(at[2])
        moved = Loads(loads.offset + at[3], scale * loads.own, loads.shared * (1 + at[4]), loads.effect * scale)
        cells = Cells(y, 1 / 300, floor, 0.97, sigma, 0.1)
        return integrate("normal", layout._replace(start=start), moved, cells).log_marginal

    step, here, far = 1e-5, np.zeros(layout.mask.shape), np.full(layout.mask.shape, 2.0)
    with double_precision():
        run = jax.jit(jax.value_and_grad(value))
        for at, y in (([1.0, 0.3, -3.0, 0.2, 0.1], middle), ([1.5, 0.3, -4.0, -3.0, 0.4], low)):
            ends = [[float(run(np.array(at) + side * h, y, here)[0]) for side in (step, -step)] for h in np.eye(5)]
            found, slope = run(np.array(at), y, here)
            np.testing.assert_allclose(slope, [(up - down) / (2 * step) for up, down in ends], rtol=1e-4, atol=1e-4)
            # Where the search begins makes no difference.
            assert float(run(np.array(at), y, far)[0]) == pytest.approx(float(found), abs=1e-6)


@pytest.mark.parametrize("families", [2, 4], ids=["to the last family", "to an empty one"])
def test_padding_changes_nothing(families: int) -> None:
    rng = np.random.default_rng(2)
    layout, loads = _table(rng, (2, 2), 3)
    y = rng.uniform(0.3, 0.8, layout.mask.shape)

    def wider(values: Any, fill: float | bool) -> Any:
        return np.concatenate([values, np.full((*values.shape[:-1], 3), fill, dtype=values.dtype)], -1)

    def value(layout: Layout, loads: Loads, y: Any) -> Any:
        return integrate("normal", layout, loads, Cells(y, 1 / 300, 0.25, 0.95, 0.02, 0.1)).log_marginal

    family = wider(layout.family, families - 1)
    place, members = members_of(layout.family, families, len(family))
    padded = Layout(family, wider(place, 0), members, wider(layout.mask, False), wider(layout.start, 0.0))
    more = Loads(*(wider(part, 1e3) for part in loads))
    with double_precision():
        run = jax.jit(jax.value_and_grad(value, 1))
        short, long = run(layout, loads, y), run(padded, more, wider(y, 0.5))
    assert float(long[0]) == pytest.approx(float(short[0]), abs=1e-8)
    for one, other in zip(short[1], long[1], strict=True):
        np.testing.assert_allclose(np.asarray(other)[..., :4], one, atol=1e-8)
        assert not np.asarray(other)[..., 4:].any()
