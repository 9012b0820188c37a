"""Start or join Ray."""

import logging
import os

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
        runtime_env={"env_vars": _worker_environment()},
    )


def _worker_environment() -> dict[str, str]:
    """Where the user's own modules are found; a worker's working directory is not the driver's."""
    paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def stop() -> None:
    """Leave Ray; a local one ends."""
    ray.shutdown()
