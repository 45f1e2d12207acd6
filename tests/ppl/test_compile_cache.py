"""Laws of the compile cache: what one process compiled the next one finds, small programs included."""

import jax
import jax.numpy as jnp
import pytest

import lawful
from lawful.errors import LawfulError

NAMES = (
    "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)  # fmt: skip
HITS = "/jax/compilation_cache/cache_hits"


@pytest.fixture
def settings_come_back():
    from jax.experimental.compilation_cache import compilation_cache

    before = {name: getattr(jax.config, name) for name in NAMES}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compiled():
    """Compile a small program anew, as another process would."""

    def small(x):
        return jnp.sin(x) * 3.25

    return jax.jit(small)(jnp.arange(3.0))


def test_a_program_that_was_compiled_before_is_found(tmp_path, settings_come_back):
    compiled()  # before there is a cache
    hits = []

    def note(event, **_):
        hits.append(event == HITS)

    assert lawful.compile_cache(tmp_path / "new") == tmp_path / "new"
    first = compiled()
    kept = {file.name for file in (tmp_path / "new").iterdir() if "small" in file.name}
    jax.monitoring.register_event_listener(note)
    try:
        second = compiled()
    finally:
        jax.monitoring.unregister_event_listener(note)
    assert kept and sum(hits) == 1
    assert first.tolist() == second.tolist()


def test_the_folder_is_that_of_the_user_by_default(tmp_path, settings_come_back, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lawful.compile_cache() == tmp_path / "lawful"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "lawful")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, settings_come_back):
    (tmp_path / "file").write_text("")
    with pytest.raises(LawfulError, match=r"compile_cache: the folder .* cannot be made"):
        lawful.compile_cache(tmp_path / "file" / "cache")
    assert jax.config.jax_compilation_cache_dir != str(tmp_path / "file" / "cache")
