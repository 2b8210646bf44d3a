"""The errors this library raises; every message is one sentence that says how to mend what is wrong."""


def first_line(error: BaseException) -> str:
    """The first line of what an error of somebody else's says, its kind where it says nothing."""
    return (str(error).strip().partition("\n")[0][:200] or type(error).__name__).rstrip(".")


class LmasegError(Exception):
    """Base of all errors lmaseg raises on purpose."""


class CheckpointError(LmasegError):
    """Weights that are missing, damaged or do not fit the network they name."""


class VideoError(LmasegError):
    """A source that cannot be read as pictures, or an output that cannot be written."""


class NoFrameError(VideoError):
    """A part of a source, asked for by its times, in which no frame lies."""


class BatchError(LmasegError):
    """A job over many sources that cannot be started, or cannot go on."""


class DatasetError(LmasegError):
    """A data set whose files are missing, of another kind or inconsistent."""


class BackendError(LmasegError):
    """A device or a computing backend that is not available here."""


class LmasegWarning(UserWarning):
    """Something works, but not all of it; the message is one sentence that says what does not and why."""
