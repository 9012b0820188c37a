"""The sweep of `decomp run`: what is missing is computed on Ray, shown, told to other terminals and mirrored."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

from decomp.actors import session
from decomp.actors.coordinator import Outcome
from decomp.actors.progress import ProgressReport
from decomp.actors.scheduler import Sweep
from decomp.experiments.archives.importing import release_first_cycles
from decomp.experiments.console import CONSOLE, SweepProgress
from decomp.experiments.plan import Plan
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.status import Driver, StatusWriter
from decomp.experiments.tracking.mirror import MirrorThread
from decomp.platform.storage.runs import RunStore

NODES_PATIENCE = 60.0
"""Seconds that a cluster has, if not even one run fits, until more of its nodes have joined: a batch job starts as soon
as the head answers."""


def compute_all(
    plan: Plan,
    missing: Mapping[str, RunStore],
    mirror: MirrorThread,
    address: str | None,
    driver: Driver,
    *,
    verbose: bool,
) -> tuple[list[Outcome], tuple[RunHistory, ...]]:
    """Compute the missing runs, then read all that is committed, and compute again whatever is damaged.

    What concerns all runs is done by the driver that leads: it mirrors and mends.

    Args:
        plan: the experiment's plan.
        missing: the runs that are not finished, by label.
        mirror: is told of committed cycles.
        address: the Ray cluster, or None for this machine.
        driver: this one; others may compute some of the runs.
        verbose: whether Ray may write to the console.

    Returns:
        How the runs that failed ended, and what all runs have committed; nothing where another driver leads at the end.

    Raises:
        UserError: if runs are missing, or damaged, for which people give the labels.
    """
    led = driver.leads
    released = release_first_cycles(list(missing.values())) if led else []
    for sentence in released:
        CONSOLE.print(sentence, markup=False, highlight=False, soft_wrap=True)
    left_to_others = not led and {store.spec.key for store in missing.values()} <= driver.claims.held
    failed = [] if left_to_others or not missing else _compute(plan, missing, mirror, address, driver, verbose=verbose)
    if not driver.succeed():
        return failed, ()
    if not led:
        tried = {outcome.spec.label for outcome in failed}
        left = {label: store for label, store in missing.items() if label not in tried and not store.finished}
        if left:  # to a driver that has died
            failed += _compute(plan, left, mirror, address, driver, verbose=verbose)
    if released or not missing or not led:  # without their first cycles there was nothing to mirror
        mirror.submit(*plan.compared)
    histories = plan.histories()
    damaged = {}
    for history in histories:
        for sentence in history.forget_damaged_times():
            _warn(sentence)
        for sentence in history.set_aside_damaged():
            _warn(sentence)
            damaged[history.spec.label] = history.store
    if damaged:
        failed += _compute(plan, damaged, mirror, address, driver, verbose=verbose)
        histories = plan.histories()
    return failed, histories


def _warn(sentence: str) -> None:
    CONSOLE.print(f"warning: {sentence}", markup=False, highlight=False, soft_wrap=True)


def _compute(
    plan: Plan,
    missing: Mapping[str, RunStore],
    mirror: MirrorThread,
    address: str | None,
    driver: Driver,
    *,
    verbose: bool,
) -> list[Outcome]:
    plan.check_labelled()
    root = plan.experiment.root
    session.start(address, verbose=verbose)
    waiting = True
    cycles = {label: store.spec.cycles for label, store in missing.items()}
    with SweepProgress(cycles) as progress, closing(StatusWriter(driver.claims)) as status_writer:

        def listen(report: ProgressReport, ended: Sequence[Outcome]) -> None:
            nonlocal waiting
            progress.update(report, ended)
            with suppress(OSError):  # the storage cannot be reached for now
                sweep.stays = driver.lead()  # whoever led may have left
            at_work = any(activity.phase in ("predict", "train") for activity in report.active.values())
            if driver.leads and waiting and (at_work or report.committed or ended):
                # Only now, since importing MLflow would hold the start of the workers up.
                mirror.submit(*plan.compared)
                waiting = False
            # Runs that have ended, too: if the progress actor is lost, so is what it knew of their commits.
            told = [*report.committed, *(outcome.spec.label for outcome in ended)] if driver.leads else []
            for label in dict.fromkeys(told):
                mirror.submit(missing[label])
            failures = {outcome.spec.label: outcome.error for outcome in ended if outcome.error is not None}
            status_writer.update(report.active, failures)

        specs = [spec for spec in plan.specs if spec.label in missing]
        patience = 0.0 if address is None else NODES_PATIENCE
        sweep = Sweep(root, specs, plan.experiment.resources, patience, driver.claims)
        outcomes = sweep.run(listen)
    session.stop()
    return [outcome for outcome in outcomes if outcome.error is not None]
