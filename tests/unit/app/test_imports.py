"""The front end runs where neither torch nor the worker is installed."""

import subprocess
import sys

_BLOCKED = """
import sys

class Blocker:
    blocked = {"torch", "diffusers", "transformers", "peft", "accelerate", "worker"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.blocked:
            raise ImportError(f"{name} is blocked")
        return None

sys.meta_path.insert(0, Blocker())

import app.bootstrap
from app.main import create_app
from app.settings import Settings

assert create_app(Settings()).openapi()["paths"]
"""


def test_the_front_end_imports_without_torch() -> None:
    subprocess.run([sys.executable, "-c", _BLOCKED], check=True, timeout=120)
