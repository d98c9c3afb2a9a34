"""Who asks for something, and what they may do. Every rule about that stands here, once."""

from __future__ import annotations

from enum import StrEnum

from benchmark.errors import InvalidInput, InvalidSubmission
from store.states import submission_not_found
from store.tables import EntryRow, SubmissionRow
from store.views import Badge, State, View

PUBLIC = frozenset({State.PUBLISHED, State.WITHDRAWN})
"""States in which everybody may see a submission."""


class Role(StrEnum):
    """What an account is trusted with."""

    SUBMITTER = "submitter"
    MAINTAINER = "maintainer"
    """Decides about entries, claims and the queue."""
    ADMIN = "admin"
    """Decides about accounts too."""


class Scope(StrEnum):
    """What a token lets a program do; whoever signs in with a browser may do all of it."""

    READ = "read"
    SUBMIT = "submit"
    MODERATE = "moderate"
    ACCOUNT = "account"
    """Changes the account itself: its password, address and tokens. Whoever finds a token without it can make none."""


class SignInNeeded(InvalidInput):
    """Only somebody with an account may do this, and the request shows none."""

    code = "unauthorized"


class Forbidden(InvalidInput):
    """The account, or the token, may not do this."""

    code = "forbidden"


class Actor(View):
    """Who asks.

    Args:
        account_id: their account; None where nobody is signed in.
        name: what they sign in with.
        team: whom they submit for.
        role: what they are trusted with; None where nobody is signed in.
        scopes: what the token lets them do.
        submitter: for whom their work counts where submitters share the workers.
        open_house: whether this service takes work from people without an account, as on one's own machine.
    """

    account_id: str | None = None
    name: str = ""
    team: str = ""
    role: Role | None = None
    scopes: frozenset[Scope] = frozenset(Scope)
    submitter: str = ""
    open_house: bool = False

    @property
    def may_send(self) -> bool:
        """Whether this service takes work from them."""
        return self.open_house if self.account_id is None else Scope.SUBMIT in self.scopes

    @property
    def moderates(self) -> bool:
        """Whether they may decide about what others have sent."""
        return self.role in {Role.MAINTAINER, Role.ADMIN} and Scope.MODERATE in self.scopes

    @property
    def administers(self) -> bool:
        """Whether they may decide about accounts."""
        return self.role is Role.ADMIN and Scope.MODERATE in self.scopes

    def may_see(self, submission: SubmissionRow) -> bool:
        """Tell whether they may see a submission: what is published, what nobody owns, what is theirs."""
        return submission.state in PUBLIC or self.may_read_log(submission)

    def may_read_log(self, submission: SubmissionRow) -> bool:
        """Tell whether they may read all that happened to a submission, failures of the service included."""
        return submission.owner_id is None or self.moderates or self._owns(submission, Scope.READ)

    def may_change(self, submission: SubmissionRow) -> bool:
        """Tell whether they may cancel, withdraw or edit a submission."""
        if self.moderates:
            return True
        if submission.owner_id is None:
            return self.open_house
        return self._owns(submission, Scope.SUBMIT)

    def may_submit_again(self, submission: SubmissionRow, submitter: str) -> bool:
        """Tell whether they may fill the form in from a submission: whoever sent it, and nobody else.

        Args:
            submission: what was sent.
            submitter: for whom their work counts, see `store.submitters`; without an account, of their address.
        """
        return self.may_send and bool(submitter) and submission.submitter == submitter

    def may_edit(self, entry: EntryRow) -> bool:
        """Tell whether they may edit what an entry says of its paper, or remove it where it is unverified."""
        return self.moderates or self._owns(entry, Scope.SUBMIT)

    def may_claim(self, entry: EntryRow) -> bool:
        """Tell whether they may say of an entry that it is theirs, or wrong: of those that come from publications."""
        return self.account_id is not None and Scope.SUBMIT in self.scopes and entry.badge == Badge.REPORTED

    def knows_names(self, submission: SubmissionRow) -> bool:
        """Tell whether they may know who made a submission: of an anonymous one only its owner and maintainers do."""
        return not submission.anonymous or self.moderates or self._owns(submission, Scope.READ)

    def may_reveal(self, submission: SubmissionRow) -> bool:
        """Tell whether they may say who made an anonymous submission: its owner, and no maintainer instead of them."""
        return self._owns(submission, Scope.SUBMIT)

    def _owns(self, row: SubmissionRow | EntryRow, scope: Scope) -> bool:
        return self.account_id is not None and row.owner_id == self.account_id and scope in self.scopes


ANYBODY = Actor()
"""Somebody who is not signed in."""


