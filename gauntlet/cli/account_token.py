"""``gauntlet login`` and ``logout``: the token that commands show, kept in the system's keyring."""

from __future__ import annotations

import sys
from getpass import getpass

from benchmark.errors import InvalidInput
from gauntlet.cli.console import DEFAULT_SERVER, AsJson, Server, print_json


def login(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Keep the token of an account for a service; it is read from the terminal, or from a pipe.

    Make one on the page of your account, or set the variable GAUNTLET_TOKEN instead.
    """
    from gauntlet.client import Client
    from gauntlet.tokens import store_token

    token = (getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not token:
        raise InvalidInput.because(
            "token", found="nothing", expected="a token of an account", remedy="make one on the page of your account"
        )
    with Client(server, token=token) as client:
        account = client.account()
        store_token(client.base_url, token)
    if as_json:
        print_json({"server": client.base_url, "account": account.name})
    else:
        print(f"{account.name} at {client.base_url}")


def logout(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Forget the token that is kept for a service; it stays valid until it is revoked on the page of the account."""
    from gauntlet.tokens import forget_token

    forgotten = forget_token(server.rstrip("/"))
    if as_json:
        print_json({"server": server.rstrip("/"), "forgotten": forgotten})
    else:
        print("forgotten" if forgotten else "there was none")
