"""Settings of the samplers; both run in whitened coordinates with an identity mass matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from numpyro.infer import HMC, NUTS

from bayescale.core.errors import SpecError

#: Draws between two looks at the host: the progress bar moves, Ctrl-C is heard, the whitening is renewed.
CHUNK = 50
#: Warm-up of one window of step-size adaptation.
WINDOW = 150
#: Depth of the trees of warm-up: while the step is being found trees are as deep as they may be, for draws that only tell the
#: whitening its scale.
WARM_DEPTH = 5


def _check(chains: int, draws: int, target_accept: float) -> None:
    faults = []
    if chains < 2:
        faults.append(f"chains must be at least 2, or R-hat says nothing; got {chains}")
    if draws < 4:
        faults.append(f"draws must be at least 4, got {draws}")
    if not 0.5 <= target_accept < 1:
        faults.append(f"target_accept lies between 0.5 and 1, got {target_accept}")
    if faults:
        raise SpecError("sampler: " + "; ".join(faults))


@dataclass(frozen=True)
class Nuts:
    """The no-U-turn sampler :cite:p:`hoffman2014`, NumPyro's, in whitened coordinates.

    Parameters
    ----------
    chains : int
        Chains, run side by side in one program.
    draws : int
        Draws of each chain that are kept, rounded up to a multiple of 50.
    max_draws : int, optional
        Go on to so many draws while the convergence rule is not met; by default four times ``draws``.
    target_accept : float
        Acceptance that the step size is tuned to.
    max_tree_depth : int
        At most ``2**max_tree_depth - 1`` leapfrog steps a draw, and 31 while warming up.
    """

    chains: int = 4
    draws: int = 600
    max_draws: int | None = None
    target_accept: float = 0.9
    max_tree_depth: int = 8

    def __post_init__(self) -> None:
        _check(self.chains, self.draws, self.target_accept)

    def bounded(self, state: Any) -> Any:
        """The state as it is: the depth of the tree bounds a trajectory."""
        return state

    @property
    def compiled(self) -> tuple[object, ...]:
        """The settings that a compiled program depends on."""
        return Nuts, self.target_accept, self.max_tree_depth

    def kernel(self, potential: Any) -> Any:
        """NumPyro kernel for a potential on whitened coordinates."""
        return NUTS(
            potential_fn=potential,
            adapt_mass_matrix=False,
            target_accept_prob=self.target_accept,
            max_tree_depth=(min(WARM_DEPTH, self.max_tree_depth), self.max_tree_depth),
        )


@dataclass(frozen=True)
class Hmc:
    """Hamiltonian Monte Carlo with trajectories of fixed length :cite:p:`neal2011`: cheaper to compile than NUTS.

    It is the sampler of batches and of many chains: no chain waits for the longest tree of the others. The chains of one fit
    take the median of the steps that they found.

    Parameters
    ----------
    chains, draws, max_draws, target_accept
        As for :class:`Nuts`.
    trajectory : float
        Length of a trajectory in whitened coordinates, where the posterior has about unit scale: at 1.75, some four leapfrog
        steps. A fixed number of steps would be unrolled by the compiler, which takes half as long again.
    max_steps : int
        At most so many leapfrog steps a draw: where the step is short, so is the trajectory, and a chain in a narrow place does
        not keep the others waiting.
    """

    chains: int = 4
    draws: int = 1000
    max_draws: int | None = None
    target_accept: float = 0.8
    trajectory: float = 1.75
    max_steps: int = 100

    def __post_init__(self) -> None:
        _check(self.chains, self.draws, self.target_accept)
        if not (self.trajectory > 0 and self.max_steps > 0):
            raise SpecError(f"sampler: trajectory and max_steps must be positive, got {self.trajectory}, {self.max_steps}")

    def bounded(self, state: Any) -> Any:
        """A state whose next trajectory takes ``max_steps`` at most."""
        longest = self.max_steps * state.adapt_state.step_size
        return state._replace(trajectory_length=jnp.minimum(self.trajectory, longest))

    @property
    def compiled(self) -> tuple[object, ...]:
        """The settings that a compiled program depends on."""
        return Hmc, self.target_accept, self.trajectory, self.max_steps

    def kernel(self, potential: Any) -> Any:
        """NumPyro kernel for a potential on whitened coordinates."""
        return HMC(
            potential_fn=potential,
            adapt_mass_matrix=False,
            target_accept_prob=self.target_accept,
            trajectory_length=self.trajectory,
        )


Sampler = Nuts | Hmc
