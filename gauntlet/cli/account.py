"""``gauntlet account``: who may sign in, and what each is trusted with, straight from the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gauntlet.cli.console import EPILOG, AsJson, print_json, print_table, table_of
from gauntlet.cli.own_database import own_database

if TYPE_CHECKING:
    from store.account_rows import AccountView

app = typer.Typer(help="Who may sign in.", epilog=EPILOG, invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="What the owner of the account signs in with.")]
Base = Annotated[
    str | None,
    typer.Option(
        "--server", envvar="GAUNTLET_SERVER", help="Address of the service, for the link.", show_default="its own"
    ),
]
RoleName = Literal["submitter", "maintainer", "admin"]


@app.callback()
def front(context: typer.Context) -> None:
    """Show the help where no command is named."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list", epilog=EPILOG)
def list_them(as_json: AsJson = False) -> None:
    """Show the accounts, the oldest first."""
    from store.administration import list_accounts

    with own_database() as db:
        accounts = list_accounts(db, None)
    if as_json:
        print_json([account.model_dump(mode="json") for account in accounts])
        return
    rows = [
        (
            account.name,
            account.role.value,
            "shut out" if account.disabled else "active" if account.has_password else "invited",
            account.email,
            account.team or None,
            datetime.fromtimestamp(account.created_ms / 1000, UTC).date(),
        )
        for account in accounts
    ]
    print_table(table_of(("name", "role", "state", "e-mail", "team", "since"), rows))


@app.command("invite", epilog=EPILOG)
def invite(
    name: Name,
    role: Annotated[RoleName, typer.Option(help="What it is trusted with.")] = "submitter",
    server: Base = None,
    as_json: AsJson = False,
) -> None:
    """Make an account, and print the link by which its owner chooses a password, once, within a day."""
    from store import administration
    from store.actors import Role

    with own_database() as db:
        account, secret = administration.invite(db, None, name, Role(role))
    _tell_link(account.name, secret, server, as_json=as_json)


@app.command("link", epilog=EPILOG)
def link(name: Name, server: Base = None, as_json: AsJson = False) -> None:
    """Print a new link for an account whose owner has lost the password; the older ones end."""
    from store.account_links import new_link

    with own_database() as db:
        secret = new_link(db, None, name)
    _tell_link(name, secret, server, as_json=as_json)


@app.command("role", epilog=EPILOG)
def set_role(
    name: Name, role: Annotated[RoleName, typer.Argument(help="What it is trusted with.")], as_json: AsJson = False
) -> None:
    """Trust an account with something else; its browsers are signed out."""
    from store.actors import Role
    from store.administration import set_account

    with own_database() as db:
        account = set_account(db, None, name, role=Role(role))
    _tell(account, f"account {account.name} is trusted as {account.role.value}", as_json=as_json)


@app.command("disable", epilog=EPILOG)
def disable(name: Name, as_json: AsJson = False) -> None:
    """Shut an account out at once: its browsers and its tokens."""
    from store.administration import set_account

    with own_database() as db:
        account = set_account(db, None, name, disabled=True)
    _tell(account, f"account {account.name} is shut out", as_json=as_json)


@app.command("enable", epilog=EPILOG)
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let an account in again."""
    from store.administration import set_account

    with own_database() as db:
        account = set_account(db, None, name, disabled=False)
    _tell(account, f"account {account.name} is let in again", as_json=as_json)


def _tell(account: AccountView, words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(account.model_dump(mode="json"))
    else:
        print(words)


def _tell_link(name: str, secret: str, server: str | None, *, as_json: bool) -> None:
    address = f"{(server or _own_address()).rstrip('/')}/welcome?link={secret}"
    if as_json:
        print_json({"account": name, "link": address})
    else:
        print(f"{name} chooses a password, once, within a day: {address}")


def _own_address() -> str:
    """Return where the service listens by its settings; behind a proxy people know it by another address."""
    from gauntlet.settings import read_settings

    settings = read_settings()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"
