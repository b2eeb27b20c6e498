"""The port of its own on which a process tells its metrics, if the settings name one."""

from prometheus_client import Info, start_http_server

from app.domain.errors import NotReadyError
from app.settings import Settings
from app.version import VERSION

_BUILD = Info("palimpsest_build", "The release that this process runs.")


def serve_metrics(settings: Settings) -> None:
    """Serve `/metrics` until the process ends.

    Raises:
        NotReadyError: another process has the port.
    """
    _BUILD.info({"version": VERSION})
    if settings.metrics_port is None:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        detail = f"PALIMPSEST_METRICS_PORT: cannot listen on {settings.metrics_host} port {settings.metrics_port}"
        raise NotReadyError(f"{detail}: {error.strerror}.") from error
