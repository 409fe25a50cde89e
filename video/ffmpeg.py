"""Running ffmpeg: what it may open, and a process that always ends.

Backreel decodes and encodes with the ffmpeg executable that imageio-ffmpeg brings along. It
is a program, not a library, so a crash or a memory leak in a decoder cannot reach Python.
The price is the care of a process, and that care is this file: `Process` drains what ffmpeg
says so that neither side ever waits for the other, ends ffmpeg when it stalls, and leaves
neither process nor descriptor behind, whichever way it is left.
"""

import collections
import contextlib
import io
import os
import subprocess
import threading
import time
import weakref
from fractions import Fraction

import imageio_ffmpeg

# ffmpeg chooses the demuxer by content, not by name: a text file called clip.mp4 may be a
# playlist (ffconcat, HLS, DASH) that opens other files or the network. Two lists stop that.
# Only local files may be opened, and only by demuxers that read frames from the very file
# they were given. The second list is the one that refuses playlists: "file" alone would let
# an ffconcat list open its neighbours.
PROTOCOLS = "file"
FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif"

# The largest frame that is decoded, 8K. A file of a few hundred kilobytes can claim far more,
# and decoders allocate what is claimed.
MAX_PIXELS = 8192 * 4320

_FIRST_LINES, _LAST_LINES = 500, 100
_PIPE_BYTES = 1 << 20


class VideoError(Exception):
    """A video file cannot be read or written. `.path` says which, `.reason` why."""

    def __init__(self, path, reason):
        super().__init__(path, reason)  # both in args, so that the error can be pickled
        self.path = path
        self.reason = reason

    def __str__(self):
        return f"{one_line(str(self.path))}: {self.reason}"


class VideoWarning(UserWarning):
    """Frames were read, but the file is damaged. The text names the file and the damage."""


def one_line(text):
    """The text with line breaks shown as `\\n`: file names may hold them, errors may not."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def file_url(path):
    """The path as ffmpeg takes it. `file:` settles names that hold `:` or begin with `-`."""
    return "file:" + os.path.abspath(path)


def rate(fps):
    """Frames per second as a fraction, `30000/1001`, so that no digits are lost."""
    fraction = Fraction(fps).limit_denominator(100_000)
    return f"{fraction.numerator}/{fraction.denominator}"


def input_arguments(path, seek=0.0):
    """Arguments that open one local video file, decode on one thread, and nothing else.

    One thread, because clips are read side by side: two decoders of one thread each are
    faster on two cores than one decoder of two threads.
    """
    return [
        *("-protocol_whitelist", PROTOCOLS, "-format_whitelist", FORMATS),
        *("-max_pixels", str(MAX_PIXELS), "-threads", "1"),
        *(("-ss", f"{seek:.6f}") if seek else ()),
        *("-i", file_url(path)),
    ]


class Process:
    """One running ffmpeg, used in a `with` block.

    Leaving the block, on whatever way, ends the process, waits for it and closes its pipes.

    path:       the video file, for error messages
    arguments:  what follows `ffmpeg` on the command line
    writes:     True to send bytes to ffmpeg with `write`; otherwise they come from `readinto`
    timeout:    seconds that ffmpeg may stay silent while we wait for it, or None. Time that
                the caller spends between two reads does not count
    """

    def __init__(self, path, arguments, writes=False, timeout=None):
        self.path = path
        self.timeout = timeout
        self._timed_out = False
        self._waiting_since = None
        self._over = threading.Event()
        self._first_lines = []
        self._last_lines = collections.deque(maxlen=_LAST_LINES)
        self._lines_dropped = 0
        self._popen = subprocess.Popen(
            [
                *(imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-nostats"),
                *("-loglevel", "level+verbose", "-filter_threads", "1"),
                *arguments,
            ],
            stdin=subprocess.PIPE if writes else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if writes else subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            **_own_group(),
        )
        # If Python exits with this process still in use, a generator half read for example.
        self._at_exit = weakref.finalize(self, _end, self._popen)
        self._threads = [threading.Thread(target=self._drain, daemon=True)]
        if timeout is not None:
            self._threads.append(threading.Thread(target=self._watch, daemon=True))
        try:
            _widen(self._popen.stdin or self._popen.stdout)
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def readinto(self, view):
        """Fill `view` (a writable memoryview of bytes) and return how many bytes came.

        Fewer than asked means that ffmpeg closed its output.
        """
        filled = 0
        with self._waiting():
            while filled < len(view):
                count = self._popen.stdout.readinto(view[filled:])
                if not count:
                    break
                filled += count
                self._waiting_since = time.monotonic()
        return filled

    def write(self, data):
        """Send all of `data` to ffmpeg. BrokenPipeError if ffmpeg has gone."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self._popen.stdin.write(view) :]

    def finish(self):
        """Wait until ffmpeg ends by itself and return its exit code."""
        if self._popen.stdin:
            self._popen.stdin.close()
        with self._waiting():
            code = self._popen.wait()
        self._threads[0].join()  # the log is whole once the drain has seen its end
        return code

    @property
    def log(self):
        """What ffmpeg said: its first 500 and its last 100 lines, which bounds the memory."""
        return [*self._first_lines, *self._last_lines]

    @property
    def lines_dropped(self):
        """How many lines between the first and the last ones were not kept."""
        return self._lines_dropped

    def close(self):
        """End ffmpeg if it still runs, wait for it, close the pipes. May be called again."""
        self._over.set()
        self._at_exit()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe:
                pipe.close()

    @contextlib.contextmanager
    def _waiting(self):
        self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None
        if self._timed_out:
            raise VideoError(
                self.path,
                f"timed out: no data for {self.timeout:g} s "
                "(a stalled source, or raise timeout= for a slow one)",
            )

    def _drain(self):
        # ValueError: the garbage collector may close us, and may happen to run in this thread.
        with contextlib.suppress(ValueError), io.BufferedReader(self._popen.stderr) as pipe:
            # readline with a limit: a line may be as long as the tags of a hostile file.
            for line in iter(lambda: pipe.readline(4096), b""):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                if len(self._first_lines) < _FIRST_LINES:
                    self._first_lines.append(text)
                else:
                    self._lines_dropped += len(self._last_lines) == _LAST_LINES
                    self._last_lines.append(text)

    def _watch(self):
        # A blocked read cannot be given a time limit on every system, but it ends when the
        # process at its other end does.
        while not self._over.wait(min(1.0, self.timeout / 4)):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self.timeout:
                self._timed_out = True
                self._popen.kill()
                return


def _end(popen):
    if popen.poll() is None:
        popen.kill()
    popen.wait()


def _environment():
    environment = dict(os.environ)
    environment.pop("FFREPORT", None)  # would write log files into the working folder
    environment["AV_LOG_FORCE_NOCOLOR"] = "1"  # or colour codes may stand among the words
    return environment


def _own_group():
    # Ctrl-C in a terminal goes to the whole group. It is Python that must hear it and decide;
    # an ffmpeg that heard it too would stop in mid-clip, which looks like a damaged file.
    if os.name == "nt":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def _widen(pipe):
    # Linux gives a pipe 64 KiB, less than one small frame. A wider one saves switches between
    # the two processes. It is a favour the system may refuse.
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass
