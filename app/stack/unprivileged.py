"""Running as root what refuses to run as root: as `nobody`, and with no capability at all.

That user may not pass through the folders above the data, or above the programs (a checkout under /root), and neither
is opened to everybody. The data is reached as the process's own working folder; closed programs are copied.
"""

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from app.stack.stack_errors import StackError

_USER = "nobody"
# Linux reaches it without passing through the folders above it.
_WORKING_FOLDER = "/proc/self/cwd"
_OPEN_PROGRAMS = Path("/var/lib/palimpsest-programs")


def give_away(path: Path) -> None:
    """If we are root, make the path the unprivileged user's."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def named_from_within(folder: Path) -> str:
    """How a process that runs as the folder's owner, with it as its working folder, is to call it."""
    return _WORKING_FOLDER if os.geteuid() == 0 else str(folder)


def as_owner(data: Path) -> tuple[str, ...]:
    """What to put before a command so that it runs as the owner of `data`, with no capability; nothing unless root.

    Changing the user makes Linux forget that the process wanted to be told of its parent's death: setpriv asks again.
    """
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise StackError("postgres does not run as root, and setpriv (util-linux) is missing: use an ordinary user")
    owner = data.stat()
    user = (f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups")
    return ("setpriv", *user, "--inh-caps=-all", "--no-new-privs", "--pdeathsig=INT", "--")


def open_programs(folders: tuple[Path, ...], binary: Path, version: str) -> Path:
    """Where the unprivileged user finds `binary`: where it is, or in a copy of `folders` that everybody may read.

    Args:
        folders: what the binary needs, all beside each other.
        binary: within one of them.
        version: names the copy, which is made once on a machine.
    """
    if os.geteuid() != 0 or _everybody_may_run(binary):
        return binary
    above = folders[0].parent
    copy = _OPEN_PROGRAMS / version
    if not copy.exists():
        _copy(folders, copy)
    return copy / binary.relative_to(above)


def _everybody_may_run(binary: Path) -> bool:
    """By the path as it is written, and by where links lead."""
    needed = stat.S_IROTH | stat.S_IXOTH
    above = {*binary.absolute().parents, *binary.resolve().parents}
    passable = all(parent.stat().st_mode & stat.S_IXOTH for parent in above)
    return passable and binary.stat().st_mode & needed == needed


def _copy(folders: tuple[Path, ...], copy: Path) -> None:
    # Root's own folder: nobody else can put programs there.
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o755)
    draft = Path(tempfile.mkdtemp(dir=copy.parent))
    for folder in folders:
        shutil.copytree(folder, draft / folder.name, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)
    try:
        draft.rename(copy)
    except OSError:
        shutil.rmtree(draft)  # Another process was faster.
