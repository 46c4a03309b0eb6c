"""blackjax: NUTS after window adaptation of step and dense mass matrix, on a log density written by hand, chains vmapped.

Both fits are at the reference scale with every positive parameter as its logarithm (so the densities of the priors are normal);
hierarchy: amplitudes and exponents non-centred. Chains start about the medians of the priors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm, t

from benchmarks.speed.common import CHAINS, CHINCHILLA, HIERARCHY, SPREAD, Hierarchy, Outcome, diagnose, run

Position = dict[str, Any]


def _sample(
    density: Callable[..., Any], start: Position, data: Any, warmup: int, draws: int, seed: int
) -> tuple[Position, Any]:
    """Positions (chain, draw, …) and divergences, of one compiled program that takes the data as arguments."""

    def chain(key: Any, position: Position, data: Any) -> tuple[Position, Any]:
        def log_density(at: Position) -> Any:
            return density(at, data)

        key_warmup, key_draws = jax.random.split(key)
        adaptation = blackjax.window_adaptation(blackjax.nuts, log_density, is_mass_matrix_diagonal=False)
        (state, tuned), _ = adaptation.run(key_warmup, position, num_steps=warmup)
        step = blackjax.nuts(log_density, **tuned).step

        def one(state: Any, key: Any) -> Any:
            state, info = step(key, state)
            return state, (state.position, info.is_divergent)

        return jax.lax.scan(one, state, jax.random.split(key_draws, draws))[1]

    rng = np.random.default_rng(seed)
    starts = {name: v + 0.1 * rng.standard_normal((CHAINS, *np.shape(v))) for name, v in start.items()}
    keys = jax.random.split(jax.random.PRNGKey(seed), CHAINS)
    return jax.jit(jax.vmap(chain, in_axes=(0, 0, None)))(keys, starts, data)


def _noise(at: Position, loss: Any, log_loss: Any) -> Any:
    return t.logpdf(log_loss, jnp.exp(at["nu"]), jnp.log(loss), jnp.exp(at["sigma"])).sum()


def reference_scale(at: Position, data: Any) -> Any:
    log_n, log_d, log_loss = data
    prior = sum(norm.logpdf(at[name], *CHINCHILLA[name]) for name in CHINCHILLA)
    size = jnp.exp(at["A"] - jnp.exp(at["alpha"]) * log_n)
    tokens = jnp.exp(at["B"] - jnp.exp(at["beta"]) * log_d)
    return prior + _noise(at, jnp.exp(at["E"]) + size + tokens, log_loss)


def chinchilla(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    log_n, log_d = (np.log(table[c].to_numpy(float)) for c in ("params", "tokens"))
    data = (log_n - log_n.mean(), log_d - log_d.mean(), np.log(table["loss"].to_numpy(float)))
    start = {name: np.asarray(prior[0]) for name, prior in CHINCHILLA.items()}
    drawn, diverging = _sample(reference_scale, start, data, warmup, draws, seed)
    return diagnose({name: np.exp(v) for name, v in drawn.items()}, diverging, "alpha")


def _groups(at: Position, name: str) -> Any:
    """Logarithm of a pooled parameter, one a group."""
    return at[f"{name}_mu"] + jnp.exp(at[f"{name}_log_tau"])[..., None] * at[f"{name}_z"]


def hierarchy(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    families = Hierarchy.of(table)
    located = {name: (families.location(name), HIERARCHY[name][1]) for name in HIERARCHY}

    def density(at: Position, data: Any) -> Any:
        log_x, log_loss, code = data
        total = sum(norm.logpdf(at[name], *located[name]).sum() for name in ("E", "sigma", "nu"))
        for name, spread in SPREAD.items():
            total += norm.logpdf(at[f"{name}_mu"], *located[name]) + norm.logpdf(at[f"{name}_z"]).sum()
            # A half-normal of tau, and the Jacobian of its logarithm.
            total += norm.logpdf(jnp.exp(at[f"{name}_log_tau"]), 0.0, spread) + at[f"{name}_log_tau"]
        log_a, alpha = _groups(at, "A")[code["A"]], jnp.exp(_groups(at, "alpha")[code["alpha"]])
        return total + _noise(at, jnp.exp(at["E"])[code["E"]] + jnp.exp(log_a - alpha * log_x), log_loss)

    start = {name: np.asarray(located[name][0]) for name in ("sigma", "nu")}
    start["E"] = np.full(families.size["E"], located["E"][0])
    for name, spread in SPREAD.items():
        start[f"{name}_mu"], start[f"{name}_log_tau"] = np.asarray(located[name][0]), np.log(np.asarray(spread) / 2)
        start[f"{name}_z"] = np.zeros(families.size[name])
    data = (families.log_x, np.log(families.loss), families.code)
    drawn, diverging = _sample(density, start, data, warmup, draws, seed)
    drawn = {name: np.asarray(v) for name, v in drawn.items()}
    natural = {name: np.exp(drawn[name]) for name in ("E", "sigma", "nu")}
    for name in SPREAD:
        natural[f"{name}_mu"], natural[f"{name}_tau"] = drawn[f"{name}_mu"], np.exp(drawn[f"{name}_log_tau"])
        natural[name] = np.exp(natural[f"{name}_mu"][..., None] + natural[f"{name}_tau"][..., None] * drawn[f"{name}_z"])
    return diagnose(natural, diverging, "alpha_mu")


if __name__ == "__main__":
    run(chinchilla=chinchilla, hierarchy=hierarchy)
