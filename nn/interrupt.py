"""Ctrl-C as a request: finish the step under way, save, then leave."""

import signal
import threading


class StopOnCtrlC:
    """with StopOnCtrlC() as stop: the first Ctrl-C only sets `stop.asked`.

    KeyboardInterrupt is raised at the end of the block, or on the spot by the second Ctrl-C.
    After the block the former handler is back. Signals reach Python's main thread alone, so in
    any other thread, and where the process was told to ignore Ctrl-C, nothing is installed.
    """

    def __init__(self):
        self.asked = False
        self._former = None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            former = signal.getsignal(signal.SIGINT)
            if former not in (None, signal.SIG_IGN):
                self._former = former
                signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, kind, error, traceback):
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
        if self.asked and error is None:
            raise KeyboardInterrupt

    def _on_signal(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
