import os
import threading
from pathlib import Path

import pytest

from decomp.platform.learners.nnunet.environment import private_folders, quiet


def test_several_threads_may_be_quiet_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    begun, ended = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            begun.set()
            ended.wait()
            print("other")  # noqa: T201

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        begun.wait()
        print("this")  # noqa: T201
    ended.set()
    thread.join()
    print("afterwards")  # noqa: T201
    assert capsys.readouterr().out == "afterwards\n"


def test_folders_and_variables_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    results, raw, workers = "nnUNet_results", "nnUNet_raw", "nnUNet_n_proc_DA"
    monkeypatch.setenv(results, "mine")
    monkeypatch.delenv(raw, raising=False)
    with private_folders(workers=3) as root:
        assert os.environ[results] == str(root / "results")
        assert os.environ[workers] == "3"
        assert (root / "raw").is_dir()
    assert os.environ[results] == "mine"
    assert raw not in os.environ
    assert not Path(root).exists()
