"""Computes a run while files cannot grow beyond a limit, and again without it; reports what was said and what is left.

Run as a program, `python full_disk.py FOLDER`, since the limit holds for a whole process, here a fork. Prints a JSON
object: for each limit the sentence, how many cycles were committed then, and what differs in the end.
"""

import json
import resource
import shutil
import sys
from dataclasses import replace

import pyarrow.dataset  # noqa: F401  imported by pyarrow in every fork otherwise
from helpers.toy_runs import run_locally
from programs.killed_runs import SPEC, files, forked

from decomp.platform.ledger import Ledger
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

LIMITS = (0, 50, 150, 500, 1500)
"""Bytes; one kind of file after the other becomes too large."""


def main(folder):
    Ledger.of([])
    begun = replace(SPEC, cycles=2)
    forked(lambda: run_locally(folder / "begun", begun))
    forked(lambda: run_locally(folder / "undisturbed", SPEC))
    report = {}
    for limit in LIMITS:
        root = folder / f"limit-{limit}"
        shutil.copytree(folder / "begun", root)
        forked(lambda root=root, limit=limit: limited(root, limit))
        said = (root / "said").read_text()
        committed = len(RunStore(root, SPEC).committed())
        (root / "said").unlink()
        forked(lambda root=root: run_locally(root, SPEC))
        found, expected = files(root), files(folder / "undisturbed")
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        report[limit] = {"said": said, "committed": committed, "wrong": wrong}
    sys.stdout.write(json.dumps(report) + "\n")


def limited(root, limit):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    said = None
    try:
        run_locally(root, SPEC)
    except OSError as error:
        said = root.no_room(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (root / "said").write_text(str(said))


if __name__ == "__main__":
    main(FilePath(sys.argv[1]))
