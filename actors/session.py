"""Start or join Ray."""

import contextlib
import logging
import os
from collections.abc import Callable

import ray


def start(address: str | None, *, verbose: bool) -> None:
    """Start a local Ray, or join the cluster at `address` (``auto`` for the one of this machine).

    Raises:
        ConnectionError: if there is no cluster at the address.
    """
    ray.init(
        address=address or "local",
        include_dashboard=None if address else False,
        log_to_driver=verbose,
        logging_level=logging.INFO if verbose else logging.ERROR,
        configure_logging=True,
        runtime_env={"env_vars": _worker_environment(), "worker_process_setup_hook": _follow(os.getcwd())},
    )


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
