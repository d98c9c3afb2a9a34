"""Everything about the service that its operator may choose."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.validation import invalid_input
from benchmark.errors import InvalidInput
from benchmark.report import SandboxLevel
from worker.mail import Mailer, is_address

MEBIBYTE = 1024 * 1024
PREFIX = "GAUNTLET_"
FILE = "_FILE"
"""What follows the name of a setting where the variable names a file that holds its value."""
OF_OTHERS = frozenset(f"{PREFIX}{name}" for name in ("SERVER", "TOKEN", "CACHE", "OFFLINE", "ZOO_MIRROR"))
"""Of commands and libraries: where a service is, where data and downloads lie. No settings of the service itself."""
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d{1,3})?)$")]
"""The processor, or a CUDA device by number."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{32,512}=*")


def _require_strong(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("32 to 512 letters, digits or . _ ~ + / -, chosen at random")
    return token


Token = Annotated[SecretStr, AfterValidator(_require_strong)]
"""A secret that programs show each other."""


def _require_address(url: str | None) -> str | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        if url is not None:
            make_url(url)
    except (ArgumentError, ValueError):  # whose words may hold a part of the password
        raise ValueError("an address such as postgresql+psycopg://user:password@host/name") from None
    return url


def _require_base(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("an address such as https://gauntlet.example")
    return url.rstrip("/")


def _require_smtp(url: str | None) -> str | None:
    try:
        if url is not None:
            Mailer.at(url, "somebody@example.org")
    except ValueError:  # whose words may hold a part of the password
        raise ValueError("an address such as smtp://user:password@host:587") from None
    return url


def _require_mail_address(address: str | None) -> str | None:
    if address is not None and not is_address(address):
        raise ValueError("an address such as gauntlet@example.org")
    return address


def _in_lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """Settings of the service, read from the environment: ``GAUNTLET_`` and the setting's name in capitals.

    The docstring under a setting is its description in docs/settings.md, which a test compares.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    var_dir: Path = Path("var")
    """Directory of everything the service writes: the database, the blobs, scratch space."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 takes any free one."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names that requests may be addressed to, separated by commas; "*" allows all. Empty allows the loopback
    names while listening on a loopback address, and all otherwise."""
    database_url: Annotated[str | None, AfterValidator(_require_address)] = None
    """SQLAlchemy address of the database; by default the file gauntlet.sqlite in var_dir."""
    redis_url: Annotated[str | None, Field(pattern=r"^(redis|rediss|redis\+socket)://")] = None
    """Address of the Redis that wakes the workers of the distributed engine. Without it the service evaluates by
    itself; with it `gauntlet worker` does, on any number of machines, beside `gauntlet sweep`."""
    blobs_url: str | None = None
    """Where checkpoints, reports and examples are kept: a directory such as "file:///srv/blobs", a bucket such as
    "s3://bucket/prefix?endpoint=https://host:9000&region=name", or, for workers alone, the service's own address such
    as "https://gauntlet.example"; by default the directory blobs in var_dir."""
    blob_cache_bytes: Annotated[int, Field(gt=0)] = 10 * 1024 * MEBIBYTE
    """Size in bytes that local copies of files in a bucket or with the service may reach; they are in the directory
    blob-cache in var_dir, and the least recently used go first."""
    worker_token: Token | None = None
    """What workers show the service to read and write its files over HTTP: at least 32 letters, digits or . _ ~ + / -,
    the same on both sides, and kept secret. Without it the service offers workers no files."""
    registration: Literal["open", "closed"] = "open"
    """Whether people may make accounts for themselves: open, or closed, where administrators invite them."""
    accounts: Literal["auto", "needed", "optional"] = "auto"
    """Whether work is taken only from people with an account: needed or optional; auto needs one unless the service
    answers to the names of its own machine alone."""
    rate_limits: Literal["on", "off"] = "on"
    """Whether it is limited how often one account or network address may sign in, register, upload and submit: on or
    off. The counts are kept in redis_url where it is set, else in memory."""
    upload_bytes_per_day: Annotated[int, Field(gt=0)] = 20 * 1024 * MEBIBYTE
    """Bytes that one account, or network address of those without, may upload within any 24 hours."""
    upload_bytes_kept: Annotated[int, Field(gt=0)] = 100 * 1024 * MEBIBYTE
    """Bytes that files of one account, or network address of those without, may take up here altogether."""
    unverified_days: Annotated[int, Field(ge=1, le=3_650)] = 180
    """Days after which an unverified entry, an author's own run, is removed from its board."""
    public_url: Annotated[str | None, AfterValidator(_require_base)] = None
    """Address at which people reach the service, such as "https://gauntlet.example"; links in messages begin
    with it."""
    smtp_url: Annotated[str | None, AfterValidator(_require_smtp)] = None
    """Mail server for messages to people, such as "smtp://user:password@host:587", or "smtps://host" where it is
    encrypted from the start. Without it no e-mail is sent."""
    mail_from: Annotated[str | None, AfterValidator(_require_mail_address)] = None
    """Address that e-mail comes from; needed with smtp_url."""
    webhooks: Literal["on", "off"] = "off"
    """Whether accounts may name addresses that are told of what happens to their submissions: on or off. Only
    addresses of the open internet are called, over https."""
    approval: Literal["off", "on"] = "off"
    """Whether a maintainer must agree before a result is published: with on, what others send rests when it is
    evaluated until a maintainer approves or declines it."""
    max_checkpoint_bytes: Annotated[int, Field(gt=0)] = 512 * MEBIBYTE
    """Size in bytes above which an uploaded checkpoint is refused."""
    worker_children: Annotated[int, Field(ge=0, le=256)] = 2
    """Evaluations that the embedded worker runs at the same time; 0 starts no worker. With redis_url there is none."""
    worker_devices: Annotated[tuple[Device, ...], NoDecode, Field(min_length=1)] = ("cpu",)
    """Where the embedded worker's evaluations run, separated by commas, such as "cuda:0,cuda:1"; each new one takes the
    device with the fewest."""
    data_dir: Path | None = None
    """Folder of the data sets that do not come along, see docs/data.md; by default ~/.cache/gauntlet/data."""
    worker_datasets: Annotated[tuple[str, ...], NoDecode] = ()
    """Data sets that this machine's workers have, separated by commas; they claim only what they can run. By default
    all that are there; one that is named and is not there keeps the worker from starting."""
    worker_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of an evaluation on the processor; more than one makes small models slower."""
    sandbox_minimum: SandboxLevel = SandboxLevel.LANDLOCK
    """The weakest sandbox in which models are evaluated: "limits", "landlock" or "namespaces". The strongest that this
    machine can put up is taken; where that is weaker, nothing is evaluated. "namespaces" needs bubblewrap; "limits"
    keeps a model from nothing but too much memory and time, and is for your own models alone."""
    lease_ms: Annotated[int, Field(gt=0)] = 90_000
    """Milliseconds after which a worker that has gone silent loses its work to another."""
    beat_ms: Annotated[int, Field(gt=0)] = 15_000
    """Milliseconds between a worker's signs of life, each of which also reads whether the work is cancelled."""
    sweep_ms: Annotated[int, Field(gt=0)] = 30_000
    """Milliseconds between two searches for work that nobody holds any more."""
    evaluate_zoo: bool = True
    """Whether the models that come with the program are submitted for evaluation at the first start."""
    metrics_token: Token | None = None
    """What readers of /metrics show as a bearer token: at least 32 letters, digits or . _ ~ + / -, kept secret. Without
    it only programs on the same machine may read them."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_in_lower_case)] = "warning"
    """What is logged on stderr: debug, info, warning or error, and whatever is worse; info has a line for every
    request."""
    log_format: Literal["text", "json"] = "text"
    """How it is logged: text for people, or json, one object a line, for programs."""

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        lists = {
            name: tuple(item.strip() for item in text.split(",") if item.strip())
            for name in ("allowed_hosts", "worker_devices", "worker_datasets")
            if isinstance(text := values.get(name), str)
        }
        return values | lists

    @model_validator(mode="after")
    def _leases_outlive_beats(self) -> Self:
        if self.lease_ms < 2 * self.beat_ms:
            raise ValueError("lease_ms must be at least twice beat_ms, or a healthy worker loses its work")
        return self

    @model_validator(mode="after")
    def _mail_comes_from_somebody(self) -> Self:
        if self.smtp_url is not None and self.mail_from is None:
            raise ValueError("smtp_url needs mail_from, the address that e-mail comes from")
        return self

    @property
    def database_address(self) -> str:
        """The database's address, the default one filled in."""
        return self.database_url or f"sqlite:///{self.var_dir.absolute() / 'gauntlet.sqlite'}"

    @property
    def hosts_served(self) -> tuple[str, ...]:
        """Host names to answer to, the default filled in."""
        if self.allowed_hosts:
            return self.allowed_hosts
        return LOOPBACK if self.host in LOOPBACK else ("*",)

    @property
    def open_house(self) -> bool:
        """Whether work is taken from people without an account."""
        if self.accounts == "auto":
            return self.hosts_served == LOOPBACK
        return self.accounts == "optional"

    @property
    def secrets(self) -> frozenset[str]:
        """Every text in the settings that must never be shown: passwords of addresses and secrets of their own."""
        values = [getattr(self, name) for name in type(self).model_fields]
        found = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
        for value in values:
            if isinstance(value, str) and "://" in value:
                found |= _passwords_of(value)
        return frozenset(found)


def read_settings(**overrides: object) -> Settings:
    """Read the settings from the environment, and from the files that it names: ``GAUNTLET_…_FILE``.

    Args:
        overrides: settings given otherwise, such as on the command line; None leaves the environment's.
    Raises:
        InvalidInput: a setting has an impossible value, or the environment names one that does not exist.
    """
    _refuse_unknown(os.environ)
    given = _from_files(os.environ) | {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise invalid_input(
            [_without_secrets(problem) for problem in error.errors(include_url=False)],
            remedy="correct the option or the GAUNTLET_ variable of that name",
        ) from None


def _without_secrets(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Return a problem as it may be shown: a value may be a secret or hold one, and so may all of them together."""
    name = str(problem["loc"][0]) if problem["loc"] else None
    if name is None:
        return {**problem, "loc": ("settings",), "input": "these values together"}
    field = Settings.model_fields.get(name)
    secret = field is not None and _holds_secret(field.annotation)
    return {**problem, "input": "a value that is not shown"} if secret or name.endswith("_url") else dict(problem)


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def _from_files(environment: Mapping[str, str]) -> dict[str, object]:
    """Read the settings that are given as files, as containers get their secrets."""
    found: dict[str, object] = {}
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        path = environment.get(f"{variable}{FILE}")
        if path is None:
            continue
        if variable in environment:
            raise InvalidInput.because(
                variable, found=f"it and {variable}{FILE}", expected="one of the two", remedy="unset one of them"
            )
        try:
            found[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InvalidInput.because(
                f"{variable}{FILE}",
                found=f"{path!r}, which cannot be read ({reason})",
                expected="a file that holds the setting's value",
                remedy="correct the path or the file's permissions",
            ) from None
    return found


def _refuse_unknown(environment: Iterable[str]) -> None:
    """A mistyped name would leave its setting at the default without a word, even one that guards the service."""
    names = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known = names | {f"{name}{FILE}" for name in names} | OF_OTHERS
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            similar = get_close_matches(name, known, n=1)
            expected = similar[0] if similar else "a setting that docs/settings.md lists"
            raise InvalidInput.because(
                name, found="no setting of this name", expected=expected, remedy="correct or unset the variable"
            )


def _passwords_of(address: str) -> set[str]:
    """Return the password of an address as it is written there and as it is meant."""
    try:
        password = urlsplit(address).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
