"""A Label Studio server of its own, on the loopback interface, with its files in a folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")
"""Label Studio has an environment of its own, since it wants other versions than decomp."""

TOKEN, USER, PASSWORD = "0123456789abcdef0123456789abcdef01234567", "ann@example.org", "only for tests"
PATIENCE = 300  # seconds until the server has made its database


class LabelStudioServer:
    """What a test asks of a server.

    Attributes:
        address: where it listens.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, body=None):
        """The JSON that the API answers; AssertionError with its message for an error."""
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self.read(f"/api{path}", data, method) or "null")

    def read(self, path: str, data: bytes | None = None, method: str = "GET") -> bytes:
        """What lies at a path; AssertionError with the server's message for an error."""
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from error


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[LabelStudioServer]:
    """Start a server, and end it: SQLite in `folder`, no message to anybody's server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    command = [str(PROGRAM), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=own | environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            server = LabelStudioServer(f"http://127.0.0.1:{port}")
            _wait(server, process, folder / "log")
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(server: LabelStudioServer, process: subprocess.Popen, log: Path) -> None:
    for _ in range(PATIENCE):
        if process.poll() is not None:
            break
        try:
            server.call("GET", "/version")
        except OSError:
            time.sleep(1)
        else:
            return
    raise AssertionError(f"Label Studio did not start:\n{log.read_text()[-3000:]}")
