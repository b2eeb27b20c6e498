"""What libraries say of prompts reaches no log: they go through our formatter, which tells where they spoke."""

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from app.logs import configure_logging
from tests.tiny_pipelines import tiny_base, tiny_sd

SECRET = "a red zqa cup in the cellar of aunt xylophania"


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that this process prints once its log is configured as a worker's is."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(sys, "stdout", written)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging()
    yield written
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_what_pipelines_cut_off_is_not_told(output: io.StringIO) -> None:
    """The pipelines' own way of reading prompts, which no family of ours goes: they warn, and quote."""
    tiny_sd().encode_prompt(f"{'a red cup ' * 20} {SECRET}", "cpu", 1, do_classifier_free_guidance=False)
    assert "xylophania" not in output.getvalue()
    assert [line["logger"] for line in lines(output)] != []
    assert all(str(line["message"]).endswith("(withheld: it may repeat a prompt)") for line in lines(output))


def test_no_prompt_of_ours_makes_a_library_speak(output: io.StringIO) -> None:
    tiny_base().encode_prompts([f"{'a red cup ' * 20} {SECRET}"])
    assert output.getvalue() == ""


@pytest.mark.parametrize("name", ["transformers.tokenization", "diffusers", "peft.tuners", "PIL.Image"])
def test_no_library_that_sees_prompts_is_quoted(output: io.StringIO, name: str) -> None:
    for logger in (transformers_logging.get_logger(name), diffusers_logging.get_logger(name), logging.getLogger(name)):
        logger.error("could not read %s", SECRET)
        logger.info("reading %s", SECRET)
    assert "xylophania" not in output.getvalue()
    assert {line["level"] for line in lines(output)} == {"ERROR"}


def test_warnings_are_not_quoted(output: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"odd: {SECRET}", stacklevel=1)
    assert "xylophania" not in output.getvalue()
    assert [line["logger"] for line in lines(output)] == ["py.warnings"]


def test_errors_out_of_a_library_are_named_and_not_quoted(output: io.StringIO) -> None:
    log = logging.getLogger("worker.runner")
    try:
        tiny_sd()(SECRET, negative_prompt=[SECRET, SECRET], num_inference_steps=1)
    except (TypeError, ValueError) as error:
        log.exception("failed", exc_info=error)
    try:
        dict[str, str]()[SECRET]
    except KeyError as error:
        log.exception("failed", exc_info=error)
    assert "xylophania" not in output.getvalue()
    said = [line["exception"] for line in lines(output) if "exception" in line]
    assert len(said) == 2
    assert "KeyError" in str(said[1])


def test_our_own_errors_are_quoted(output: io.StringIO) -> None:
    try:
        raise RuntimeError("the device is lost")
    except RuntimeError as error:
        logging.getLogger("worker.runner").error("failed", exc_info=error)
    assert "the device is lost" in output.getvalue()


def test_it_holds_in_a_worker_process() -> None:
    """Which imports the libraries, each of which sets up printing of its own, before it sets up its log."""
    program = (
        "import worker.celery_app;"
        "from diffusers.utils import logging as d; from transformers.utils import logging as t;"
        f"[m.get_logger(n).warning({SECRET!r}) for m, n in ((d, 'diffusers.x'), (t, 'transformers.x'))]"
    )
    addresses = {"DATABASE_URL": "postgresql://localhost:1/x", "BROKER_URL": "redis://localhost:1/0"}
    addresses["S3_ENDPOINT_URL"] = "http://localhost:1"
    environment = {**os.environ, **addresses}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "xylophania" not in done.stdout + done.stderr
    assert done.stderr.count("(withheld: it may repeat a prompt)") == 2
