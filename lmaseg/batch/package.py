"""Which lmaseg computes: workers must run the driver's, or a source's chunks would not fit together."""

import hashlib
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lmaseg import kernels
from lmaseg._version import __version__

FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Package:
    """Identifies an installed lmaseg."""

    host: str
    path: str
    version: str
    sources: str
    """A digest of its modules."""
    kernels: bool
    """Whether its C kernels can be called."""

    def difference(self, other: "Package") -> str | None:
        """Why another one must not compute beside this one; None if it may.

        The path must be the same on the same machine only; processors may differ in the kernels' fastest instructions.
        """
        if (self.version, self.sources) != (other.version, other.sources):
            return f"it has another lmaseg, {other.version} in {other.path}, than {self.version} in {self.path}"
        if self.host == other.host and self.path != other.path:
            return f"it has the lmaseg in {other.path}, not the one in {self.path}"
        if self.kernels != other.kernels:
            without = other if self.kernels else self
            return f"the lmaseg in {without.path} on {without.host} has no C kernels and the other one has"
        return None


@cache
def own_package() -> Package:
    """The one that runs here."""
    told = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*.py")):
        told.update(f"{path.relative_to(FOLDER)}\n".encode() + path.read_bytes())
    return Package(socket.gethostname(), str(FOLDER), __version__, told.hexdigest()[:16], kernels.available())
