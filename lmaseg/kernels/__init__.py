"""C kernels behind a plain ABI: finding the library that was built with the package, or saying why there is none.

Nothing here imports torch. A missing library makes things slower, never broken: `available` says whether there is one.
"""

import ctypes
import functools
import sys
from pathlib import Path

from lmaseg.errors import BackendError

__all__ = ["LEVELS", "available", "level_index", "levels", "library", "overlooked", "why_missing"]

LEVELS = ("generic", "avx2", "avx512", "avx512_bf16")  # as numbered in native.h, each including those before it
ABI_VERSION = 2  # of native.h
FOLDER = Path(__file__).parent
SUFFIXES = {".so", ".pyd", ".dylib"}


def _numbers(*names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, ctypes.c_int64) for name in names)


class Attention(ctypes.Structure):
    """`Attention` of native.h; strides are in bytes."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("query", "keys", "values", "out")),
        ("query_strides", ctypes.c_int64 * 4),
        ("keys_strides", ctypes.c_int64 * 5),
        ("values_strides", ctypes.c_int64 * 5),
        *_numbers("batch", "frames", "channels", "depth", "height", "width", "window", "half"),
    )


class Upsample(ctypes.Structure):
    """`Upsample` of native.h; strides are in bytes."""

    _fields_ = (
        ("logits", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("strides", ctypes.c_int64 * 4),
        *_numbers("batch", "classes", "rows", "columns", "height", "width", "half", "align_corners"),
    )


class Blend(ctypes.Structure):
    """`Blend` of native.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("features", "attended", "out", "weights")),
        *_numbers("batch", "cells", "channels", "half"),
        *((name, ctypes.c_float) for name in ("bias", "closing", "still", "smallest")),
    )


class Quantize(ctypes.Structure):
    """`Quantize` of native.h."""

    _fields_ = (
        ("from", ctypes.c_void_p),
        ("to", ctypes.c_void_p),
        *_numbers("count", "half"),
        ("factor", ctypes.c_float),
        ("shift", ctypes.c_float),
    )


class Resize(ctypes.Structure):
    """`Resize` of native.h."""

    _fields_ = (
        ("from", ctypes.c_void_p),
        ("to", ctypes.c_void_p),
        *_numbers("batch", "channels", "rows", "columns", "height", "width", "align_corners"),
    )


CALLS = {
    "lmaseg_attend": Attention,
    "lmaseg_blend": Blend,
    "lmaseg_label": Upsample,
    "lmaseg_quantize": Quantize,
    "lmaseg_resize": Resize,
}


def library() -> ctypes.CDLL:
    """The kernels; BackendError with the reason and the remedy where they are missing."""
    loaded = _load()
    if isinstance(loaded, str):
        raise BackendError(loaded)
    return loaded


def available() -> bool:
    """Whether the kernels can be called."""
    return why_missing() is None


def why_missing() -> str | None:
    """Why the kernels cannot be called, in one sentence with the remedy; None when they can."""
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


def overlooked() -> Path | None:
    """Kernels of another lmaseg that Python would import from elsewhere, while the one that runs has none.

    That is so in a checkout, whose source tree comes before the installed package for `python -m lmaseg`.
    """
    if available():
        return None
    folders = (Path(entry or ".", "lmaseg", "kernels").resolve() for entry in sys.path)
    return next((folder for folder in folders if folder != FOLDER.resolve() and _built_in(folder)), None)


def levels() -> tuple[str, ...]:
    """The names in `LEVELS` that this machine can run, the fastest last; none without a library."""
    return LEVELS[: library().lmaseg_best_level() + 1] if available() else ()


def level_index(level: str) -> int:
    """The number of a level in the library, of the fastest for ""; ValueError for one this machine cannot run."""
    runnable = levels()
    if level == "":
        return len(runnable) - 1
    if level not in runnable:
        raise ValueError(f"this machine cannot run kernels of level {level!r}, only {', '.join(runnable)}")
    return runnable.index(level)


def _built_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("_native*") if path.suffix in SUFFIXES)


@functools.cache
def _load() -> ctypes.CDLL | str:
    files = _built_in(FOLDER)
    if not files:
        return "the C kernels were not built: install a C compiler, then reinstall lmaseg"
    try:
        loaded = ctypes.CDLL(str(files[0]))
        version = loaded.lmaseg_abi()
    except (OSError, AttributeError) as error:
        return f"the C kernels cannot be loaded: {error}; reinstall lmaseg"
    if version != ABI_VERSION:
        return f"the C kernels in {files[0].name} were built from other sources: reinstall lmaseg"
    for name, call in CALLS.items():
        getattr(loaded, name).argtypes = (ctypes.POINTER(call), ctypes.c_int, ctypes.c_int)
    return loaded
