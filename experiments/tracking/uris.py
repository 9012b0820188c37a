"""Where MLflow's store is: how it is found, written as a URI, and shown without passwords."""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from decomp.platform.errors import UserError

SQLITE = "sqlite:///"

SECRET = re.compile(r"(?<=://)([^\s/@:]*):[^\s/]*@|\b(\w*(?:password|passwd|pwd|token|secret)=)[^\s&;]+", re.IGNORECASE)
"""A password in a URI, before its host or among its parameters."""


def tracking_uri(storage: Path) -> str:
    """``MLFLOW_TRACKING_URI`` where it is set, else the SQLite file ``mlflow.db`` in the folder of all results.

    Raises:
        UserError: if it names a plain folder, which MLflow no longer supports.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return sqlite_uri(storage.absolute() / "mlflow.db")
    folder = ("://" not in uri and uri != "databricks") or uri.startswith("file:")
    if folder and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        path = Path(unquote(re.sub("^file:(//)?", "", uri))).absolute()
        raise UserError(
            f"MLFLOW_TRACKING_URI={uri}: MLflow no longer keeps runs in plain folders; unset it, or set it to a file, "
            f"{sqlite_uri(path / 'mlflow.db')}, or to the address of a server."
        )
    return uri


def sqlite_uri(file: Path) -> str:
    """The URI of a SQLite file, whose path is decoded by those who open it."""
    return f"{SQLITE}{quote(str(file))}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store, None for any other."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0])).absolute() if uri.startswith(SQLITE) else None


def artifact_folder(uri: str) -> Path | None:
    """Where the artifacts of a SQLite store go; elsewhere the server decides."""
    file = sqlite_file(uri)
    return file.parent / "mlartifacts" if file else None


def without_passwords(text: str) -> str:
    """A URI, or a message with URIs in it, as it may be shown: messages go to the logs of CI and of batch systems."""
    return SECRET.sub(lambda match: f"{match[1]}:***@" if match[1] is not None else f"{match[2]}***", text)
