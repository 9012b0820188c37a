"""Start or join Ray."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable

import ray

from decomp.platform.errors import UserError

PATIENCE = 10.0
"""Seconds in which a cluster's head must answer; Ray itself would try for minutes."""


def start(address: str | None, *, verbose: bool) -> None:
    """Start a local Ray, or join the cluster at `address` (``auto`` for the one of this machine).

    Raises:
        UserError: if there is no cluster at the address, or it does not let us in.
    """
    if address is not None and address != "auto":
        _check_reachable(address)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.ERROR,
            configure_logging=True,
            runtime_env={"env_vars": _worker_environment(), "worker_process_setup_hook": _follow(os.getcwd())},
        )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        if address is None:
            raise
        raise UserError(
            f"--address {address}: the cluster cannot be joined ({str(error).split('. ')[0]}); check that its head is "
            f"up, and that ~/.ray/auth_token here is the head's."
        ) from error


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
    """Leave Ray; a local one ends."""
    ray.shutdown()
