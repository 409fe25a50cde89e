"""What ffmpeg says about a file: its header, its complaints, its final count.

ffprobe is not bundled, so the log of ffmpeg is all there is. It is asked for with
`-loglevel level+verbose`, where each line says how grave it is:

    [info]   Duration: 00:00:04.24, start: 0.040000, bitrate: 148 kb/s
    [info]   Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p, 320x240 ...
    [h264 @ 0x55d08d0bc640] [error] Invalid NAL unit size (-1 > 551).

Only the few items below are taken from it, each by a pattern of its own, so that a new version
of ffmpeg which words one of them differently costs that item and nothing else.
"""

import re
from dataclasses import dataclass

from video.ffmpeg import FORMATS, one_line

_SECTION = re.compile(r"\[info\] (Input|Output) #0")
_CONTAINER = re.compile(r"\[info\] Input #0, (\w+)")
_DURATION = re.compile(r"\[info\]   Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_FILE_START = re.compile(r", start: (-?[\d.]+)")
_STREAM = re.compile(r"\[info\]   Stream #0:\d+.*?: (Video|Audio|Subtitle|Data|Attachment): (.*)")
_STREAM_START = re.compile(r", start (-?[\d.]+)")
_STREAM_DURATION = re.compile(r"\[info\] +DURATION +: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_ROTATION = re.compile(r"\[info\] +Display Matrix: rotation of (-?[\d.]+) degrees")
_SIZE = re.compile(r", (\d+)x(\d+)(?=[ ,]|$)")
_RATE = r", ([\d.]+k?) {}\b"

_MESSAGE = re.compile(r"(?:\[[^\[\]]* @ [^\]]*\] )*\[(panic|fatal|error|warning)\] (.*)")
_END = re.compile(r"\[info\] frame=.* time=(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_DECODED = re.compile(
    r"Input stream #0:\d+ \(video\): .*?; (\d+) frames decoded(?:; (\d+) decode)?"
)

# Errors that only follow from another one, or that end every failed run.
_CONSEQUENCE = re.compile(
    "Error opening|Error parsing|Error submitting|Failed to set value|Task finished|"
    "Terminating thread|Cannot determine format|Could not open encoder|Conversion failed|"
    "Nothing was written|dimensions not set|Decode error rate|ignore this, add"
)
# Said of healthy files: bookkeeping of references at the first pictures of a cut recording.
_HARMLESS = re.compile("mmco: unref short failure")
# Said when decoding starts in the middle, of pictures before the first one that is wanted.
_HARMLESS_AFTER_SEEK = re.compile(
    "[Mm]issing reference|reference picture missing|co located POC|Could not find ref|"
    "reference frames .* exceeds|First slice .* missing|could not seek"
)
_GRAVE_WARNING = re.compile("corrupt|truncat|premature|damage|concealing", re.IGNORECASE)


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video file says. It is a claim, not a measurement.

    path:       the file
    width:      of the frames as `read` gives them without `size`: upright, in pixels.
    height:     The pixels are taken as square, whatever the file says of their aspect
    fps:        frames per second, on average; None if the file does not tell
    duration:   seconds, of the video stream where the file tells, else of the file; or None
    frames:     `duration * fps`, rounded; or None. A guess for progress bars: containers are
                often wrong, and it counts nothing. What `read` gives is the truth
    start:      seconds from the start of the file to the first frame: 0 unless sound begins
                before the picture
    codec:      as ffmpeg calls it: "h264", "hevc", "vp9", "av1", "mpeg4", "gif", ...
    container:  as ffmpeg calls it: "mov" (mp4 too), "matroska" (webm too), "avi", ...
    rotation:   degrees clockwise by which the stored frames were turned to stand upright
    has_audio:  whether there is sound
    """

    path: str
    width: int
    height: int
    fps: float | None
    duration: float | None
    frames: int | None
    start: float
    codec: str
    container: str
    rotation: int
    has_audio: bool


def parse_info(path, lines):
    """The VideoInfo of the first video stream that is no cover picture, or None.

    None also where that stream has no frame size: nothing of it could be decoded.
    """
    video, has_audio, in_video = None, False, False
    container, duration, file_start, own_duration, turned = "", None, 0.0, None, 0.0
    for line in _input_section(lines):
        if found := _CONTAINER.match(line):
            container = found[1]
        elif line.startswith("[info]   Duration: "):
            duration = _seconds(found) if (found := _DURATION.match(line)) else None
            file_start = float(found[1]) if (found := _FILE_START.search(line)) else 0.0
        elif found := _STREAM.match(line):
            in_video = found[1] == "Video" and video is None and not _is_picture(found[2])
            video = found[2] if in_video else video
            has_audio |= found[1] == "Audio"
        elif in_video and (found := _STREAM_DURATION.match(line)):
            own_duration = _seconds(found)
        elif in_video and (found := _ROTATION.match(line)):
            turned = float(found[1])

    if video is None or not (size := _SIZE.search(video)):
        return None
    width, height = int(size[1]), int(size[2])
    rotation = round(-turned) % 360  # ffmpeg counts against the clock
    if rotation in (90, 270):
        width, height = height, width
    # fps is the average over the file, tbr the rate that fits its timestamps.
    fps = _rate(video, "fps") or _rate(video, "tbr")
    stream_start = _STREAM_START.search(video)
    if duration and own_duration:  # a tag, which survives some conversions that outdate it
        duration = min(duration, own_duration)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=fps,
        duration=duration or None,
        frames=round(duration * fps) if duration and fps else None,
        start=float(stream_start[1]) - file_start if stream_start else 0.0,
        codec=video.split(" ")[0].rstrip(","),
        container=container,
        rotation=rotation,
        has_audio=has_audio,
    )


def failure(lines, code):
    """Why nothing came out, in one line: the first error that names a cause."""
    errors = [text for grade, text in _messages(lines) if grade != "warning"]
    for text in errors:
        if "not on whitelist" in text:
            return f"not a video file of a known format ({FORMATS.replace(',', ', ')})"
        if "matches no streams" in text:
            return "it has no video stream"
        if "moov atom not found" in text:
            return "moov atom not found: an mp4 file cut short, without its index, or no video"
    warned = [text for _, text in _messages(lines) if "Could not find codec param" in text]
    causes = [text for text in errors if not _CONSEQUENCE.search(text)] or warned
    causes = causes or [text.partition(": ")[2] or text for text in errors]
    if causes:
        return one_line(causes[0].partition(", see the documentation")[0])
    return f"no frame could be decoded; {ended(code) or 'ffmpeg gave no reason'}"


def ended(code):
    """An exit code in words; empty for 0."""
    if code < 0:
        return f"ffmpeg was ended by signal {-code}"
    return f"ffmpeg ended with exit code {code}" if code else ""


def complaints(lines, dropped=0, after_seek=False):
    """What ffmpeg found damaged, in one line; empty if nothing.

    Its errors, and those of its warnings that speak of corruption, without what is known to
    be said of healthy files too.
    """
    found = []
    for grade, text in _messages(lines):
        grave = grade != "warning" or _GRAVE_WARNING.search(text)
        harmless = _HARMLESS.search(text) or (after_seek and _HARMLESS_AFTER_SEEK.search(text))
        if grave and not harmless:
            found.append(text)
    if not found:
        return ""
    causes = [text for text in found if not _CONSEQUENCE.search(text)] or found
    different = list(dict.fromkeys(causes))[:2]
    more = len(found) + dropped - len(different)
    return one_line("; ".join(different) + (f"; {more} more messages" if more else ""))


def missing(info, lines, start, stop, fps):
    """Signs that fewer frames came than the header promised, one line each.

    A header is no proof, so some slack is left to it. `start`, `stop` (or None) in seconds and
    `fps` (or None) are what was asked for; ffmpeg counts its time from `start`.
    """
    ends = [found for line in lines if (found := _END.match(line))]
    if not ends:
        return
    end = start + _seconds(ends[-1])  # of the last frame
    if info.duration:
        promised = info.duration if stop is None else min(info.duration, stop)
        # Sound may outlast the picture, and then the duration of the file is that of the sound.
        slack = max(1.0, 0.1 * promised) if info.has_audio else max(0.25, 0.05 * promised)
        if promised - end > max(slack, 2 / min(info.fps or 25, fps or 25)):
            yield f"it ends at {end:.2f} s of {promised:.2f} s"

    # ASF (wmv) is the one container that skips what it cannot parse without a word. Elsewhere
    # the rate is no promise: a recording may drop frames and still claim its nominal rate.
    count = [int(found[1]) for line in lines if (found := _DECODED.search(line))]
    if info.container == "asf" and count and info.fps and start == 0 and stop is None:
        promised = round((end - info.start) * info.fps)
        if promised - count[-1] > max(2, 0.05 * promised):
            yield f"{count[-1]} frames where {promised} belong"


def _input_section(lines):
    section = None
    for line in lines:
        if found := _SECTION.match(line):
            section = found[1]
        if section == "Input":
            yield line


def _messages(lines):
    for line in lines:
        if found := _MESSAGE.match(line):
            yield found[1], found[2].strip().rstrip(".")


def _is_picture(stream):
    return "(attached pic)" in stream or "(timed thumbnails)" in stream


def _seconds(found):
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])


def _rate(stream, unit):
    """The number before `fps` or `tbr`. ffmpeg prints two digits: 29.97 means 30000/1001."""
    found = re.search(_RATE.format(unit), stream)
    if not found:
        return None
    number = float(found[1].rstrip("k")) * (1000 if found[1].endswith("k") else 1)
    ntsc = round(number * 1.001) * 1000 / 1001
    return ntsc if number % 1 and abs(number - ntsc) < 0.005 else number or None
