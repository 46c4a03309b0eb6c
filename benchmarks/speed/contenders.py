"""Who takes part: which module to run, with which draws it starts, and which caches it keeps. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

FITS = ("chinchilla", "hierarchy")

#: Everyone's ratio is to this contender's cold start.
YARDSTICK = "PyMC, nutpie"

#: JAX's own persistent cache with everything kept, which a user of NumPyro or blackjax has to ask for.
JAX_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "{folder}/jax",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
PYTENSOR_CACHE = {"PYTENSOR_FLAGS": "base_compiledir={folder}/pytensor", "NUMBA_CACHE_DIR": "{folder}/numba"}


@dataclass(frozen=True)
class Contender:
    """One way to fit.

    Parameters
    ----------
    name : str
    module : str
        Module of this package that runs it, as a program.
    needs : tuple of str
        Packages without which it cannot.
    caches : dict
        Environment of its caches; ``{folder}`` is the folder of this run.
    settings : dict of fit to (warm-up, draws)
        What a chain starts with; a warm-up of 0 is the contender's own.
    goals : tuple of float, optional
        Cold and second start as shares of the yardstick's cold start that the project set itself.
    variant : str
        Passed on to the module.
    """

    name: str
    module: str
    needs: tuple[str, ...]
    caches: dict[str, str]
    settings: dict[str, tuple[int, int]]
    goals: tuple[float, float] | None = None
    variant: str = field(default="-")


CONTENDERS = (
    Contender(
        "bayescale, Nuts()",
        "ours",
        (),
        {"BAYESCALE_COMPILATION_CACHE": "{folder}/bayescale"},
        {"chinchilla": (0, 600), "hierarchy": (0, 600)},
        (1.0, 0.35),
        "Nuts",
    ),
    Contender(
        "bayescale, Hmc()",
        "ours",
        (),
        {"BAYESCALE_COMPILATION_CACHE": "{folder}/bayescale"},
        {"chinchilla": (0, 1000), "hierarchy": (0, 1000)},
        (0.8, 0.25),
        "Hmc",
    ),
    Contender(
        "NumPyro, textbook",
        "plain_numpyro",
        ("numpyro",),
        JAX_CACHE,
        {"chinchilla": (1000, 1000), "hierarchy": (1000, 1000)},
    ),
    Contender(
        "PyMC, own NUTS",
        "with_pymc",
        ("pymc",),
        PYTENSOR_CACHE,
        {"chinchilla": (1000, 1000), "hierarchy": (1000, 1000)},
        variant="pymc",
    ),
    Contender(
        YARDSTICK,
        "with_pymc",
        ("pymc", "nutpie", "numba"),
        PYTENSOR_CACHE,
        {"chinchilla": (500, 1000), "hierarchy": (600, 1000)},
        variant="nutpie",
    ),
    Contender(
        "blackjax",
        "with_blackjax",
        ("blackjax",),
        JAX_CACHE,
        {"chinchilla": (500, 1000), "hierarchy": (600, 1000)},
    ),
)
