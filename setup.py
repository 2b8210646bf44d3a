"""The C kernels, a plain shared library: without a compiler the package installs all the same, only slower."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("lmaseg/kernels")
POSIX = sys.platform != "win32"


class PlainLibrary(build_ext):
    """Loaded with ctypes, so there is no module to initialise and export."""

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return list(ext.export_symbols)


setup(
    ext_modules=[
        Extension(
            "lmaseg.kernels._native",
            sources=sorted(path.as_posix() for path in SOURCES.glob("*.c")),
            depends=sorted(path.as_posix() for path in SOURCES.glob("*.h")),
            extra_compile_args=["-std=c11", "-O3", "-g0", "-fvisibility=hidden"] if POSIX else ["/std:c11", "/O2"],
            extra_link_args=["-pthread", "-lm"] if POSIX else [],
            py_limited_api=True,
            optional=True,
        )
    ],
    cmdclass={"build_ext": PlainLibrary},
)
