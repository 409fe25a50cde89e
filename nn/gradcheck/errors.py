"""What an exception in the code of a layer says, and where it was raised."""

import os
import traceback

import numpy as np

# Where files are not the user's: this library, Python's own, and code without a file.
LIBRARIES = (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__), "<")


def said(error):
    """An exception in one line, with the way out of the most common one."""
    what = " ".join(str(error).split())
    of_parameter = "'Parameter'" in what or "of type Parameter" in what
    use_data = " (use .data)" if of_parameter else ""
    if "not have enough dimensions (has 0," in what:
        use_data = " (a Parameter? use .data)"
    return type(error).__name__ + (f": {what}" if what else "") + use_data


def holds_what_take_gave(error):
    """Did a backward raise that kept a tuple of one array, as `x = self.take()` gives?"""
    return any(
        frame.f_code.co_name == "backward"
        and not frame.f_code.co_filename.startswith(LIBRARIES)
        and any(
            isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], np.ndarray)
            for value in frame.f_locals.values()
        )
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def line_of(error):
    """Where an error was raised, as " (line 12 of layer.py)": the last line outside libraries."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" not in frame.filename and not frame.filename.startswith(LIBRARIES):
            return f" (line {frame.lineno} of {os.path.basename(frame.filename)})"
    return ""
