"""API keys: made here, shown once, and known afterwards only by their hash."""

import hashlib
import secrets

_PREFIX = "pal_"


def new_key() -> str:
    """A fresh key with 256 random bits; the prefix lets scanners for leaked secrets find it."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """What is stored of a key. Keys are random, so neither salt nor a slow hash adds anything."""
    return hashlib.sha256(key.encode()).hexdigest()
