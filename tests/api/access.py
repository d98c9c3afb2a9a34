"""Who may do what: every route of the service, and what each kind of caller gets there.

Whoever adds a route adds a line here, and so says who may call it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from store.actors import Scope
from tests.api.callers import BAD_TOKENS, DEAD_SESSIONS, PASSWORD, Caller, Person
from tests.api.objects import BOARD, CARD, HOOK, OWN_RUN, REPORTED, Objects, Request, sha256_of
from tests.web.forms import CONTENT_TYPE, body, field, file

API = "/api/v1"
MODEL = "/models/{dataset}/{threat_model}/{model_id}"
SUBMISSION = "/submissions/{submission_id}"
BOARD_PLACE = "/leaderboards/{dataset}/{threat_model}"

Make = Callable[[Objects, Person], Request]
"""Makes what is asked for, of which that person is the owner."""
Expected = Mapping[Caller, int]
ROLES = (Caller.OTHER, Caller.OWNER, Caller.MAINTAINER, Caller.ADMIN)


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        method: of the request.
        template: of its address, as the application knows it.
        expected: the status for each kind of caller.
        make: makes what is asked for.
        note: tells it from another line of the same route.
    """

    method: str
    template: str
    expected: Expected
    make: Make
    note: str = ""

    @property
    def asks_without_identity(self) -> bool:
        """Whether nobody looks who asks, so that a bad token is as good as none."""
        return self.template.startswith(("/static", "/healthz", "/readyz", "/metrics", "/internal/"))

    def __str__(self) -> str:
        return " ".join(filter(None, (self.method, self.template, self.note)))


def statuses(
    done: int,
    *,
    nobody: int = 401,
    guest: int | None = None,
    may: Collection[Caller] = ROLES,
    others: int = 403,
    scope: Scope | None = None,
    lacking: int = 403,
    but: Mapping[Caller, int] | None = None,
) -> Expected:
    """Write the expectation for every kind of caller down.

    Args:
        done: what those get who may.
        nobody: what somebody without an account gets.
        guest: what they get where work is taken from anybody; by default the same.
        may: who may, of those who are signed in with a browser.
        others: what the others of them get.
        scope: what a token must be for; None for any token.
        lacking: what a token for other things gets.
        but: exceptions.
    """
    found = {Caller.NOBODY: nobody, Caller.GUEST: nobody if guest is None else guest}
    found |= {caller: done if caller in may else others for caller in ROLES}
    for caller in Caller:
        if caller.scope is not None:
            person = found[Caller[caller.name.partition("_")[0]]]
            found[caller] = person if scope in {None, caller.scope} else lacking
    return found | dict(but or {}) | dict.fromkeys(DEAD_SESSIONS, nobody) | dict.fromkeys(BAD_TOKENS, 401)


def everybody(status: int) -> Expected:
    """All get the same, bad tokens excepted."""
    return statuses(status, nobody=status)


def private(done: int) -> Expected:
    """For the owner and for maintainers; others are told that there is no such thing."""
    return statuses(
        done, nobody=404, may=MINE_OR_MODERATED, others=404, scope=Scope.READ, lacking=404,
        but={Caller.MAINTAINER_READ: 404, **dict.fromkeys(MODERATORS[2:], done)},
    )  # fmt: skip


def changing(done: int) -> Expected:
    """As to look at it; and a token to read is not enough to change it."""
    return {**private(done), Caller.OWNER_READ: 403}


def own(done: int, scope: Scope) -> Expected:
    """For the owner alone; others, maintainers too, are told that there is no such thing."""
    return statuses(done, may=[Caller.OWNER], others=404, scope=scope)


def revealing(done: int) -> Expected:
    """For the owner alone, about what everybody may see."""
    return statuses(done, may=[Caller.OWNER], scope=Scope.SUBMIT)


