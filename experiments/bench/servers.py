"""A PostgreSQL server and an MLflow server of a benchmark's own, in a folder and on this machine alone."""

import contextlib
import importlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from decomp.experiments.tracking.tracker import ui_command, ui_environment
from decomp.platform.errors import UserError

PATIENCE = 120.0
"""Seconds in which a server must answer."""

TABLES = ("runs", "metrics", "latest_metrics", "params", "tags")


def postgres_programs() -> Path:
    """Folder of PostgreSQL's server programs.

    Raises:
        UserError: if there is none, or Python cannot speak to it.
    """
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    found = [Path(on_path)] if on_path else debian[-1:]
    if not found:
        raise UserError("PostgreSQL's initdb is not on the PATH; install the server, e.g. apt-get install postgresql.")
    if importlib.util.find_spec("psycopg2") is None:
        raise UserError("psycopg2, by which MLflow reaches PostgreSQL, is not installed; pip install decomp[bench].")
    return found[0].resolve().parent


@contextlib.contextmanager
def postgres(programs: Path, folder: Path) -> Iterator[str]:
    """A fresh PostgreSQL server in a folder, reached only through a socket there; gives the URI of its database."""
    home = folder / "postgres"
    home.mkdir()
    folder.chmod(0o755)
    # PostgreSQL refuses to run as root.
    owner = _ordinary_user() if os.geteuid() == 0 else None
    if owner is not None:
        os.chown(home, owner.pw_uid, owner.pw_gid)
    user, group = (owner.pw_uid, owner.pw_gid) if owner else (None, None)

    def call(*command: str | Path) -> None:
        done = subprocess.run(command, user=user, group=group, cwd=home, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"{Path(command[0]).name} failed: {' '.join(done.stderr.split())}")

    call(programs / "initdb", "--auth=trust", "--username=decomp", "--encoding=UTF8", f"--pgdata={home / 'data'}")
    # The owner of the socket alone may connect.
    settings = {"listen_addresses": "", "unix_socket_directories": str(home), "unix_socket_permissions": "0700"}
    database = f"postgresql+psycopg2://decomp@/postgres?host={home}"
    command: list[str | Path] = [programs / "postgres", "-D", home / "data"]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "postgres.log").open("w") as log:
        server = subprocess.Popen(command, user=user, group=group, cwd=home, stdout=log, stderr=log)
    try:
        _wait_until(lambda: _connects(database), server, folder / "postgres.log")
        yield database
    finally:
        server.send_signal(signal.SIGINT)  # ends without waiting for clients
        server.wait()


@contextlib.contextmanager
def tracking_server(database: str, folder: Path) -> Iterator[str]:
    """An MLflow server on a database, its artifacts and its log below a folder; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    home = folder / "server"
    home.mkdir()
    command = ui_command(database, port)
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=home, stdout=log, stderr=log, env=ui_environment(database), start_new_session=True
        )
    try:
        _wait_until(lambda: _answers(f"{address}/health"), server, home / "log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def table_rows(database: str) -> dict[str, int]:
    """Rows of MLflow's tables."""
    return {table: int(_ask(database, f"SELECT count(*) FROM {table}")) for table in TABLES}


def database_megabytes(database: str) -> float:
    """Size of a database."""
    return _ask(database, "SELECT pg_database_size(current_database())") / 2**20


def _ask(database: str, query: str) -> float:
    sqlalchemy = importlib.import_module("sqlalchemy")
    engine = sqlalchemy.create_engine(database)
    try:
        with engine.connect() as connection:
            return float(connection.execute(sqlalchemy.text(query)).scalar_one())
    finally:
        engine.dispose()


def _connects(database: str) -> bool:
    operational = importlib.import_module("sqlalchemy.exc").OperationalError
    try:
        return _ask(database, "SELECT 1") == 1
    except operational:
        return False


def _ordinary_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise UserError("PostgreSQL refuses to run as root, and there is no user postgres or nobody; run this as another.")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait_until(ready: Callable[[], bool], server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            raise UserError(f"{Path(str(server.args[0])).name} does not answer: {log.read_text()[-500:]}")  # type: ignore[index]
        time.sleep(0.1)
