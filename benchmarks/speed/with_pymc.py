"""PyMC, sampled by its own NUTS or compiled and sampled by nutpie (variant), each at its defaults.

Both fits are written at the reference scale: params and tokens as ratios to their geometric means, so that amplitudes are
losses there. Hierarchy: amplitudes and exponents non-centred.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm

from benchmarks.speed.common import CHAINS, CHINCHILLA, HIERARCHY, SPREAD, Hierarchy, Outcome, diagnose, run


def reference_scale(log_n: Any, log_d: Any, log_loss: Any) -> pm.Model:
    with pm.Model() as model:
        value = {name: pm.LogNormal(name, *prior) for name, prior in CHINCHILLA.items()}
        loss = value["E"] + value["A"] * pm.math.exp(-value["alpha"] * log_n) + value["B"] * pm.math.exp(-value["beta"] * log_d)
        pm.StudentT("loss", nu=value["nu"], mu=pm.math.log(loss), sigma=value["sigma"], observed=log_loss)
    return model


def pooled(data: Hierarchy) -> pm.Model:
    with pm.Model() as model:
        value = {"E": pm.LogNormal("E", data.location("E"), HIERARCHY["E"][1], shape=data.size["E"])}
        for name in ("A", "alpha"):
            mu = pm.Normal(f"{name}_mu", data.location(name), HIERARCHY[name][1])
            tau = pm.HalfNormal(f"{name}_tau", SPREAD[name])
            z = pm.Normal(f"{name}_z", shape=data.size[name])
            value[name] = pm.Deterministic(name, pm.math.exp(mu + tau * z))
        sigma = pm.LogNormal("sigma", *HIERARCHY["sigma"])
        nu = pm.LogNormal("nu", *HIERARCHY["nu"])
        at = {name: v[data.code[name]] for name, v in value.items()}
        loss = at["E"] + at["A"] * pm.math.exp(-at["alpha"] * data.log_x)
        pm.StudentT("loss", nu=nu, mu=pm.math.log(loss), sigma=sigma, observed=np.log(data.loss))
    return model


def _sample(model: pm.Model, warmup: int, draws: int, seed: int, variant: str, alpha: str) -> Outcome:
    if variant == "nutpie":
        import nutpie

        compiled = nutpie.compile_pymc_model(model)
        tree = nutpie.sample(compiled, tune=warmup, draws=draws, chains=CHAINS, seed=seed, progress_bar=False)
    else:
        with model:
            tree = pm.sample(
                draws, tune=warmup, chains=CHAINS, random_seed=seed, progressbar=False, compute_convergence_checks=False
            )
    known = {f"{name}_z" for name in SPREAD}
    samples = {str(n): v for n, v in tree["posterior"].data_vars.items() if n not in known and not str(n).endswith("__")}
    return diagnose(samples, tree["sample_stats"]["diverging"], alpha)


def chinchilla(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    log_n, log_d = (np.log(table[c].to_numpy(float)) for c in ("params", "tokens"))
    log_loss = np.log(table["loss"].to_numpy(float))
    return _sample(reference_scale(log_n - log_n.mean(), log_d - log_d.mean(), log_loss), warmup, draws, seed, variant, "alpha")


def hierarchy(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    return _sample(pooled(Hierarchy.of(table)), warmup, draws, seed, variant, "alpha_mu")


if __name__ == "__main__":
    run(chinchilla=chinchilla, hierarchy=hierarchy)
