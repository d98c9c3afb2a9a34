"""An example of an error for each status that a route may answer with."""

from __future__ import annotations

from collections.abc import Mapping

from api.errors import BodyMissing
from benchmark.errors import Conflict, GauntletError, InvalidInput, NotFound, TooLarge
from store.actors import Forbidden, SignInNeeded
from store.errors import QueueFull, RateLimited, StorageFull

ERRORS: Mapping[int, GauntletError] = {
    400: InvalidInput.because(
        "body", found="text that is not JSON", expected="JSON", remedy="correct the field and send it again"
    ),
    401: SignInNeeded.because(
        "account",
        found="nobody signed in",
        expected="somebody signed in",
        remedy="sign in, or send a token of your account",
    ),
    403: Forbidden.because(
        "account", found="jane, submitter", expected="a maintainer", remedy="ask a maintainer of this service"
    ),
    404: NotFound.because(
        "model", found="'Nobody'", expected="an entry of digits/Linf", remedy="choose one from the leaderboard"
    ),
    408: BodyMissing.because(
        "body",
        found="no byte for 90 seconds",
        expected="bytes without such pauses",
        remedy="send it again, a large file in parts",
    ),
    409: Conflict.because(
        "state", found="published", expected="a submission without a result", remedy="published allows withdrawn"
    ),
    413: TooLarge.because("body", found="70000 bytes", expected="at most 65536 bytes", remedy="send less at once"),
    422: InvalidInput.because("limit", found="0", expected="at least 1", remedy="correct the field and send it again"),
    429: RateLimited("submissions", 60),
    500: GauntletError("The service failed; the error is in its log. Try again later."),
    503: QueueFull("Too many submissions are waiting. Try again later."),
    507: StorageFull("The service has too little free disk space; nothing was stored. Try again later."),
}