def require_visible(who: Actor | None, submission: SubmissionRow | None, submission_id: str) -> SubmissionRow:
    """Return a submission that somebody asks for; one that they may not see does not exist for them.

    Args:
        who: None for the service itself.
        submission: the row, if there is one.
        submission_id: what was asked for.
    Raises:
        NotFound: there is none, or it is another's.
    """
    if submission is None or (who is not None and not who.may_see(submission)):
        raise submission_not_found(submission_id)
    return submission


def require_changeable(who: Actor | None, submission: SubmissionRow | None, submission_id: str) -> SubmissionRow:
    """Return a submission that somebody wants to change.

    Raises:
        NotFound: there is none, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they may not change it.
    """
    row = require_visible(who, submission, submission_id)
    if who is not None and not who.may_change(row):
        raise refusal(who, "the owner of the submission, or a maintainer")
    return row


def require_editable(who: Actor, entry: EntryRow) -> str:
    """Return the account that wants to change an entry.

    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
    """
    account_id = require_account(who, Scope.SUBMIT if not who.moderates else Scope.MODERATE)
    if not who.may_edit(entry):
        raise refusal(who, "the owner of the entry, or a maintainer")
    return account_id


def require_revealer(who: Actor, submission: SubmissionRow | None, submission_id: str) -> SubmissionRow:
    """Return a submission whose author's names somebody wants to reveal.

    Raises:
        NotFound: there is none, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
    """
    row = require_visible(who, submission, submission_id)
    if not who.may_reveal(row):
        raise refusal(who, "the owner of the submission")
    return row


def require_account_to_hide(anonymous: bool, owner_id: str | None) -> None:
    """Refuse an anonymous submission of somebody without an account: nobody could reveal it.

    Raises:
        InvalidSubmission: it is one.
    """
    if anonymous and owner_id is None:
        raise InvalidSubmission.because(
            "anonymous", found="nobody signed in", expected="an account that can reveal the names later",
            remedy="sign in, or leave anonymous out",
        )  # fmt: skip


def needs_approval(who: Actor, required: bool) -> bool:
    """Tell whether a maintainer must agree before somebody's work is published.

    Args:
        who: who sends it.
        required: whether this service asks for that at all.
    """
    return required and not who.moderates


def require_account(who: Actor, scope: Scope = Scope.READ) -> str:
    """Return the account that asks.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: the token is for other things.
    """
    if who.account_id is None:
        raise refusal(who, "somebody with an account")
    if scope not in who.scopes:
        raise refusal(who, f"a token with the scope {scope.value}")
    return who.account_id


def require_sender(who: Actor) -> None:
    """Refuse work from those whom this service takes none from.

    Raises:
        SignInNeeded: this service takes work only from people with an account.
        Forbidden: the token is for other things.
    """
    if not who.may_send:
        require_account(who, Scope.SUBMIT)


def require_maintainer(who: Actor) -> str:
    """Return the account that asks, which must be a maintainer's.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: they are no maintainer.
    """
    return _require_trusted(who, who.moderates, "a maintainer")


def require_maintainer_or_operator(who: Actor | None) -> str | None:
    """Return the maintainer's account that asks; None for the operator, who has the database anyway.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: they are no maintainer.
    """
    return require_maintainer(who) if who is not None else None


def require_admin(who: Actor) -> str:
    """Return the account that asks, which must be an administrator's.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: they are no administrator.
    """
    return _require_trusted(who, who.administers, "an administrator")


def require_admin_or_operator(who: Actor | None) -> str | None:
    """Return the administrator's account that asks; None for the operator, who has the database anyway.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: they are no administrator.
    """
    return require_admin(who) if who is not None else None


def _require_trusted(who: Actor, trusted: bool, expected: str) -> str:
    account_id = require_account(who, Scope.MODERATE)
    if not trusted:
        raise refusal(who, expected)
    return account_id


def require_registration(allowed: bool) -> None:
    """Refuse to let people make accounts for themselves where administrators invite them.

    Raises:
        Forbidden: they do.
    """
    if not allowed:
        raise Forbidden.because(
            "registration", found="closed", expected="an invitation", remedy="ask a maintainer of this service"
        )


def refusal(who: Actor, expected: str) -> InvalidInput:
    """Return the error for somebody who may not do what they ask for."""
    if who.account_id is None:
        return SignInNeeded.because(
            "account", found="nobody signed in", expected=expected, remedy="sign in, or send a token of your account"
        )
    return Forbidden.because(
        "account", found=f"{who.name}, {who.role}", expected=expected, remedy="ask a maintainer of this service"
    )
