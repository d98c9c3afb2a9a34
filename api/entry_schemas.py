"""What the API takes and says about entries by their owners: unverified ones, edits, claims, and messages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from store.deliveries import NoticeView
from store.entry_claims import Answer, ClaimKind, ClaimView, Correction
from store.unverified import NewUnverified
from store.webhooks import WebhookView


class UnverifiedRequest(NewUnverified):
    """The numbers of one's own run of AutoAttack; a field that it does not know is an error, not ignored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Doe2026Careful",
                    "title": "Careful training of large networks",
                    "authors": "Jane Doe",
                    "paper_url": "https://example.org/paper",
                    "architecture": "WideResNet-70-16",
                    "standard_accuracy": 0.93,
                    "robust_accuracy": 0.71,
                    "how": "AutoAttack 0.1, standard, all 10,000 test images",
                    "venue": "arXiv, Mar 2026",
                    "extra_data": "synthetic",
                }
            ]
        },
    )

    def as_new(self) -> NewUnverified:
        """Return what the store takes."""
        return NewUnverified(**{name: getattr(self, name) for name in NewUnverified.model_fields})


class EntryEdit(BaseModel):
    """What is to be changed of an entry; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"venue": "ICLR 2026", "link": "https://example.org/paper"}]}
    )

    venue: str | None = None
    link: str | None = None


class ClaimRequest(BaseModel):
    """That an entry is one's own, or that it is wrong."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"kind": "claim", "message": "The README of the paper's repository names this account."}]
        },
    )

    kind: ClaimKind
    message: str
    """How a maintainer can verify it."""


class ClaimList(BaseModel):
    """Claims, the latest first."""

    claims: tuple[ClaimView, ...]


class AcceptRequest(Answer):
    """What a maintainer says to a claim that is accepted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "reply": "The erratum says so. Thank you.",
                    "remark": "an erratum corrects the number.",
                    "correction": {"robust_accuracy": 0.41, "source": "erratum of the paper, March 2026"},
                }
            ]
        },
    )

    def as_answer(self) -> Answer:
        """Return what the store takes."""
        correction = Correction(**self.correction.model_dump()) if self.correction is not None else None
        return Answer(reply=self.reply, remark=self.remark, correction=correction)


class DeclineRequest(BaseModel):
    """What a maintainer says to a claim that is declined."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reply": "The page that you name says something else."}]}
    )

    reply: str


class WebhookRequest(BaseModel):
    """An address that is to be told of what happens."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"url": "https://hooks.example.org/gauntlet"}]}
    )

    url: str


class NewWebhook(WebhookView):
    """A webhook just made, with its key."""

    secret: str = Field(description="Key of the signatures; shown this once")


class WebhookList(BaseModel):
    """The webhooks of an account, the oldest first."""

    webhooks: tuple[WebhookView, ...]


class NoticeList(BaseModel):
    """The newest messages to an account, the latest first."""

    notices: tuple[NoticeView, ...]
