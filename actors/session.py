"""Start or join Ray."""

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import ray

from decomp.actors.cores import usable_cores
from decomp.platform.errors import UserError

PATIENCE = 10.0
"""Seconds within which a cluster's head must answer; Ray itself would try for minutes."""

TOKEN = "~/.ray/auth_token"
"""Where Ray keeps the secret that every process of a cluster must show."""

LONGEST_FOLDER = 39
"""Characters; a socket's path, to which Ray adds 68 more, must have fewer than 108."""


def start(address: str | None, *, verbose: bool) -> None:
    """Start a local Ray on the cores that this process may use, or join the cluster at `address`.

    The address ``auto`` is that of a cluster of this machine.

    Raises:
        UserError: if Ray cannot start, there is no cluster at the address, or it does not let us in.
    """
    _protect_token()
    worker_environment = _worker_environment()
    if address is None:
        os.environ |= worker_environment
        # The token is known to this process and its children alone, and needs no home to be kept in.
        if not os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    elif address != "auto":
        _check_reachable(address)
    try:
        ray.init(
            address=address or "local",
            # Ray itself counts the node's cores, which other jobs may share; GPUs it counts by CUDA_VISIBLE_DEVICES.
            num_cpus=None if address else usable_cores(),
            include_dashboard=None if address else False,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.ERROR,
            configure_logging=True,
            # On this machine workers inherit environment and working directory, and need not wait for Ray to make them.
            runtime_env=None
            if address is None
            else {"env_vars": worker_environment, "worker_process_setup_hook": _follow(os.getcwd())},
            _temp_dir=None if address else _socket_folder(),
        )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].split(". ")[0]
        if address is None:
            raise UserError(
                f"Ray cannot start on this machine ({reason or type(error).__name__}); see whether memory, processes "
                f"(ulimit -u) and room in {_socket_folder()} are left and it is not overloaded, then type the same "
                f"command again; --verbose shows what Ray says."
            ) from error
        raise UserError(
            f"--address {address}: the cluster cannot be joined ({reason}); check that its head is up, and that "
            f"{TOKEN} here is the head's."
        ) from error


def _protect_token() -> None:
    """The token opens the cluster to whoever reads it, and Ray makes its file readable to all."""
    with contextlib.suppress(OSError, RuntimeError):  # there is no token, perhaps not even a home
        file = Path(TOKEN).expanduser()
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)


def _socket_folder() -> str:
    """Where Ray puts its logs and sockets: as it would do itself, unless that makes a socket's path too long.

    Raises:
        UserError: if there is no such folder.
    """
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        folder = os.environ.get(variable)
        if folder and len(os.fsencode(folder)) <= LONGEST_FOLDER and _is_usable(folder):
            return os.path.join(folder, "ray")
    if not _is_usable("/tmp"):
        raise UserError(
            f"TMPDIR: Ray needs a folder for its sockets that can be written and whose path has at most "
            f"{LONGEST_FOLDER} characters; /tmp is none here, so set TMPDIR to one."
        )
    return "/tmp/ray"


def _is_usable(folder: str) -> bool:
    return os.path.isabs(folder) and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise UserError(f"--address {address}: give 'auto', or host and port of the cluster's head, e.g. HEAD:6379.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--address {address}: nobody answers there ({error}); check the address and that the head is up."
        ) from error


def _worker_environment() -> dict[str, str]:
    """Where the user's own modules are found; a worker's working directory is not the driver's."""
    paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def _follow(folder: str) -> Callable[[], None]:
    """Makes workers work where the driver does, where that folder exists, so that relative paths mean the same."""

    def enter() -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)

    return enter


def stop() -> None:
    """Leave Ray; a local Ray is shut down."""
    ray.shutdown()
