"""bayescale: law at the reference scale, sampled in whitened coordinates that it finds itself; default settings throughout.

Hierarchy: amplitudes of curves of two runs or more are centred where the curve's runs put them, exponents half centred. More
draws are made inside ``fit`` while the rule is missed, and its own diagnostics (over every reported parameter) are the ones
used, so this module adds nothing to them.
"""

from __future__ import annotations

from typing import Any

import bayescale as bs
from benchmarks.speed.common import GROUPS, Outcome, run


def _fit(model: bs.ScalingModel, table: Any, draws: int, seed: int, variant: str, alpha: str) -> Outcome:
    sampler = {"Nuts": bs.Nuts, "Hmc": bs.Hmc}[variant](draws=draws)
    fit = bs.fit(model, table, seed=seed, sampler=sampler, progress=False, strict=False)
    found = fit.convergence
    return Outcome(
        r_hat=found.worst_rhat,
        ess=found.worst_ess,
        draws=fit.posterior.sizes["draw"],
        divergences=found.divergences,
        alpha=float(fit.posterior[alpha].median()),
    )


def chinchilla(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    return _fit(bs.ScalingModel("chinchilla"), table, draws, seed, variant, "alpha")


def hierarchy(table: Any, warmup: int, draws: int, seed: int, variant: str) -> Outcome:
    pooling = {
        "E": bs.NoPooling(tuple(GROUPS["E"])),
        "A": bs.PartialPooling(*GROUPS["A"]),
        "alpha": bs.PartialPooling(*GROUPS["alpha"]),
    }
    return _fit(
        bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling), table, draws, seed, variant, "alpha_mu"
    )


if __name__ == "__main__":
    run(chinchilla=chinchilla, hierarchy=hierarchy)
