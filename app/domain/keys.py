"""API keys: made here, shown once, and known afterwards only by their hash."""

import hashlib
import secrets
from enum import StrEnum

_PREFIX = "pal_"


class KeyScope(StrEnum):
    """What a key may do, each scope more than the one before: look, also change, also what only an admin may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, needed: "KeyScope") -> bool:
        """Whether a key of this scope may do what takes `needed`."""
        order = list(KeyScope)
        return order.index(self) >= order.index(needed)


def new_key() -> str:
    """A fresh key with 256 random bits; the prefix lets scanners for leaked secrets find it."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """What is stored of a key. Keys are random, so neither salt nor a slow hash adds anything."""
    return hashlib.sha256(key.encode()).hexdigest()
