"""Who owns a half-made file or folder: its name says which process stages it, so that nobody else sweeps it away."""

import hashlib
import os
import re
import socket
import uuid
from pathlib import Path

STAGING = ".staging-"

OLD = 7 * 24 * 3600.0
"""Seconds after which something half-made counts as abandoned where nothing tells whether its owner lives: an owner on
another machine, in another container, or from before this machine was started."""


def staging_name(name: str) -> str:
    """A name for the draft of something, which nobody else uses: ``.staging-NAME-HOST-MACHINE-PID-START-UNIQUE``."""
    return f"{STAGING}{name}-{owner_name()}"


def owner_name() -> str:
    """A name for something that belongs to this process: ``HOST-MACHINE-PID-START-UNIQUE``."""
    host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]
    return f"{host}-{_machine()}-{os.getpid()}-{_start(os.getpid())}-{uuid.uuid4().hex}"


def lives(name: str) -> bool | None:
    """Whether the process lives that something with an `owner_name` belongs to; None where that cannot be seen here."""
    _, *owner = name.rsplit("-", 4)
    if len(owner) == 4 and owner[0] == _machine() and owner[1].isdecimal():
        return _lives(int(owner[1]), owner[2])
    return None


def is_abandoned(name: str, age: float) -> bool:
    """Whether nobody will finish a draft: its process has died, or it is `OLD`.

    Args:
        name: what `staging_name` returned.
        age: seconds since it was changed.
    """
    living = lives(name)
    return age > OLD if living is None else not living


def _machine() -> str:
    """An id that tells this container, and this machine since it was started, from others, whatever they are called."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:12]
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux
        return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def _lives(pid: int, start: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return _start(pid) == start


def _start(pid: int) -> str:
    """When a process started, in ticks since the machine did (its number may be reused); empty if it is dead."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else fields[18]
