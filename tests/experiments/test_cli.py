"""The commands on the toy experiment after it was computed, and their answers to mistakes."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from helpers.commands import TOY, decomp, decomp_apart, kill, plan_of, start, store_of, wait_for
from helpers.toy_runs import results, run_locally
from typer.testing import CliRunner

from decomp.experiments.cli import app
from decomp.platform.errors import UserError
from decomp.platform.version import package_version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The toy experiment, run by the command in a folder of its own."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toy.yaml").write_text(TOY)
    return folder, decomp_apart("run", "toy.yaml", cwd=folder)


def test_a_run_ends_with_the_table_the_figure_and_the_way_to_mlflow(finished):
    folder, (status, out, err) = finished
    assert status == 0, err
    assert "area under curve" in out
    assert "annotation for 95% of full" in out
    (figure,) = [word for word in out.split() if word.endswith(".png")]
    assert (folder / figure).read_bytes().startswith(b"\x89PNG")
    assert "ui toy.yaml" in out


def test_the_console_is_quiet(finished):
    _, (_, out, err) = finished
    for noise in ("INFO", "WARNING", "Warning", "raylet", "alembic", "mlflow.", "pid=", "core_worker"):
        assert noise not in out + err


def test_without_a_terminal_each_run_that_ends_gets_a_line(finished):
    _, (_, _, err) = finished
    assert len([line for line in err.splitlines() if line.startswith("[")]) == 2 + 2 + 4


def test_the_command_computes_what_a_single_process_does(finished, tmp_path):
    folder, _ = finished
    plan = plan_of(folder)
    run_locally(tmp_path, *plan.references, *plan.runs)
    assert results(tmp_path) == results(store_of(folder))


def test_mlflow_opens_on_the_loopback_interface(finished):
    folder, _ = finished
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    heeding = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start("ui", "toy.yaml", "--port", port, cwd=folder, **heeding)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), process)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def test_the_same_command_again_computes_nothing(finished):
    folder, (_, out, _) = finished
    status, again, err = decomp("run", "toy.yaml", cwd=folder)
    assert status == 0
    assert again == out
    assert "0 of them to do" in err


def test_report_repeats_the_table_and_logs_itself_to_mlflow(finished):
    folder, (_, out, _) = finished
    before = logged(folder, "cost.csv")
    status, again, err = decomp("report", "toy.yaml", "annotation_seconds.click=3", cwd=folder)
    assert (status, err) == (0, "")
    assert again == out
    (written,) = {*logged(folder, "cost.csv")} - {*before}
    assert written == (store_of(folder) / "report" / "cost.csv").read_bytes()


def logged(folder, name):
    """Contents of the files of a name in MLflow."""
    return [file.read_bytes() for file in folder.glob(f"runs/mlartifacts/toy/*/artifacts/**/{name}")]


def test_report_compares_over_any_axis(finished):
    folder, _ = finished
    status, out, _ = decomp("report", "toy.yaml", "--axis", "clicks", cwd=folder)
    assert status == 0
    assert "clicks for 95%" in out
    (figure,) = [word for word in out.split() if word.endswith(".png")]
    assert figure.endswith("learning_curves_by_clicks.png")
    assert (folder / figure).exists()
    status, _, err = decomp("report", "toy.yaml", "--axis", "clix", cwd=folder)
    assert status == 2
    assert "did you mean 'clicks'" in err


def test_a_report_of_nothing_says_so(tmp_path):
    (tmp_path / "toy.yaml").write_text(TOY)
    status, _, err = decomp("report", "toy.yaml", cwd=tmp_path)
    assert status == 2
    assert "nothing is computed yet" in err
    status, _, err = decomp("report", "seeds=2", cwd=tmp_path)
    assert status == 2
    assert err.startswith("error: name an experiment file too")


def test_a_file_in_a_folder_with_an_equals_sign_is_no_override(toy_file):
    folder = toy_file.parent / "seed=3"
    folder.mkdir()
    file = toy_file.rename(folder / "toy.yaml")
    answer = CliRunner().invoke(app, ["report", str(file), "seeds=1"])
    assert isinstance(answer.exception, UserError)
    assert str(answer.exception).startswith(f"{file}: nothing is computed yet")


def test_several_experiments_are_reported_in_one_go(finished, tmp_path):
    folder, (_, out, _) = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    half = "extends: toy.yaml\nsamplers: [decomp]\nstorage: runs\n"
    (tmp_path / "half.yaml").write_text(half)
    status, both, err = decomp("report", "toy.yaml", "half.yaml", "seeds=2", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert both.startswith("toy.yaml:\n\n" + out.partition("MLflow:")[0])
    assert "\nhalf.yaml:\n" in both
    assert len([line for line in both.splitlines() if line.startswith("Report:")]) == 2


@pytest.mark.slow  # a minute
def test_a_killed_driver_resumes_from_a_bucket_with_identical_results(finished, tmp_path, bucket):
    folder, _ = finished
    (tmp_path / "toy.yaml").write_text(TOY)
    storage = f"storage={bucket}"
    process = start("run", "toy.yaml", storage, cwd=tmp_path, start_new_session=True)
    wait_for(lambda: sum(entry.name == "published" for entry in bucket.walk()) >= 5, process)
    _, out, _ = decomp("status", "toy.yaml", storage, cwd=tmp_path)
    assert f"driven by process {process.pid}" in out
    kill(process)
    status, out, err = decomp_apart("run", "toy.yaml", storage, cwd=tmp_path)
    assert status == 0, err
    assert out == finished[1][1].replace("ui toy.yaml", f"ui toy.yaml {storage}")
    assert results(bucket / "toy") == results(store_of(folder))
    assert (tmp_path / "runs" / "toy" / "report" / "summary.csv").exists()


def test_a_bucket_that_is_missing_is_said_before_anything_is_computed(tmp_path, bucket):
    (tmp_path / "toy.yaml").write_text(TOY)
    status, out, err = decomp("run", "toy.yaml", "storage=s3://no-such-bucket", cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: storage: s3://no-such-bucket/toy/")
    assert err.endswith("there is no such bucket; create it or name another.\n")


@pytest.mark.slow  # a minute
def test_damaged_checkpoints_are_said_and_computed_again(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    longer = "budgets=[{n_image: 2, n_region: 3, region: [4, 4], cycles: 6}]"
    plan = plan_of(tmp_path, longer)
    decomp_0, rand_0 = (
        next(s for s in plan.stores(plan.runs) if (s.spec.sampler.name, s.spec.seed) == (name, 0))
        for name in ("decomp", "rand")
    )
    first_1 = next(s for s in plan.stores(plan.firsts) if s.spec.seed == 1)
    truncated = [decomp_0.committed()[-1].checkpoint]
    flipped = [*(one.checkpoint for one in rand_0.committed()[-2:]), first_1.committed()[0].checkpoint]
    for file in truncated:
        file.write_bytes(file.read_bytes()[:-9])
    for file in flipped:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    status, _, err = decomp_apart("run", "toy.yaml", longer, cwd=tmp_path)
    assert status == 0, err
    warnings = [line for line in err.splitlines() if line.startswith("warning: ") and "set aside" in line]
    for file in (*truncated, *flipped):
        assert any(str(file.parent) in line for line in warnings)
    run_locally(tmp_path / "oracle", *plan.references, *plan.runs)
    assert results(store_of(tmp_path)) == results(tmp_path / "oracle")


@pytest.mark.slow  # a minute
def test_a_damaged_record_is_told_with_the_mend_which_mends(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    damaged = plan_of(tmp_path).stores(plan_of(tmp_path).runs)[0].committed()[-2].path / "record.json"
    damaged.write_bytes(damaged.read_bytes().replace(b"0", b"1", 1))
    status, out, err = decomp("report", "toy.yaml", cwd=tmp_path)
    assert (status, out) == (2, "")
    (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert said.startswith(f"error: {damaged} is damaged")
    assert said.endswith("'decomp run' computes its cycle again.")
    assert "Traceback" not in err
    status, _, err = decomp_apart("run", "toy.yaml", cwd=tmp_path)
    assert status == 0, err
    assert f"warning: {damaged} is damaged" in err
    assert results(store_of(tmp_path)) == results(store_of(folder))


def test_check_refuses_a_store_of_mlflow_that_a_run_could_not_write(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    told = CliRunner().invoke(app, ["check", str(folder / "toy.yaml")])
    assert told.output == ""
    assert str(told.exception).startswith("MLFLOW_TRACKING_URI=./mlruns: MLflow no longer keeps runs in plain folders")


def test_status_and_stop_name_the_folder_that_they_looked_into(finished, tmp_path):
    folder, _ = finished
    for command, end in (("status", "0 of 8 runs finished"), ("stop", "nothing to stop")):
        _, out, err = decomp(command, folder / "toy.yaml", cwd=tmp_path)
        said = " ".join((out + err).split())
        assert (
            f"{store_of(tmp_path)} (which does not exist, 'runs' seen from here; storage=FOLDER names another)" in said
        )
        assert end in said
    _, out, _ = decomp("status", "toy.yaml", cwd=folder)
    told = f"8 of 8 runs finished, 0 waiting in {store_of(folder)}; 24 of 24 cycles; nobody works on it."
    assert told in " ".join(out.split())


@pytest.mark.slow  # a minute
def test_a_failing_learner_is_shown_and_told_by_the_exit_status(tmp_path):
    (tmp_path / "toy.yaml").write_text(TOY)
    status, out, err = decomp_apart("run", "toy.yaml", "seeds=1", "learner.fail_at_cycle=3", cwd=tmp_path)
    assert status == 1
    assert "the learner has had enough" in err
    assert "failure.txt" in err
    assert "2 of 4 runs failed" in err
    assert "Traceback" not in err
    assert "Not complete" in out


def test_a_changed_key_makes_new_runs_and_is_named(finished):
    folder, _ = finished
    status, out, _ = decomp("check", "toy.yaml", "learner.jitter=0.2", cwd=folder)
    assert status == 0
    assert "learner.jitter changed from unset to 0.2: 8 run(s) start anew" in " ".join(out.split())


def test_check_prints_the_plan_and_computes_nothing(tmp_path):
    (tmp_path / "toy.yaml").write_text(TOY)
    status, out, _ = decomp("check", "toy.yaml", cwd=tmp_path)
    assert status == 0
    assert "20" in out.split("total")[1].splitlines()[0]  # 2 first cycles, 2 references, 4 x 4 further cycles
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.yaml"]


@pytest.mark.parametrize("command", ["run", "check", "report", "sync"])
def test_mistakes_end_with_a_sentence_and_status_2(command, tmp_path):
    status, out, err = decomp(command, ROOT / "experiments" / "digits.yaml", "sedes=3", cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "did you mean 'seeds'" in err
    assert "Traceback" not in err


@pytest.mark.slow  # Ray starts for it; tests/actors/test_sweep.py shows the refusal itself
def test_more_gpus_than_the_cluster_has_are_refused(finished):
    folder, _ = finished
    status, _, err = decomp_apart("run", "toy.yaml", "seeds=5", "resources.gpus=64", cwd=folder)
    assert status == 2
    assert "64 GPU each, but the cluster has" in " ".join(err.split())


def test_a_cluster_that_is_not_there_is_said_at_once(finished):
    folder, _ = finished
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        status, _, err = decomp("run", "toy.yaml", "seeds=5", "--address", address, cwd=folder)
    assert status == 2
    assert f"error: --address {address}: nobody answers there" in err
    status, _, err = decomp("run", "toy.yaml", "seeds=5", "--address", "head", cwd=folder)
    assert status == 2
    assert "error: --address head: give 'auto', or host and port of the cluster's head" in err


def test_a_cluster_that_asks_for_a_token_is_said(finished, tmp_path, monkeypatch):
    folder, _ = finished
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        status, _, err = decomp_apart("run", "toy.yaml", "seeds=5", "--address", address, cwd=folder)
    assert status == 2
    assert f"error: --address {address}: the cluster cannot be joined" in err
    assert "~/.ray/auth_token here is the head's" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["check", "status"])
def test_a_look_at_the_plan_imports_nothing_heavy(command, tmp_path):
    program = (
        "import sys; from decomp.experiments.cli import main\n"
        "try: main()\n"
        "finally: print('imported:', *{'torch', 'ray', 'mlflow', 'sklearn', 'matplotlib'} & {*sys.modules})"
    )
    file = ROOT / "experiments" / "digits.yaml"
    done = subprocess.run(
        [sys.executable, "-c", program, command, file], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].strip() == "imported:"


def test_list_names_everything_and_says_nothing_else():
    status, out, err = decomp_apart("list", cwd=ROOT)
    assert (status, err) == (0, "")  # every learner is imported, with libraries that like to warn
    for name in ("rand", "badge", "decomp", "core-set", "slic", "digits", "bracs", "unet", "hactnet"):
        assert any(name in line.split() for line in out.splitlines())


def test_list_shows_the_options_of_a_name_at_100_columns(tmp_path):
    (tmp_path / "listed.py").write_text("from helpers.toys import Centroids\n\nclass Mine(Centroids):\n    'Mine.'\n")
    status, out, err = decomp("list", "listed:Mine", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert "learner listed:Mine" in out
    assert "jitter" in out
    status, out, err = decomp("list", "nnunett", cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: There is nothing of the name 'nnunett' (did you mean 'nnunet'?)")


def test_the_version_is_printed():
    assert decomp("--version", cwd=ROOT) == (0, f"decomp {package_version()}\n", "")


def test_help_shows_every_command():
    status, out, _ = decomp("--help", cwd=ROOT)
    assert status == 0
    for name in ("run", "check", "status", "stop", "report", "sync", "ui", "convert", "list"):
        assert f" {name} " in out


BRACS = ROOT / "tests" / "data" / "bracs" / "portable"


def test_check_names_every_damaged_file_of_the_data(tmp_path):
    shutil.copytree(BRACS, tmp_path / "bracs")
    damaged = sorted((tmp_path / "bracs" / "rois").iterdir())[:2]
    damaged[0].unlink()
    damaged[1].write_bytes(damaged[1].read_bytes()[:40])
    for command in ("check", "run"):
        status, _, err = decomp(
            command,
            ROOT / "experiments" / "bracs.yaml",
            f"dataset.folder={tmp_path / 'bracs'}",
            "budgets=[{n_image: 1, n_region: 15, region: [1], cycles: 2}]",
            cwd=tmp_path,
        )
        assert status == 2
        assert "Traceback" not in err
        assert len([line for line in err.splitlines() if any(file.name in line for file in damaged)]) == 2
        assert not (tmp_path / "runs").exists()


def test_conversion_without_dgl_says_what_to_install(tmp_path):
    if importlib.util.find_spec("dgl"):
        pytest.skip("DGL is installed")
    status, _, err = decomp("convert", "bracs", BRACS.parent / "published", tmp_path / "new", cwd=tmp_path)
    assert status == 2
    assert "pip install" in err
    assert "Traceback" not in err
