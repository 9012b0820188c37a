from types import SimpleNamespace

import pytest

from decomp.actors.progress import ProgressReport
from decomp.experiments.console import SweepProgress, clear_mistakes, show
from decomp.platform.errors import StorageError, UserError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("a: b.\nc: d."), "error: a: b.\nerror: c: d.\n"),
        (UserError("a\x1b[31m/\udcff: b."), "error: a\\x1b[31m/\\udcff: b.\n"),
        (StorageError("s3://x is away."), "error: storage: s3://x is away.\n"),
        (PermissionError(13, "Permission denied", "/x/[y]"), "error: /x/[y]: Permission denied; mend that, then type "),
        (OSError(5, "Input/output error", b"/x"), "error: /x: Input/output error; mend that"),
        (
            FileNotFoundError(2, "No such file or directory"),
            "error: The folder in which you are exists no more; change",
        ),
        (OSError(28, "No space left on device"), "error: The output cannot be written: No space left on device.\n"),
    ],
)
def test_mistakes_and_files_that_cannot_be_used_are_sentences(error, sentence, capsys):
    with pytest.raises(SystemExit) as ended, clear_mistakes():
        raise error
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)


@pytest.mark.parametrize("fault", [OSError("no file's"), ValueError("x")])
def test_faults_of_the_program_stay_what_they_are(fault):
    with pytest.raises(type(fault)), clear_mistakes():
        raise fault


def test_a_run_that_ended_before_it_was_seen_took_no_time(capsys):
    with SweepProgress({"x": 1}) as progress:
        progress.update(ProgressReport(), [SimpleNamespace(spec=SimpleNamespace(label="x"), error=None)])
    assert capsys.readouterr().err == "[1/1] x: 0 s\n"


def test_a_closed_output_is_no_fault(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    show("nothing")
