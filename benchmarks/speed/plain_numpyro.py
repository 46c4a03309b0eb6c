"""NumPyro as its tutorials write it: NUTS at its defaults (diagonal mass), four chains one after the other, ``MCMC.run``.

Chinchilla: the textbook ``E + A / N^alpha + B / D^beta`` with the raw amplitudes (numbers of hundreds and thousands) under weak
priors. Hierarchy: size as a ratio to its geometric mean, amplitudes and exponents non-centred.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from benchmarks.speed.common import CHAINS, CHINCHILLA, HIERARCHY, SPREAD, Hierarchy, Outcome, diagnose, run


def textbook(N: Any, D: Any, log_loss: Any) -> None:
    E = numpyro.sample("E", dist.LogNormal(*CHINCHILLA["E"]))
    A = numpyro.sample("A", dist.LogNormal(6.0, 2.0))
    B = numpyro.sample("B", dist.LogNormal(7.0, 2.0))
    alpha = numpyro.sample("alpha", dist.LogNormal(*CHINCHILLA["alpha"]))
    beta = numpyro.sample("beta", dist.LogNormal(*CHINCHILLA["beta"]))
    sigma = numpyro.sample("sigma", dist.LogNormal(*CHINCHILLA["sigma"]))
    nu = numpyro.sample("nu", dist.LogNormal(*CHINCHILLA["nu"]))
    loss = E + A / N**alpha + B / D**beta
    numpyro.sample("loss", dist.StudentT(nu, jnp.log(loss), sigma), obs=log_loss)


def pooled(data: Hierarchy) -> None:
    E = numpyro.sample("E", dist.LogNormal(data.location("E"), HIERARCHY["E"][1]).expand([data.size["E"]]))
    value = {}
    for name in ("A", "alpha"):
        mu = numpyro.sample(f"{name}_mu", dist.Normal(data.location(name), HIERARCHY[name][1]))
        tau = numpyro.sample(f"{name}_tau", dist.HalfNormal(SPREAD[name]))
        z = numpyro.sample(f"{name}_z", dist.Normal().expand([data.size[name]]))
        value[name] = numpyro.deterministic(name, jnp.exp(mu + tau * z))
    sigma = numpyro.sample("sigma", dist.LogNormal(*HIERARCHY["sigma"]))
    nu = numpyro.sample("nu", dist.LogNormal(*HIERARCHY["nu"]))
    at = {name: v[data.code[name]] for name, v in {"E": E, **value}.items()}
    loss = at["E"] + at["A"] * jnp.exp(-at["alpha"] * data.log_x)
    numpyro.sample("loss", dist.StudentT(nu, jnp.log(loss), sigma), obs=jnp.log(data.loss))


def _sample(model: Any, data: tuple[Any, ...], warmup: int, draws: int, seed: int, alpha: str) -> Outcome:
    mcmc = MCMC(
        NUTS(model), num_warmup=warmup, num_samples=draws, num_chains=CHAINS, chain_method="sequential", progress_bar=False
    )
    mcmc.run(jax.random.PRNGKey(seed), *data)
    samples = {name: v for name, v in mcmc.get_samples(group_by_chain=True).items() if not name.endswith("_z")}
    return diagnose(samples, mcmc.get_extra_fields()["diverging"], alpha)


def chinchilla(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    N, D, log_loss = (table[c].to_numpy(float) for c in ("params", "tokens", "loss"))
    return _sample(textbook, (N, D, jnp.log(log_loss)), warmup, draws, seed, "alpha")


def hierarchy(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    return _sample(pooled, (Hierarchy.of(table),), warmup, draws, seed, "alpha_mu")


if __name__ == "__main__":
    run(chinchilla=chinchilla, hierarchy=hierarchy)
