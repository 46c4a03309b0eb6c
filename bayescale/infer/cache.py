"""JAX's persistent compilation cache, around our own compiling only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import platformdirs
from jax.experimental.compilation_cache import compilation_cache

#: Names the folder of the cache, or turns it off with ``off``.
VARIABLE = "BAYESCALE_COMPILATION_CACHE"

_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_enable_compilation_cache": True,
}


def cache_folder() -> Path | None:
    """Where compiled programs are kept; None when the cache is off or its folder cannot be made."""
    named = os.environ.get(VARIABLE, "")
    if named.lower() == "off":
        return None
    folder = Path(named) if named else Path(platformdirs.user_cache_dir("bayescale")) / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


@contextmanager
def compilation_cache_of_ours() -> Iterator[None]:
    """Use our cache inside the block, and the user's own setting again after it."""
    folder = cache_folder()
    if folder is None:
        yield
        return
    wanted = {"jax_compilation_cache_dir": str(folder), **_SETTINGS}
    before = {name: getattr(jax.config, name) for name in wanted}
    _apply(wanted)
    try:
        yield
    finally:
        _apply(before)


def _apply(settings: dict[str, object]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
