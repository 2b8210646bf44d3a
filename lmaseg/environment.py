"""The environment lmaseg runs in, for bug reports: versions, processor, devices, kernels, encoders, weights."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import av
import torch

from lmaseg import kernels
from lmaseg._version import __version__
from lmaseg.attention import cuda
from lmaseg.checkpoint import BUNDLED, choose_device, read_header
from lmaseg.models.precision import dtype_name, fastest_dtype, has_int8, has_tiles
from lmaseg.video.encoders import ENCODERS

NEEDED = ("torch", "av", "numpy", "pillow", "safetensors", "typer", "rich")
OPTIONAL = ("triton", "onnx", "onnxscript", "onnxruntime", "transformers")

Section = dict[str, Any]


def environment() -> dict[str, Section]:
    """All of it as text, numbers, booleans and lists, ready for JSON; None is what is not there."""
    levels = kernels.levels()
    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    names += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "versions": {
            "lmaseg": __version__,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            **{name: _version(name) for name in NEEDED},
            "ffmpeg": av.ffmpeg_version_info,
            **{name: _version(name) for name in OPTIONAL},
        },
        "system": {
            "platform": platform.platform(),
            "processor": _processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "usable cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "installed at": str(Path(__file__).parent),
        },
        "devices": {
            "auto": str(choose_device("auto")),
            **{name: _device(torch.device(name)) for name in names},
            "int8": _int8(),
        },
        "kernels": {"C": kernels.why_missing() or f"{levels[-1]} (of {', '.join(levels)})", "Triton": _triton()},
        "encoders": {
            name: encoder.name if encoder.name in av.codecs_available else None for name, encoder in ENCODERS.items()
        },
        "weights": {file.stem: _weights(file) for file in sorted(BUNDLED.parent.glob("*.safetensors"))},
    }


def _processor() -> str:
    """The processor's model name, where the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _device(device: torch.device) -> str:
    dtype = dtype_name(fastest_dtype(torch.empty(0, device=device)))
    if device.type != "cuda":
        return dtype
    told = torch.cuda.get_device_properties(device)
    return f"{told.name}, {told.total_memory / 2**30:.0f} GiB, capability {told.major}.{told.minor}, {dtype}"


def _int8() -> str:
    """Where the CPU computes in int8, and why."""
    if not has_int8(torch.device("cpu")):
        return "on the CPU where asked for: it lacks the instructions that make it fast (VNNI)"
    if has_tiles():
        return "on the CPU where asked for: it has instructions for it (VNNI), but those for bfloat16 (AMX) are as fast"
    return "on the CPU, with weights prepared by lmaseg calibrate: it has 8-bit instructions (VNNI)"


def _triton() -> str:
    if not cuda.HAS_TRITON:
        return "not installed; PyTorch's builds for CUDA bring it along"
    return "used on CUDA devices" if torch.cuda.is_available() else "installed, but there is no CUDA device"


def _weights(file: Path) -> Section:
    header = read_header(file)
    return {
        "classes": f"{header.spec.classes} ({header.labels.name})",
        "megabytes": round(file.stat().st_size / 1e6, 1),
        "licence": header.about.get("licence"),
        "path": str(file),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
