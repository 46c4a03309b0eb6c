"""What every test starts from: JAX on the CPU, a compilation cache of this session's own, and no precision left behind."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bayescale.infer.fit import Fit

# Before JAX is imported by any test: the tests are about numbers, and a GPU's differ in the last digits.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The machines that run these tests have two cores: threads of BLAS beside XLA's own only get in each other's way.
for _pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# One compilation cache for the session, subprocesses included, and not the user's.
if "BAYESCALE_COMPILATION_CACHE" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="bayescale-xla-")
    os.environ["BAYESCALE_COMPILATION_CACHE"] = _cache
    # A process that ends later may still write there: a folder that is left behind is no failure.
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable: str, what: str) -> Path:
    named = os.environ.get(variable, "")
    if not named:
        pytest.skip(f"{variable} is not set: it names the folder of {what}")
    folder = Path(named)
    assert folder.is_dir(), f"{variable}={named} names no folder"
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of public files, laid out owner/repository/commit/path."""
    return _folder("BAYESCALE_MIRROR", "the public files that load_dataset would download")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of tidied tables, laid out table/file.csv."""
    return _folder("BAYESCALE_DATA_DIR", "tables that cannot be downloaded")


@pytest.fixture(scope="session")
def one_family() -> Fit:
    """A real fit of one curve, by default settings; the program compiled for it serves every table of up to 16 runs."""
    import bayescale
    from benchmarks.recovery import CASES, simulate

    case = CASES["one family"]
    return bayescale.fit(case.model, simulate(case, 0)[0], progress=False)


@pytest.fixture(scope="session")
def twelve_families() -> Fit:
    """A real fit of twelve families of 2 to 20 runs, exponents and amplitudes pooled."""
    import bayescale
    from benchmarks.recovery import CASES, simulate

    case = CASES["twelve families"]
    return bayescale.fit(case.model, simulate(case, 0)[0], progress=False)


@pytest.fixture(autouse=True)
def _precision_left_alone() -> Iterator[None]:
    """No verb leaves JAX in double precision: a user's own float32 work in the same process goes on."""
    yield
    jax = sys.modules.get("jax")
    if jax is not None and jax.config.jax_enable_x64:
        jax.config.update("jax_enable_x64", False)  # for the tests that follow
        pytest.fail("this test left jax_enable_x64 on")
