"""Running as root what refuses to run as root."""

import os
import pwd
import shutil
import stat
from pathlib import Path

from app.stack.stack_errors import StackError

_USER = "nobody"
_PASS_EVERYWHERE = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")


def give_away(path: Path) -> None:
    """If we are root, make the path the unprivileged user's."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def as_owner(data: Path, binary: Path) -> tuple[str, ...]:
    """The words before a command that make it run as the owner of `data`; none if we are not root.

    If that user may not pass through the folders above the data or the binary (a checkout under /root), the process is
    given the one capability that lets it, instead of opening those folders to everyone. Changing the user makes Linux
    forget that the process wanted to be told of its parent's death, so setpriv asks again. `no_setuid_fixup` keeps the
    capability for access(2) too, by which initdb looks for its own binaries.
    """
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise StackError("postgres does not run as root, and setpriv (util-linux) is missing: use an ordinary user")
    owner = data.stat()
    user = (f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups")
    passable = _passable(data) and _passable(binary)
    capabilities = () if passable else _PASS_EVERYWHERE
    return ("setpriv", *user, *capabilities, "--pdeathsig=INT", "--")


def _passable(path: Path) -> bool:
    """By the path as it is written, and by where links lead."""
    above = {*path.absolute().parents, *path.resolve().parents}
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in above)
