"""One writer of the report and of MLflow per experiment, however many drivers compute its runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from decomp.platform.errors import UserError
from decomp.platform.storage.claims import EXPIRE, drivers
from decomp.platform.storage.location import Location, Locked

LOCK = ".lock"


@contextmanager
def sole_driver(root: Location) -> Iterator[None]:
    """Hold the experiment's lock while it has no drivers; whoever holds it loses it however its process ends.

    Raises:
        UserError: if another process holds it.
        StorageError: if the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context((root / LOCK).lock())
        except Locked as error:
            holder = f" ({error.holder})" if error.holder else ""
            expiry = f" If it was killed, try again in {error.expiry:.0f} seconds." if error.expiry else ""
            raise UserError(
                f"{root}: another decomp process works on this experiment{holder}; wait for it or end it with "
                f"'decomp stop'.{expiry}"
            ) from None
        if told := list(drivers(root).values()):
            raise UserError(
                f"{root}: another decomp process works on this experiment (process {told[0].get('pid')} on "
                f"{told[0].get('host')}); wait for it or end it with 'decomp stop'. If it was killed, try again in "
                f"{EXPIRE:.0f} seconds."
            )
        yield


def is_driven(root: Location) -> bool:
    """Whether a process holds the experiment's lock, or drives it on a machine that keeps its locks to itself."""
    return (root / LOCK).is_locked() or bool(drivers(root))
