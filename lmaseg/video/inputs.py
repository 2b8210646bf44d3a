"""What the name of a source stands for: a file, a pipe, a camera or a network address."""

import re
import sys
from pathlib import Path

STANDARD_INPUT = "-"
CAMERA_PREFIX = "camera:"
CAMERA_DEVICE = re.compile(r"/dev/video\d+")
REPEATABLE = ("http://", "https://", "file:")  # addresses that give the same video again when opened again
PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def is_url(source: str | Path) -> bool:
    """Whether FFmpeg is to resolve a source by protocol (rtsp://, https://) rather than as a file."""
    return "://" in str(source)


def is_camera(source: str | Path) -> bool:
    """Whether a source is camera:NUMBER, camera:NAME, a number that is no file, or a video device, also by a link."""
    text = str(source)
    if text.isdecimal():
        return not Path(text).exists()
    return text.startswith(CAMERA_PREFIX) or (
        text.startswith("/dev/") and CAMERA_DEVICE.fullmatch(str(Path(text).resolve())) is not None
    )


def is_standard_input(source: str | Path) -> bool:
    """Whether a source is what another program pipes in."""
    return str(source) == STANDARD_INPUT


def is_remote(source: str | Path) -> bool:
    """Whether waiting for a source must have an end: a camera or an address."""
    return is_camera(source) or is_url(source)


def is_endless(source: str | Path) -> bool:
    """Whether a source shows the present, so that a lost connection is to be opened anew: cameras and rtsp://, not
    http://, where a file may lie."""
    return is_remote(source) and not str(source).startswith(REPEATABLE)


def is_repeatable(source: str | Path) -> bool:
    """Whether a source opened a second time gives the same video from its beginning."""
    return str(source).startswith(REPEATABLE) if is_remote(source) else Path(source).is_file()


def display_name(source: str | Path) -> str:
    """The name of a source in messages: an address without the password in it."""
    return "standard input" if is_standard_input(source) else PASSWORD.sub(r"\1:***@", str(source))


def camera_device(source: str | Path, platform: str = sys.platform) -> tuple[str, str]:
    """(device, FFmpeg format) of a camera on this or another platform."""
    name = str(source).removeprefix(CAMERA_PREFIX)
    if platform == "darwin":
        return name, "avfoundation"
    if platform == "win32":
        return f"video={name}", "dshow"
    return (f"/dev/video{name}" if name.isdecimal() else name), "v4l2"