def sent_in(done: int, nobody: int = 401) -> Expected:
    """For owners, to change what everybody may see, and for maintainers."""
    return statuses(
        done, nobody=nobody, may=MINE_OR_MODERATED, scope=Scope.SUBMIT,
        but={Caller.MAINTAINER_READ: 403, **dict.fromkeys(MODERATORS[2:], done)},
    )  # fmt: skip


def deciding(done: int, nobody: int = 401) -> Expected:
    """For maintainers, about what everybody may see."""
    return statuses(done, nobody=nobody, may=MODERATORS[:2], scope=Scope.MODERATE)


def deciding_unseen(done: int) -> Expected:
    """For maintainers, about what only they and the owner may see."""
    return {**private(done), Caller.OWNER: 403, Caller.OWNER_READ: 403}


def administering(done: int, nobody: int = 401) -> Expected:
    """For administrators."""
    return statuses(done, nobody=nobody, may=[Caller.ADMIN], scope=Scope.MODERATE)


def account(done: int, scope: Scope = Scope.READ, nobody: int = 401) -> Expected:
    """For everybody with an account, about it."""
    return statuses(done, nobody=nobody, scope=scope)


MINE_OR_MODERATED = (Caller.OWNER, Caller.MAINTAINER, Caller.ADMIN)
MODERATORS = (Caller.MAINTAINER, Caller.ADMIN, Caller.MAINTAINER_MODERATE, Caller.ADMIN_MODERATE)


def sending(done: int) -> Expected:
    """For everybody with an account, and for all where work is taken from anybody."""
    return statuses(done, guest=done, scope=Scope.SUBMIT)


def nothing(_objects: Objects, _owner: Person) -> Request:
    return Request()


def board(_objects: Objects, _owner: Person) -> Request:
    return Request(BOARD)


def entry(objects: Objects, _owner: Person) -> Request:
    return Request(objects.entry)


def look(objects: Objects, _owner: Person) -> Request:
    return Request(objects.look)


def analysed(objects: Objects, _owner: Person) -> Request:
    return Request(objects.analysed)


def plot(objects: Objects, _owner: Person) -> Request:
    return Request({**objects.analysed, **objects.plot([objects.analysed["model_id"]])})


def compared(objects: Objects, _owner: Person) -> Request:
    return Request(BOARD, query={"model": objects.compared})


def compared_plot(objects: Objects, _owner: Person) -> Request:
    return Request({**BOARD, **objects.plot(objects.compared)}, query={"model": objects.compared})


def picture(objects: Objects, _owner: Person) -> Request:
    return Request(objects.picture)


def external(objects: Objects, _owner: Person) -> Request:
    return Request(objects.external)


def waiting(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.waiting(owner)})


def cancelled(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.cancelled(owner)})


def published(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.published(owner).id})


def upload(objects: Objects, _owner: Person) -> Request:
    content = objects.upload()
    return Request({"sha256": sha256_of(content)}, content=content)


def stored(objects: Objects, _owner: Person) -> Request:
    return Request({"sha256": objects.stored()})


def of_the_zoo(_objects: Objects, _owner: Person) -> Request:
    return Request({"sha256": CARD.sha256})


def new_submission(objects: Objects, _owner: Person) -> Request:
    return Request(
        json={
            **BOARD,
            "name": objects.new_name("Sent"),
            "architecture": CARD.architecture,
            "checkpoint_sha256": CARD.sha256,
            "private_checkpoint": False,  # nobody's in particular, though all of them send it
        }
    )


def submit_form(objects: Objects, _owner: Person) -> Request:
    fields = {"name": objects.new_name("Form"), "board": "digits/Linf", "architecture": CARD.architecture}
    parts = [field(name, value) for name, value in fields.items()]
    content = body([*parts, file(objects.services.blobs.read(CARD.sha256))])
    return Request(content=content, headers={"Content-Type": CONTENT_TYPE})


def examples(objects: Objects, _owner: Person) -> Request:
    sent: dict[str, object] = {"examples_sha256": objects.stored(), "points": [3, 10, 11], "attack": "by hand"}
    return Request(objects.entry, json=sent)


