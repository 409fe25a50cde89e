"""Where compiled kernels are kept, when they are compiled again, and what is said about it."""

import os
import subprocess
import sys
import time

import numba
import pytest

from nn.kernels import cpu, jit


def run(code, **env):
    env = {**os.environ, **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )


POOL = """
import numpy as np
from nn import kernels
y = kernels.avg_pool_forward(np.ones((1, 6, 3), np.float32), (3,), (3,), ((0, 0),))
assert y.tolist() == [[[1, 1, 1], [1, 1, 1]]], y
kernels.avg_pool_forward(np.ones((1, 4, 4, 3)), (2, 2), (2, 2), ((0, 0), (0, 0)))
"""


def test_the_first_start_compiles_and_says_so_once_and_the_second_does_neither(tmp_path):
    first = run(POOL, NUMBA_CACHE_DIR=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert folder.name == jit.PREFIX + jit.source_hash()
    assert first.stderr.splitlines() == [
        f"Compiling kernels for this CPU, once; later starts load them from {folder}"
    ]
    second = run(POOL, NUMBA_CACHE_DIR=str(tmp_path))
    assert second.stderr == ""


def test_any_edit_gives_another_folder(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 1\n")
    before = jit.source_hash(tmp_path)
    assert jit.source_hash(tmp_path) == before
    (tmp_path / "b.py").write_text("y = 2\n")
    after = jit.source_hash(tmp_path)
    assert after != before
    (tmp_path / "c.py").write_text("")
    with_c = jit.source_hash(tmp_path)
    assert with_c not in (before, after)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.py").write_text("z = 1\n")
    assert jit.source_hash(tmp_path) not in (before, after, with_c)


def test_only_old_kernel_folders_are_cleared_away(tmp_path):
    names = ["mine", "recent", "old"]
    mine, recent, old = (tmp_path / (jit.PREFIX + name) for name in names)
    foreign = tmp_path / "something-else"
    for folder in (mine, recent, old, foreign):
        folder.mkdir()
        (folder / "kernel.nbc").write_text("")
    two_days_ago = time.time() - 2 * jit.A_DAY
    for folder in (mine, old, foreign):
        os.utime(folder, (two_days_ago, two_days_ago))
    jit.clear_stale(mine)
    assert sorted(tmp_path.iterdir()) == sorted([mine, recent, foreign])
    assert time.time() - mine.stat().st_mtime < jit.A_DAY  # marked as used


def test_where_the_package_cannot_be_written_the_users_cache_folder_is_taken(tmp_path, monkeypatch):
    not_a_folder = tmp_path / "package"
    not_a_folder.write_text("")
    monkeypatch.setattr(jit, "PACKAGE", not_a_folder)
    monkeypatch.setattr(jit, "_user_cache", lambda: tmp_path / "user")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    folder = jit.cache_folder()
    assert folder.parent == tmp_path / "user" / "backreel"
    assert folder.is_dir()
    monkeypatch.setattr(jit, "_user_cache", lambda: not_a_folder)
    assert jit.cache_folder() is None


def test_other_peoples_functions_keep_their_own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    @jit.kernel
    def ours(x):
        return x + 1

    assert numba.config.CACHE_DIR == str(tmp_path)
    assert ours(1) == 2
    assert not list(tmp_path.iterdir())


def test_importing_the_library_compiles_nothing_and_does_not_load_the_compiler():
    done = run("import sys, nn; print('numba' in sys.modules, 'matplotlib' in sys.modules)")
    assert done.stdout.split() == ["False", "False"]
    assert done.stderr == ""


@pytest.mark.parametrize("chosen", [None, "active"])
def test_idle_threads_sleep_unless_the_user_wants_otherwise(chosen):
    code = """
import os
os.environ.pop("OMP_WAIT_POLICY", None)
{}
import nn
print(os.environ["OMP_WAIT_POLICY"])
"""
    before = "" if chosen is None else f"os.environ['OMP_WAIT_POLICY'] = {chosen!r}"
    assert run(code.format(before)).stdout.strip() == (chosen or "passive")


@pytest.mark.parametrize(
    "features, machine, size, registers",
    [
        ({"avx", "avx2", "avx512f"}, "x86_64", 64, 32),
        ({"avx", "avx2", "fma"}, "AMD64", 32, 16),
        ({"sse2"}, "x86_64", 16, 16),
        ({"neon"}, "arm64", 16, 32),
        (set(), "riscv64", 16, 16),
    ],
)
def test_tiles_fit_into_the_registers(features, machine, size, registers):
    bytes_, tall, short = cpu.tile_sizes(features, machine)
    assert bytes_ == size
    for rows in (tall, short):
        sums = 2 * rows
        assert 8 <= sums <= registers - 3  # two vectors of one operand, one number of the other


def test_kernels_for_a_cpu_without_avx512_are_as_right(tmp_path):
    code = """
import numpy as np
from nn import kernels
from nn.kernels import cpu
assert cpu.VECTOR_BYTES == 16, cpu.VECTOR_BYTES
rng = np.random.default_rng(0)
x, w = rng.standard_normal((1, 9, 11, 3)), rng.standard_normal((3, 3, 3, 13))
how = (1, 2), ((1, 1), (1, 0)), (1, 1), 1
y = kernels.conv_forward(x, w, None, *how)
with kernels.using("reference"):
    assert np.abs(y - kernels.conv_forward(x, w, None, *how)).max() < 1e-13
"""
    run(code, NUMBA_CPU_NAME="generic")


def test_a_kernel_on_a_page_runs_a_second_time(tmp_path):
    """What exec runs is no module: loaded from disk it would look for one and not find it."""
    page = tmp_path / "page.md"
    page.write_text("from nn.kernels.jit import kernel\n@kernel\ndef two(x):\n    return 2 * x\n")
    code = f"""
page = {str(page)!r}
namespace = {{"__name__": "page"}}
exec(compile(open(page).read(), page, "exec"), namespace)
print(namespace["two"](3))
"""
    for _ in range(2):
        assert run(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stdout == "6\n"
