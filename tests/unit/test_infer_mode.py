"""Mode, curvature and the coordinates made of them, on quadratic energies whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpyro.distributions import constraints

from bayescale.infer.density import Site
from bayescale.infer.mode import find_mode, scales_to_hold

PRECISION = np.array([[4.0, 1.5, 0.0], [1.5, 1.0, 0.2], [0.0, 0.2, 100.0]])
CENTER = np.array([1.0, -2.0, 0.5])
FREE = np.zeros(3, dtype=bool)


def energy(at: np.ndarray) -> tuple[float, np.ndarray]:
    gap = at - CENTER
    return float(gap @ PRECISION @ gap / 2), PRECISION @ gap


def prior(n: int = 20) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3))


def test_mode_and_curvature_of_a_quadratic() -> None:
    mode, hessian = find_mode(energy, prior(), FREE)
    np.testing.assert_allclose(mode, CENTER, atol=1e-3)
    np.testing.assert_allclose(hessian, PRECISION, rtol=1e-5, atol=1e-6)


def test_the_lower_of_two_modes_is_taken() -> None:
    def two(at: np.ndarray) -> tuple[float, np.ndarray]:
        wells = [(np.sum((at - c) ** 2) + depth, 2 * (at - c)) for c, depth in ((0.0, 4.0), (CENTER, 0.0))]
        return min(wells, key=lambda well: well[0])

    mode, _ = find_mode(two, prior(100), FREE)
    np.testing.assert_allclose(mode, CENTER, atol=1e-3)


def test_energies_that_are_no_numbers_are_avoided() -> None:
    def broken(at: np.ndarray) -> tuple[float, np.ndarray]:
        return (np.nan, np.full(3, np.nan)) if at[0] < 0 else energy(at)

    mode, hessian = find_mode(broken, prior(), FREE)
    np.testing.assert_allclose(mode, CENTER, atol=1e-3)
    assert np.isfinite(hessian).all()


def test_it_may_begin_anew_where_it_got_stuck() -> None:
    asked = []

    def stumbling(at: np.ndarray) -> tuple[float, np.ndarray]:
        asked.append(at)
        value, slope = energy(at)
        # For a while, values that no slope tells of: the search along a line finds nothing lower.
        return (value + 1e6 if 5 < len(asked) - 21 < 200 else value), slope

    def gap(restarts: int) -> float:
        asked.clear()
        mode, _ = find_mode(stumbling, prior(), FREE, restarts)
        return float(np.abs(mode - CENTER).max())

    assert gap(0) > 0.1
    assert gap(20) < 1e-3


def test_what_is_held_stays_at_its_median_uncorrelated() -> None:
    held = np.array([False, True, False])
    draws = prior()
    mode, hessian = find_mode(energy, draws, held)
    assert mode[1] == np.median(draws[:, 1])
    np.testing.assert_array_equal(hessian[1], [0.0, hessian[1, 1], 0.0])
    # given the held one, the others are at their conditional mode
    np.testing.assert_allclose(energy(mode)[1][[0, 2]], 0.0, atol=1e-3)


@pytest.mark.parametrize(
    ("names", "rows", "held"),
    [
        (("a", "sigma", "nu"), 100, [False, False, False]),
        (("a", "sigma", "nu"), 5, [False, True, True]),  # fewer than two runs a parameter
        (("a_tau", "sigma", "a"), 100, [True, True, False]),
        (("a_tau_outer", "a_tau", "a_mu"), 100, [True, True, False]),
    ],
)
def test_spreads_and_ill_determined_noise_are_held(names, rows: int, held: list[bool]) -> None:
    sites = tuple(Site(name, (), i, constraints.real) for i, name in enumerate(names))
    assert scales_to_hold(sites, rows).tolist() == held
