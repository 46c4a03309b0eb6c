"""When does a GPU pay? Sampling on the CPU and on the GPU that JAX finds, by number of chains and by number of curves.

``python -m benchmarks.gpu`` prints two tables: (1) one fit of the Chinchilla law (240 simulated runs), 4 to 4,096 chains;
(2) 46 to 1,000 simulated learning curves of 20 points, each with four chains, in one program vmapped over curves. ``first`` is
the first chunk of 50 draws with compiling, ``chunk`` the median of later ones, after the step size has been adapted. Modes and
whitening come from the CPU in any case and are not timed. No compilation cache is used.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.core.numerics import double_precision
from bayescale.data.runs import as_runs
from bayescale.infer.density import dimension
from bayescale.infer.mode import find_mode, scales_to_hold, whiten
from bayescale.infer.programs import Programs, Whitening, programs
from bayescale.infer.samplers import CHUNK, WINDOW, Sampler
from bayescale.models.binding import bind
from bayescale.models.design import Design

SAMPLERS: dict[str, Sampler] = {"Hmc": bs.Hmc(), "Nuts": bs.Nuts()}
CHAINS_PER_CURVE = 4


def runs_of_one_law(rng: np.random.Generator) -> pd.DataFrame:
    """A table like that of the Chinchilla figure."""
    params, tokens = 10 ** rng.uniform(7.8, 10.2, 240), 10 ** rng.uniform(9, 11.5, 240)
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss * np.exp(0.004 * rng.standard_t(3, 240))})


def curve(rng: np.random.Generator) -> pd.DataFrame:
    """A learning curve: a power law above a floor."""
    x = np.geomspace(1e3, 1e6, 20)
    y = rng.uniform(0.1, 0.6) + rng.uniform(0.5, 2) * (x / 3e4) ** -rng.uniform(0.2, 0.6)
    return pd.DataFrame({"samples": x, "loss": y * np.exp(0.01 * rng.standard_normal(20))})


def prepare(model: bs.ScalingModel, table: pd.DataFrame, sampler: Sampler) -> tuple[Programs, Design, Whitening]:
    """The programs, the arrays and the whitening at the mode, as ``fit`` makes them."""
    design = bind(model, as_runs(table)).design
    made = programs(model, sampler, design, "loss")
    keys = np.random.default_rng(0).integers(0, 2**32, (32, 2), dtype=np.uint32)
    held = scales_to_hold(made.sites, int(design.mask.sum()))
    mode, hessian = find_mode(lambda at: made.energy_and_slope(at, design), np.asarray(made.prior(keys, design)), held)
    return made, design, whiten(mode, hessian)


def stacked(trees: list[Any]) -> Any:
    """Equal trees of arrays, as one with a leading dimension."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def timed(advance: Callable[..., Any], blank: Any, arguments: tuple[Any, ...]) -> tuple[float, float]:
    """Seconds of the first chunk, and the median of two after the window of warm-up."""
    seconds, states = [], blank
    for i in range(WINDOW // CHUNK + 2):
        began = time.perf_counter()
        states, _ = jax.block_until_ready(advance(states, i == 0, *arguments))
        seconds.append(time.perf_counter() - began)
    return seconds[0], statistics.median(seconds[-2:])


def row(device: Any, sampler: str, what: dict[str, int], chains: int, spent: tuple[float, float]) -> dict[str, Any]:
    first, chunk = spent
    return {
        "device": device.device_kind,
        "sampler": sampler,
        **what,
        "first s": first,
        "chunk s": chunk,
        "draws/s": chains * CHUNK / chunk,
    }


def by_chains(devices: list[Any], numbers: list[int], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """One law, many chains."""
    table, model = runs_of_one_law(rng), bs.ScalingModel("chinchilla")
    for name, sampler in SAMPLERS.items():
        with jax.default_device(jax.devices("cpu")[0]):
            made, design, white = prepare(model, table, sampler)
        for number in numbers:
            keys = rng.integers(0, 2**32, (number, 2), dtype=np.uint32)
            z = rng.standard_normal((number, dimension(made.sites)))
            for device in devices:
                with jax.default_device(device):
                    placed = jax.device_put((keys, z, design, white), device)
                    spent = timed(made.advance, made.blank(keys, z, design, white), placed)
                yield row(device, name, {"chains": number}, number, spent)


def by_curves(devices: list[Any], numbers: list[int], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Many curves, each with its own data, mode and whitening, in one program."""
    tables, model = [curve(rng) for _ in range(max(numbers))], bs.ScalingModel("power_law_offset", axes={"x": "samples"})
    for name, sampler in SAMPLERS.items():
        with jax.default_device(jax.devices("cpu")[0]):
            parts = [prepare(model, table, sampler) for table in tables]
        made = parts[0][0]
        advance = jax.vmap(made.advance, in_axes=(0, None, 0, 0, 0, 0))
        for number in numbers:
            design, white = stacked([p[1] for p in parts[:number]]), stacked([p[2] for p in parts[:number]])
            keys = rng.integers(0, 2**32, (number, CHAINS_PER_CURVE, 2), dtype=np.uint32)
            z = rng.standard_normal((number, CHAINS_PER_CURVE, dimension(made.sites)))
            one = made.blank(keys[0], z[0], parts[0][1], parts[0][2])
            blank = jax.tree.map(lambda a, n=number: np.zeros((n, *a.shape), a.dtype), one)
            for device in devices:
                with jax.default_device(device):
                    spent = timed(advance, blank, jax.device_put((keys, z, design, white), device))
                yield row(device, name, {"curves": number}, number * CHAINS_PER_CURVE, spent)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chains", type=int, nargs="*", default=[4, 64, 1024, 4096])
    parser.add_argument("--curves", type=int, nargs="*", default=[46, 200, 1000])
    asked = parser.parse_args()
    found = jax.devices()
    accelerators = [] if found[0].platform == "cpu" else found[:1]
    named = accelerators[0].device_kind if accelerators else "no GPU: not run on one, figures of the CPU only"
    print(f"{platform.processor() or platform.machine()}, jax {jax.__version__}; {named}")
    devices = [jax.devices("cpu")[0], *accelerators]
    for title, measure, numbers in (("chains", by_chains, asked.chains), ("curves", by_curves, asked.curves)):
        if numbers:
            with double_precision():
                rows = list(measure(devices, numbers, np.random.default_rng(0)))
            print(
                f"\nby number of {title}\n{pd.DataFrame(rows).to_string(index=False, float_format='{:.3g}'.format)}", flush=True
            )


if __name__ == "__main__":
    main()
