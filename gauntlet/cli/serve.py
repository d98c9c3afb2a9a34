"""``gauntlet serve``: the service on this machine."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import AsJson, ExitCode, LogLevel, print_json

if TYPE_CHECKING:
    from gauntlet.settings import Settings
    from store.database import Database

SHUTDOWN_SECONDS = 5


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")
    ] = None,
    var_dir: Annotated[Path | None, typer.Option(help="Directory of all data.", show_default="./var")] = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
) -> None:
    """Run the service: pages, API and worker. Ctrl-C stops it, and the next start continues where it was.

    More settings come from the environment: see docs/settings.md.
    """
    from gauntlet import logs
    from gauntlet.settings import read_settings

    settings = read_settings(host=host, port=port, var_dir=var_dir, log_level=log_level)
    logs.configure(settings.log_level, settings.log_format, settings.secrets)
    with _listen(settings.host, settings.port) as listener:
        _run(settings, listener, as_json=as_json)


def _run(settings: Settings, listener: socket.socket, *, as_json: bool) -> None:
    import uvicorn

    from gauntlet.app import create_app

    url = _url(listener)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                link = _admin_link(app.state.services.db, url)
                if as_json:
                    print_json({"url": url} if link is None else {"url": url, "admin_link": link})
                else:
                    print(f"Gauntlet is at {url} (Ctrl-C stops it)", flush=True)
                    if link is not None:
                        print(f"Choose the administrator's password, once, within a day: {link}", flush=True)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.streams.close()  # it waits for all requests, and these would not end by themselves
            await super().shutdown(sockets)

    app = create_app(settings)
    # An error of ours that keeps the service from starting is told below in one line, not in uvicorn's many.
    logging.getLogger("uvicorn.error").addFilter(lambda _record: app.state.failure is None)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = Server(config)
    # uvicorn stops in an orderly way on either signal and then raises it again; being stopped is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    with suppress(SystemExit):  # uvicorn's own way to say that the application did not start
        server.run(sockets=[listener])
    if app.state.failure is not None:
        raise app.state.failure
    if not server.started:
        raise typer.Exit(ExitCode.FAILED)


def _admin_link(db: Database, url: str) -> str | None:
    """Return where the first administrator chooses a password; None once one has. It is printed, and never logged."""
    from store.account_links import first_link

    secret = first_link(db)
    return None if secret is None else f"{url}/welcome?link={secret}"


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else, so that a busy one is told at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise _no_such_host(host) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_such_host(host) from None
        reason = "which another program uses" if error.errno == errno.EADDRINUSE else "which may not be used"
        raise InvalidInput.because(
            "port", found=f"{port}, {reason}", expected="a free port", remedy="stop the other program or choose --port"
        ) from None
    return listener


def _no_such_host(host: str) -> InvalidInput:
    return InvalidInput.because("host", found=repr(host), expected="an address of this machine", remedy="use 127.0.0.1")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
