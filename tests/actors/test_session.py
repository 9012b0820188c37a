import os

import pytest
import ray

from decomp.actors import session
from decomp.platform.errors import UserError


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """What Ray would be started with; the home is an empty folder."""
    given = {}
    monkeypatch.setattr(ray, "init", lambda **settings: given.update(settings))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # which a start changes
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return given


def test_a_local_ray_needs_no_home_for_its_token(settings, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/none")
    session.start(None, verbose=False)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/some/token")
    session.start(None, verbose=False)
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.parametrize("address", [None, "auto"])
def test_an_existing_token_is_for_its_owner_alone(settings, address, tmp_path):
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0o644)
    session.start(address, verbose=False)
    assert file.stat().st_mode & 0o777 == 0o600


def test_sockets_lie_where_ray_would_put_them_unless_their_paths_were_too_long(settings, monkeypatch, tmp_path):
    session.start(None, verbose=False)
    assert settings["_temp_dir"] == "/tmp/ray"
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    session.start(None, verbose=False)
    assert settings["_temp_dir"] == "/var/tmp/ray"
    long = tmp_path / ("long" * 12)
    long.mkdir()
    for unsuitable in (str(long), "/proc/none", "relative"):
        monkeypatch.setenv("TMPDIR", unsuitable)
        session.start(None, verbose=False)
        assert settings["_temp_dir"] == "/tmp/ray"
    session.start("auto", verbose=False)
    assert settings["_temp_dir"] is None


def test_a_machine_without_a_folder_for_sockets_is_said(settings, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"^TMPDIR: .* at most 39 characters; .* set TMPDIR to one\.$"):
        session.start(None, verbose=False)


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup. This could happen because ..."),
        OSError("[Errno 11] Resource temporarily unavailable\n  more"),
        RuntimeError(""),
        PermissionError(13, "Permission denied", "/tmp/ray/session_1"),
    ],
)
def test_whatever_keeps_ray_from_starting_is_one_sentence(error, settings, monkeypatch):
    def fail(**_):
        raise error

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(
        UserError, match=r"^Ray cannot start on this machine \(.+\); see whether .* again; .*\.$"
    ) as said:
        session.start(None, verbose=False)
    assert "\n" not in str(said.value)
    with pytest.raises(UserError, match=r"^--address auto: the cluster cannot be joined .*auth_token here is the head"):
        session.start("auto", verbose=False)


def test_workers_of_this_machine_inherit_what_those_of_a_cluster_are_told(settings, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/some/where")
    session.start("auto", verbose=False)
    assert settings["runtime_env"]["env_vars"]["PYTHONPATH"] == f"{tmp_path}:/some/where"
    assert os.environ["PYTHONPATH"] == "/some/where"
    session.start(None, verbose=False)
    assert settings["runtime_env"] is None
    assert os.environ["PYTHONPATH"] == f"{tmp_path}:/some/where"


def test_a_local_ray_has_the_cores_of_this_process_and_a_cluster_its_own(settings, monkeypatch):
    monkeypatch.setattr(session, "usable_cores", lambda: 3)
    session.start(None, verbose=False)
    assert settings["num_cpus"] == 3
    session.start("auto", verbose=False)
    assert settings["num_cpus"] is None