def examples_form(objects: Objects, _owner: Person) -> Request:
    parts = [field("points", "3,10,11"), field("attack", "by hand"), file(objects.upload(), "x.npy", "examples")]
    return Request(objects.entry, content=body(parts), headers={"Content-Type": CONTENT_TYPE})


def token(objects: Objects, owner: Person) -> Request:
    return Request({"token_id": objects.token(owner)})


def undecided(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.undecided(owner)}, json={"reason": "A copy."})


def undecided_form(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.undecided(owner)}, form={"reason": "A copy."})


def published_with_reason(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.published(owner).id}, json={"reason": "A copy."})


def published_form(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.published(owner).id}, form={"reason": "A copy."})


def waiting_with_reason(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.waiting(owner)}, json={"reason": "The disk was full."})


def waiting_form(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.waiting(owner)}, form={"reason": "The disk was full.", "priority": "3"})


def waiting_priority(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.waiting(owner)}, json={"priority": 3})


def failed(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.failed(owner)})


def held(objects: Objects, owner: Person) -> Request:
    return Request({"piece": objects.held(owner)})


def worker(objects: Objects, _owner: Person) -> Request:
    return Request({"name": objects.worker()})


def withdrawn(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.withdrawn(owner)})


def withdrawn_form(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.withdrawn(owner)}, form={})


def anonymous(objects: Objects, owner: Person) -> Request:
    return Request({"submission_id": objects.published(owner, anonymous=True).id})


def own_entry(objects: Objects, owner: Person) -> Request:
    return Request({**BOARD, "model_id": objects.published(owner).name}, json={"venue": "ICLR 2026"})


def own_entry_form(objects: Objects, owner: Person) -> Request:
    return Request({**BOARD, "model_id": objects.published(owner).name}, form={"venue": "ICLR 2026", "link": ""})


def unverified(objects: Objects, owner: Person) -> Request:
    return Request({**BOARD, "model_id": objects.unverified(owner)})


def new_unverified(objects: Objects, _owner: Person) -> Request:
    return Request(BOARD, json={**OWN_RUN, "name": objects.new_name("Own")})


def new_unverified_form(objects: Objects, _owner: Person) -> Request:
    return Request(
        BOARD, form={**{name: str(value) for name, value in OWN_RUN.items()}, "name": objects.new_name("Own")}
    )


def new_claim(_objects: Objects, _owner: Person) -> Request:
    return Request(REPORTED, json={"kind": "claim", "message": "See the repository."})


def new_claim_form(_objects: Objects, _owner: Person) -> Request:
    return Request(REPORTED, form={"kind": "claim", "message": "See the repository."})


def claim(objects: Objects, _owner: Person) -> Request:
    return Request({"claim_id": objects.claim()}, json={"reply": "Well."})


def claim_form(objects: Objects, _owner: Person) -> Request:
    return Request({"claim_id": objects.claim()}, form={"reply": "Well."})


def reported(_objects: Objects, _owner: Person) -> Request:
    return Request(REPORTED)


def webhook(objects: Objects, owner: Person) -> Request:
    return Request({"webhook_id": objects.webhook(owner)})


def another_account(objects: Objects, _owner: Person) -> Request:
    return Request({"name": objects.account()})


def with_json(json: dict[str, object]) -> Make:
    return lambda _objects, _owner: Request(json=json)


def with_form(**form: str) -> Make:
    return lambda _objects, _owner: Request(form=form)


def another_account_with(*, json: dict[str, object] | None = None, form: dict[str, str] | None = None) -> Make:
    return lambda objects, _owner: Request({"name": objects.account()}, json=json, form=form)


def registration(objects: Objects, _owner: Person) -> Request:
    return Request(json={"name": objects.new_name("new"), "password": PASSWORD})


def invitation(objects: Objects, _owner: Person) -> Request:
    return Request(json={"name": objects.new_name("invited"), "role": "submitter"})


