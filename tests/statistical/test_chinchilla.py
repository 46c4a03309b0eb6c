"""The published anchors on the table of Hoffmann et al., as Besiroglu et al. read it off."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs

#: Medians lie inside the published intervals :cite:p:`besiroglu2024`; ``a = beta / (alpha + beta)``.
PUBLISHED = {"E": (1.769, 1.871), "alpha": (0.317, 0.373), "beta": (0.331, 0.415), "a": (0.487, 0.539)}


@pytest.mark.slow
@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("sampler", [bs.Nuts(), bs.Hmc()], ids=["nuts", "hmc"])
def test_ten_seeds_out_of_ten(sampler: bs.Nuts | bs.Hmc) -> None:
    runs = bs.load_dataset("chinchilla", runs=True)
    assert len(runs) == 240
    for seed in range(10):
        fitted = bs.fit(bs.ScalingModel("chinchilla"), runs, seed=seed, sampler=sampler, progress=False)  # strict
        found = fitted.convergence
        assert found.divergences == 0, seed
        assert found.worst_rhat <= 1.01, seed
        assert found.worst_ess >= 400, seed
        if isinstance(sampler, bs.Hmc):
            assert (fitted.tree["sample_stats"]["step_size"].std("chain") == 0).all(), seed
        posterior = fitted.posterior
        medians = {name: float(posterior[name].median()) for name in ("E", "alpha", "beta")}
        medians["a"] = float(np.median(posterior["beta"] / (posterior["alpha"] + posterior["beta"])))
        for name, (low, high) in PUBLISHED.items():
            assert low < medians[name] < high, (seed, name)


@pytest.mark.slow
def test_bundled_families_converge_for_three_seeds() -> None:
    from benchmarks.pooling import families, fitted

    runs = families()
    assert runs["family"].nunique() >= 15
    for seed in range(3):
        assert fitted(runs, "partial", seed).convergence.faults == (), seed
