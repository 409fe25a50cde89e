"""Which files below a folder are clips, and of which class.

    root/CLASS/clip.mp4

A class is a folder in `root`, and its clips are the files in it whose names end in one of
`EXTENSIONS`. Classes and clips come in the order of their names, character by character, so a
class has the same number on every machine. What else may lie there:

| found | what happens |
|---|---|
| a name that begins with a dot | passed over: `.DS_Store`, `.git`, `._clip.mp4` |
| another file, a folder inside a class folder, something that is no file | ignored, counted |
| a clip in `root` itself, which has no class | fault |
| a class folder without clips | fault, unless `classes` was given |
| a folder that is not among the given `classes` | fault |
| a symbolic link that leads out of `root`, unless `follow_links`, or leads nowhere | fault |

Links that stay inside `root` are followed, and `root` may be one itself. What becomes of the
faults is decided by `VideoFolder(on_error=...)`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

EXTENSIONS = frozenset(
    ".3gp .asf .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .ts .webm .wmv".split()
)


@dataclass
class Scan:
    """What `scan` found: `samples` are (path, class number), the other two (path, reason)."""

    classes: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    ignored: list = field(default_factory=list)
    faults: list = field(default_factory=list)


def scan(root, classes=None, follow_links=False):
    """Look through `root/CLASS/*` by the rules above and return a `Scan`.

    classes: the class names in their order, where they are known already (a test folder beside
    its training folder). Then a class may have no clips, and any other folder is a fault.
    Raises FileNotFoundError or NotADirectoryError for `root`, ValueError if there is no class.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder")
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: a file; expected a folder with one folder per class")

    found = Scan()
    home = os.path.realpath(root)
    folders = []
    for entry in _entries(root, home, follow_links, found):
        if entry.is_dir():
            folders.append(entry)
        elif _is_clip(entry):
            reason = "a clip outside the class folders; move it into one"
            found.faults.append((Path(entry.path), reason))
        else:
            found.ignored.append((Path(entry.path), "not in a class folder"))

    if classes is None:
        found.classes = [folder.name for folder in folders]
        if not folders:
            others = [path.name for path, _ in found.faults + found.ignored]
            held = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "") or "nothing"
            raise ValueError(f"{root}: expected one folder per class, found {held}")
    else:
        found.classes = list(classes)
        if len(set(found.classes)) != len(found.classes) or not found.classes:
            raise ValueError(f"classes: expected different names, got {found.classes}")

    number = {name: k for k, name in enumerate(found.classes)}
    for folder in folders:
        if folder.name not in number:
            reason = f"not one of the given classes ({', '.join(found.classes)})"
            found.faults.append((Path(folder.path), reason))
            continue
        clips, holds_folders = _clips(folder, home, follow_links, found)
        found.samples += [(path, number[folder.name]) for path in clips]
        if not clips and classes is None:
            hint = "; it holds folders, so perhaps it is the root you mean" if holds_folders else ""
            found.faults.append((Path(folder.path), f"a class with no clips{hint}"))
    return found


def _clips(folder, home, follow_links, found):
    """The clips of one class folder, and whether it holds folders too."""
    clips, holds_folders = [], False
    for entry in _entries(folder.path, home, follow_links, found):
        if _is_clip(entry):
            clips.append(Path(entry.path))
        elif entry.is_dir():
            holds_folders = True
            found.ignored.append((Path(entry.path), "a folder inside a class folder"))
        else:
            found.ignored.append((Path(entry.path), "not a video file by its name"))
    return clips, holds_folders


def _entries(folder, home, follow_links, found):
    """What may be looked at in a folder, sorted by name; bad links go to `found.faults`."""
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not os.path.exists(target):
                found.faults.append((Path(entry.path), f"a link to nothing, {target}"))
                continue
            if not follow_links and not _inside(target, home):
                reason = f"a link out of the folder, to {target}; follow_links=True allows it"
                found.faults.append((Path(entry.path), reason))
                continue
        yield entry


def _inside(target, home):
    """Whether a resolved path lies below a resolved folder."""
    return target.startswith(os.path.join(home, ""))


def _is_clip(entry):
    return entry.is_file() and os.path.splitext(entry.name)[1].lower() in EXTENSIONS
