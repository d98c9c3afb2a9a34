"""What every error answer must look like."""

from __future__ import annotations

import httpx


def assert_error(response: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, str]:
    """Check status and shape of an error; return its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "detail"}
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    detail = body["error"]["detail"]
    if field is None:
        assert detail is None
        return {}
    assert set(detail) == {"field", "found", "expected", "remedy"}
    assert all(isinstance(part, str) and part for part in detail.values())
    assert detail["field"] == field
    return dict(detail)
