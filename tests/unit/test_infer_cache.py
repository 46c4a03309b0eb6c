"""The compilation cache: a second process compiles nothing, and the user's own cache is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import platformdirs
import pytest

from bayescale.infer.cache import VARIABLE, cache_folder, compilation_cache_of_ours

#: A fit in a process whose user has a cache folder and a threshold of their own, and works in float32 before and after.
CHILD = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
events = {}
def count(name, **_):
    events[name.rsplit("/", 1)[-1]] = events.get(name.rsplit("/", 1)[-1], 0) + 1
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
own = jax.jit(lambda x: jnp.sin(x) + 1)
before = own(jnp.ones(3))
import bayescale as bs
from benchmarks.recovery import CASES, simulate
case = CASES["one family"]
settings = {k: v for k, v in jax.config.values.items() if "cache" in k or "x64" in k}
jax.monitoring.register_event_listener(count)
fitted = bs.fit(case.model, simulate(case, 0)[0], sampler=bs.Hmc(draws=50, max_draws=50, max_steps=2), strict=False)
jax.monitoring.unregister_event_listener(count)
assert settings == {k: v for k, v in jax.config.values.items() if "cache" in k or "x64" in k}
after = own(jnp.ones(3))
late = jax.jit(lambda x: jnp.cos(x) + 2)(jnp.ones(3))
assert before.dtype == after.dtype == late.dtype == np.float32 and (before == after).all()
steps = int(fitted.tree["sample_stats"]["n_steps"].max())
print(json.dumps({"events": events, "steps": steps, "alpha": fitted.posterior["alpha"].values.tolist()}))
"""


def run(tmp_path: Path, root: Path) -> dict:
    env = os.environ | {VARIABLE: str(tmp_path / "ours"), "PYTHONPATH": str(root)}
    code = [sys.executable, "-c", CHILD, str(tmp_path / "theirs")]
    done = subprocess.run(code, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def names(folder: Path) -> set[str]:
    return {found.name for found in folder.iterdir() if found.name.endswith("-cache")}


def test_a_second_process_compiles_nothing_and_draws_the_same(tmp_path: Path, root: Path) -> None:
    first = run(tmp_path, root)
    assert first["events"].get("cache_misses", 0) > 0
    assert "cache_hits" not in first["events"]
    ours, theirs = names(tmp_path / "ours"), names(tmp_path / "theirs")
    assert len(ours) == first["events"]["cache_misses"]
    second = run(tmp_path, root)
    assert second["events"].get("cache_misses", 0) == 0
    assert second["events"]["cache_hits"] == first["events"]["cache_misses"]
    assert second["alpha"] == first["alpha"]
    assert second["steps"] == 2
    # what the user compiled went to the user's folder, before and after ours, and nothing of ours with it
    assert any("lambda" in name or "sin" in name for name in theirs)
    assert not ours & theirs
    assert names(tmp_path / "ours") == ours
    assert names(tmp_path / "theirs") == theirs


class TestFolder:
    def test_is_the_named_one(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv(VARIABLE, str(tmp_path / "a" / "b"))
        assert cache_folder() == tmp_path / "a" / "b"
        assert (tmp_path / "a" / "b").is_dir()

    def test_is_in_the_users_cache_folder_by_default(self, tmp_path, monkeypatch) -> None:
        monkeypatch.delenv(VARIABLE)
        monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
        assert cache_folder() == tmp_path / "bayescale" / "xla"

    @pytest.mark.parametrize("word", ["off", "OFF"])
    def test_is_none_when_switched_off(self, monkeypatch, word: str) -> None:
        monkeypatch.setenv(VARIABLE, word)
        assert cache_folder() is None

    def test_is_none_when_it_cannot_be_made(self, tmp_path, monkeypatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "folder"))
        assert cache_folder() is None


class TestSettings:
    @staticmethod
    def now() -> dict[str, object]:
        return {name: value for name, value in jax.config.values.items() if "cache" in name}

    def test_are_ours_inside_and_the_users_after(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv(VARIABLE, str(tmp_path))
        before = self.now()
        with compilation_cache_of_ours():
            assert jax.config.jax_compilation_cache_dir == str(tmp_path)
            assert jax.config.jax_enable_compilation_cache
        assert self.now() == before

    def test_are_the_users_after_an_error_too(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv(VARIABLE, str(tmp_path))
        before = self.now()
        with pytest.raises(KeyboardInterrupt), compilation_cache_of_ours():
            raise KeyboardInterrupt
        assert self.now() == before

    def test_are_not_touched_when_switched_off(self, monkeypatch) -> None:
        monkeypatch.setenv(VARIABLE, "off")
        before = self.now()
        with compilation_cache_of_ours():
            assert self.now() == before
