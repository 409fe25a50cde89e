"""One decorator for all compiled kernels, `@kernel`: what is compiled how, and kept where.

Compiling the kernels takes some twenty seconds, loading them from disk less than one, so they
are kept. Numba's own cache looks only at the file a function stands in. But kernels call each
other across files, and Numba compiles the called function into the caller: after an edit it
would go on running the old code. Therefore the folder is named by a hash of all files in this
package and the ones inside it. Any edit gives a new folder, and stale code cannot be met.

The folder stands in `__pycache__` beside the package, or in the user's cache folder where that
cannot be written, or in NUMBA_CACHE_DIR where that is set.
"""

import gc
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numba
from numba.core import event

PACKAGE = Path(__file__).parent
PREFIX = "backreel-kernels-"
A_DAY = 24 * 3600

# What the compiler may do to floating-point arithmetic: fuse a·b + c into one rounding, and sum
# in another order (which is what lets it sum in vectors). It may not assume that there is no
# NaN or infinity: a NaN must come out where one went in.
FASTMATH = {"contract", "reassoc", "nsz"}


def source_hash(package=PACKAGE):
    """A name for the present state of all source files of the kernels."""
    digest = hashlib.sha256()
    for file in sorted([*package.glob("*.py"), *package.glob("*/*.py")]):
        name = file.relative_to(package).as_posix()
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _user_cache():
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def _make_writable(folder):
    """Make the folder if need be; whether files can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def cache_folder():
    """The first of the three places that can be written, None if none can."""
    chosen = numba.config.CACHE_DIR
    places = [Path(chosen)] if chosen else [PACKAGE / "__pycache__", _user_cache() / "backreel"]
    for place in places:
        folder = place / (PREFIX + source_hash())
        if _make_writable(folder):
            return folder
    return None


def clear_stale(folder, older_than=A_DAY):
    """Delete the siblings of `folder`: kernels compiled from files that have since changed.

    Every start marks its folder as used. One that was used within the last day stays, as a
    program that began before the edit may still be running from it.
    """
    for sibling in folder.parent.glob(PREFIX + "*"):
        try:
            if sibling == folder:
                os.utime(folder)
            elif time.time() - sibling.stat().st_mtime > older_than:
                shutil.rmtree(sibling)
        except OSError:
            pass  # another process was faster, or it is not ours to delete


FOLDER = cache_folder()
if FOLDER is not None:
    clear_stale(FOLDER)


def kernel(function=None, *, parallel=False, inline=False):
    """Compile a function on its first call with new types; keep the machine code on disk.

    Kernels for several threads are plain kernels too, see `threads`. parallel=True, for
    `numba.prange`, is used by the ladder alone: it costs seconds of compiling.

    inline=True is for the innermost loops. A call costs as much as some hundred additions when
    arrays are passed: each one's reference count goes up and down, safely across threads.
    """
    if function is None:
        return lambda f: kernel(f, parallel=parallel, inline=inline)
    # What exec ran, as the pages of the course are run, has no module to be found by when loaded.
    kept = FOLDER is not None and function.__module__ in sys.modules
    before = numba.config.CACHE_DIR
    if kept:
        numba.config.CACHE_DIR = str(FOLDER)  # read by njit, now; given back for other people's
    try:
        return numba.njit(
            function,
            cache=kept,
            parallel=parallel,
            inline="always" if inline else "never",
            nogil=True,
            error_model="numpy",  # a division by zero gives inf or NaN, without a test for it
            boundscheck=False,
            fastmath=FASTMATH,
        )
    finally:
        numba.config.CACHE_DIR = before


class _WhileCompiling(event.Listener):
    """Says once that kernels are being compiled, so that a first run does not look hung.

    Meanwhile Python does not look for garbage. The compiler makes millions of small objects and
    holds on to nearly all of them: looking through them takes a tenth of its time.
    """

    said = False
    begun = 0  # one compilation begins others
    collect = False

    def on_start(self, event):
        if self.begun == 0:
            self.collect = gc.isenabled()
            gc.disable()
        self.begun += 1
        module = event.data["dispatcher"].py_func.__module__ or ""  # None: made by exec
        if self.said or not module.startswith(__package__ + "."):
            return
        self.said = True
        kept = "" if FOLDER is None else f"; later starts load them from {FOLDER}"
        print(f"Compiling kernels for this CPU, once{kept}", file=sys.stderr, flush=True)

    def on_end(self, event):
        self.begun -= 1
        if self.begun == 0 and self.collect:
            gc.enable()


event.register("numba:compile", _WhileCompiling())