def registration_form(objects: Objects, _owner: Person) -> Request:
    return Request(form={"name": objects.new_name("new"), "password": PASSWORD, "again": PASSWORD})


def invitation_form(objects: Objects, _owner: Person) -> Request:
    return Request(form={"name": objects.new_name("invited"), "role": "submitter"})


def sign_in_form(objects: Objects, _owner: Person) -> Request:
    return Request(form={"name": objects.somebody.name, "password": PASSWORD})


def welcome(objects: Objects, _owner: Person) -> Request:
    return Request(query={"link": objects.link()})


def welcome_form(objects: Objects, _owner: Person) -> Request:
    return Request(form={"link": objects.link(), "password": PASSWORD, "again": PASSWORD})


NEXT = "something else altogether"
PASSWORDS: dict[str, object] = {"present_password": PASSWORD, "password": NEXT}

TABLE = (
    Line("GET", "/healthz", everybody(200), nothing),
    Line("GET", "/readyz", everybody(200), nothing),
    Line("GET", "/metrics", everybody(200), nothing, "from the same machine"),
    Line("GET", "/static/{path}", everybody(200), lambda _objects, _owner: Request({"path": "style.css"})),
    Line("GET", f"{API}/openapi.json", everybody(200), nothing),
    Line("GET", f"{API}/docs", everybody(200), nothing),
    Line("GET", "/internal/v1/blobs/{sha256}", everybody(401), stored),
    Line("HEAD", "/internal/v1/blobs/{sha256}", everybody(401), stored),
    Line("PUT", "/internal/v1/blobs/{sha256}", everybody(401), upload),
    # Files and submissions.
    Line("PUT", f"{API}/uploads/{{sha256}}", sending(201), upload),
    Line("GET", f"{API}/uploads/{{sha256}}", everybody(200), stored),
    Line("GET", f"{API}/uploads/{{sha256}}/part", sending(200), stored),
    Line("POST", f"{API}/submissions", sending(201), new_submission),
    Line("GET", f"{API}/submissions", everybody(200), nothing),
    Line(
        "GET", f"{API}/submissions", account(200), lambda _objects, _owner: Request(query={"own": "true"}), "one's own"
    ),
    Line("GET", f"{API}{SUBMISSION}", private(200), waiting, "that waits"),
    Line("GET", f"{API}{SUBMISSION}", everybody(200), published, "that is published"),
    Line("GET", f"{API}{SUBMISSION}/events", private(200), cancelled, "that is not public"),
    Line("GET", f"{API}{SUBMISSION}/events", everybody(200), published, "that is published"),
    Line("GET", f"{API}{SUBMISSION}/log", private(200), waiting, "that waits"),
    Line("GET", f"{API}{SUBMISSION}/log", private(200), published, "that is published"),
    Line("POST", f"{API}{SUBMISSION}/cancel", changing(200), waiting),
    Line("DELETE", f"{API}{SUBMISSION}/checkpoint", changing(200), cancelled),
    Line("GET", "/submissions", everybody(200), nothing),
    Line("GET", SUBMISSION, private(200), waiting, "that waits"),
    Line("GET", SUBMISSION, everybody(200), published, "that is published"),
    Line("POST", f"{SUBMISSION}/cancel", changing(303), waiting),
    Line("POST", f"{SUBMISSION}/delete-checkpoint", changing(303), cancelled),
    Line("GET", "/submit", statuses(200, nobody=303, guest=200, scope=Scope.SUBMIT, lacking=303), nothing),
    Line("POST", "/submit", sending(303), submit_form),
    # Boards, entries and evaluations by others.
    Line("GET", "/", everybody(200), nothing),
    Line("GET", "/about", everybody(200), nothing),
    Line("GET", "/docs", everybody(200), nothing),
    Line("GET", "/docs/protocol", everybody(200), nothing),
    Line("GET", "/docs/formats", everybody(200), nothing),
    Line("GET", "/docs/api", everybody(200), nothing),
    Line("GET", "/docs/cite", everybody(200), nothing),
    Line("GET", "/boards/{dataset}/{threat_model}", everybody(200), board),
    Line("GET", "/boards/{dataset}/{threat_model}/progress", everybody(200), board),
    Line("GET", MODEL, everybody(200), entry),
    Line("GET", f"{MODEL}/gallery/{{version}}/{{point}}/{{image}}", everybody(200), picture),
    Line("GET", MODEL, everybody(200), analysed, "that was analysed"),
    Line("GET", f"{MODEL}/analyses/{{version}}/{{file}}", everybody(200), plot),
    Line("GET", f"{API}/leaderboards", everybody(200), nothing),
    Line("GET", f"{API}{BOARD_PLACE}", everybody(200), board),
    Line("GET", f"{API}{BOARD_PLACE}/compare", everybody(422), board, "without naming any entry"),
    Line("GET", "/compare/{dataset}/{threat_model}", everybody(200), board),
    Line("GET", "/compare/{dataset}/{threat_model}", everybody(200), compared, "of entries that were analysed"),
    Line("GET", "/compare/{dataset}/{threat_model}/analyses/{version}/{file}", everybody(200), compared_plot),
    Line("GET", f"{API}{BOARD_PLACE}/progress", everybody(200), board),
    Line("GET", f"{API}/dump", everybody(200), nothing),
    Line("GET", f"{API}{MODEL}", everybody(200), entry),
    Line("GET", f"{API}{MODEL}/report", everybody(200), entry),
    Line("GET", f"{API}{MODEL}/points", everybody(200), entry),
    Line("GET", f"{API}{MODEL}/model-info", everybody(200), entry),
    Line("GET", f"{API}{MODEL}/checkpoint", everybody(200), entry),
    Line("GET", f"{API}{MODEL}/looks/{{number}}/report", everybody(200), look),
    Line("GET", f"{API}{MODEL}/analyses", everybody(200), analysed),
    Line("POST", f"{API}{MODEL}/external-evaluations", sending(201), examples),
    Line("GET", f"{API}{MODEL}/external-evaluations", everybody(200), entry),
    Line("GET", f"{API}/external-evaluations/{{external_id}}", everybody(200), external),
    Line(
        "GET",
        f"{MODEL}/external",
        statuses(200, nobody=303, guest=200, scope=Scope.SUBMIT, lacking=303),
        entry,
    ),
    Line("POST", f"{MODEL}/external", sending(303), examples_form),
    Line("GET", "/external-evaluations/{external_id}", everybody(200), external),
    Line("GET", f"{API}/zoo/checkpoints", everybody(200), nothing),
    Line("GET", f"{API}/zoo/checkpoints/{{sha256}}", everybody(200), of_the_zoo),
    # What people say of entries, and decide about them.
    Line("PATCH", f"{API}{MODEL}", sent_in(200), own_entry),
    Line("GET", f"{MODEL}/edit", sent_in(200, nobody=303), own_entry),
    Line("POST", f"{MODEL}/edit", sent_in(303), own_entry_form),
    Line("POST", f"{API}{BOARD_PLACE}/unverified", account(201, Scope.SUBMIT), new_unverified),
    Line("DELETE", f"{API}{BOARD_PLACE}/unverified/{{model_id}}", sent_in(204), unverified),
    Line("GET", "/boards/{dataset}/{threat_model}/unverified", statuses(200, nobody=303), board),
    Line(
        "POST", "/boards/{dataset}/{threat_model}/unverified",
        statuses(303, nobody=303, scope=Scope.SUBMIT, lacking=303), new_unverified_form,
    ),
    Line("POST", f"{MODEL}/remove", sent_in(303), unverified),
    Line("POST", f"{API}{MODEL}/claims", account(201, Scope.SUBMIT), new_claim),
    Line("GET", f"{API}/claims", account(200), nothing),
    Line("POST", f"{API}/claims/{{claim_id}}/accept", deciding(200), claim),
    Line("POST", f"{API}/claims/{{claim_id}}/decline", deciding(200), claim),
    Line("GET", f"{MODEL}/claim", statuses(200, nobody=303), reported),
    Line("POST", f"{MODEL}/claim", account(303, Scope.SUBMIT), new_claim_form),
    Line("GET", "/claims", account(200, nobody=303), nothing),
    Line("POST", "/claims/{claim_id}/accept", deciding(303), claim_form),
    Line("POST", "/claims/{claim_id}/decline", deciding(303), claim_form),
    Line("GET", f"{API}{SUBMISSION}/report", private(200), undecided, "that waits for a maintainer"),
    Line("GET", f"{API}{SUBMISSION}/report", everybody(200), published, "that is published"),
    Line("POST", f"{API}{SUBMISSION}/approve", deciding_unseen(200), undecided),
    Line("POST", f"{API}{SUBMISSION}/decline", deciding_unseen(200), undecided),
    Line("POST", f"{API}{SUBMISSION}/withdraw", sent_in(200), published_with_reason),
    Line("POST", f"{API}{SUBMISSION}/restore", deciding(200), withdrawn),
    Line("POST", f"{API}{SUBMISSION}/reveal", revealing(200), anonymous),
    Line("POST", f"{API}{SUBMISSION}/re-evaluate", sent_in(200), published),
    Line("POST", f"{API}{SUBMISSION}/analyse", sent_in(200), published),
    Line("POST", f"{SUBMISSION}/analyse", sent_in(303), published_form),
    Line("POST", f"{SUBMISSION}/approve", deciding_unseen(303), undecided_form),
    Line("POST", f"{SUBMISSION}/decline", deciding_unseen(303), undecided_form),
    Line("POST", f"{SUBMISSION}/withdraw", sent_in(303), published_form),
    Line("POST", f"{SUBMISSION}/restore", deciding(303), withdrawn_form),
    Line("POST", f"{SUBMISSION}/reveal", revealing(303), anonymous),
    Line("POST", f"{SUBMISSION}/re-evaluate", sent_in(303), published_form),
    Line("GET", f"{API}/audit", deciding(200), nothing),
    Line("GET", "/audit", deciding(200, nobody=303), nothing),
    Line("GET", "/moderation", deciding(200, nobody=303), nothing),
    # How maintainers step in.
    Line("GET", f"{API}/queue", deciding(200), nothing),
    Line("POST", f"{API}/queue/pieces/{{piece}}/requeue", deciding(200), held),
    Line("POST", f"{API}/queue/workers/{{name}}/drain", deciding(204), worker),
    Line("POST", f"{API}/queue/workers/{{name}}/resume", deciding(204), worker),
    Line("POST", f"{API}{SUBMISSION}/fail", deciding_unseen(200), waiting_with_reason),
    Line("POST", f"{API}{SUBMISSION}/send-again", deciding_unseen(201), failed),
    Line("POST", f"{API}{SUBMISSION}/priority", deciding_unseen(204), waiting_priority),
    Line("GET", "/queue", deciding(200, nobody=303), nothing),
    Line("GET", "/queue/{submission_id}", deciding(200, nobody=303), waiting),
    Line("POST", "/queue/pieces/{piece}/requeue", deciding(303), held),
    Line("POST", "/queue/workers/{name}/drain", deciding(303), worker),
    Line("POST", "/queue/workers/{name}/resume", deciding(303), worker),
    Line("POST", f"{SUBMISSION}/fail", deciding_unseen(303), waiting_form),
    Line("POST", f"{SUBMISSION}/send-again", deciding_unseen(303), failed),
    Line("POST", f"{SUBMISSION}/priority", deciding_unseen(303), waiting_form),
    # One's own account.
    Line("GET", f"{API}/account", account(200), nothing),
    Line("PATCH", f"{API}/account", account(200, Scope.ACCOUNT), with_json({"team": "Whalers"})),
    Line("DELETE", f"{API}/account", account(204, Scope.ACCOUNT), with_json({"password": PASSWORD})),
    Line("POST", f"{API}/account/password", account(204, Scope.ACCOUNT), with_json(PASSWORDS)),
    Line("GET", f"{API}/account/tokens", account(200), nothing),
    Line(
        "POST", f"{API}/account/tokens", account(201, Scope.ACCOUNT),
        with_json({"name": "laptop", "scopes": ["account"]}),
    ),
    Line("DELETE", f"{API}/account/tokens/{{token_id}}", own(200, Scope.ACCOUNT), token),
    Line("GET", "/account", account(200, nobody=303), nothing),
    Line("POST", "/account", account(303, Scope.ACCOUNT), with_form(team="Whalers")),
    Line(
        "POST", "/account/password", account(303, Scope.ACCOUNT),
        with_form(present_password=PASSWORD, password=NEXT, again=NEXT),
    ),
    Line("POST", "/account/delete", account(303, Scope.ACCOUNT), with_form(deletion_password=PASSWORD)),
    Line("POST", "/account/sign-out-everywhere", account(303, Scope.ACCOUNT), nothing),
    Line("GET", "/account/tokens", account(200, nobody=303), nothing),
    Line(
        "POST", "/account/tokens", {**account(200, Scope.ACCOUNT), Caller.OWNER_ACCOUNT: 403},
        with_form(name="laptop", account="on"), "whose answer lists them all",
    ),
    Line("POST", "/account/tokens/{token_id}/revoke", own(303, Scope.ACCOUNT), token),
    Line("GET", f"{API}/account/webhooks", account(200), nothing),
    Line("POST", f"{API}/account/webhooks", account(201, Scope.SUBMIT), with_json({"url": HOOK})),
    Line("DELETE", f"{API}/account/webhooks/{{webhook_id}}", own(204, Scope.SUBMIT), webhook),
    Line("POST", f"{API}/account/webhooks/{{webhook_id}}/ping", own(202, Scope.SUBMIT), webhook),
    Line("GET", f"{API}/account/notices", account(200), nothing),
    Line("GET", "/account/webhooks", account(200, nobody=303), nothing),
    Line(
        "POST", "/account/webhooks", {**account(200, Scope.SUBMIT), Caller.OWNER_SUBMIT: 403},
        with_form(url=HOOK), "whose answer lists them all",
    ),
    Line("POST", "/account/webhooks/{webhook_id}/ping", own(303, Scope.SUBMIT), webhook),
    Line("POST", "/account/webhooks/{webhook_id}/remove", own(303, Scope.SUBMIT), webhook),
    # Who comes in.
    Line("GET", "/sign-in", statuses(303, nobody=200), nothing),
    Line("POST", "/sign-in", everybody(303), sign_in_form),
    Line("POST", "/sign-out", everybody(303), nothing),
    Line("GET", "/register", statuses(303, nobody=200), nothing),
    Line("POST", "/register", everybody(303), registration_form),
    Line("GET", "/welcome", everybody(200), welcome),
    Line("POST", "/welcome", everybody(303), welcome_form),
    Line("POST", f"{API}/accounts", everybody(201), registration, "to register"),
    # Accounts of others.
    Line("POST", f"{API}/accounts", administering(201), invitation, "to invite"),
    Line("GET", f"{API}/accounts", administering(200), nothing),
    Line("PATCH", f"{API}/accounts/{{name}}", administering(200), another_account_with(json={"role": "maintainer"})),
    Line("POST", f"{API}/accounts/{{name}}/link", administering(200), another_account),
    Line("GET", "/accounts", administering(200, nobody=303), nothing),
    Line("POST", "/accounts", administering(200), invitation_form),
    Line("POST", "/accounts/{name}/link", administering(200), another_account),
    Line("POST", "/accounts/{name}/role", administering(303), another_account_with(form={"role": "admin"})),
    Line("POST", "/accounts/{name}/disable", administering(303), another_account),
    Line("POST", "/accounts/{name}/enable", administering(303), another_account),
)  # fmt: skip
