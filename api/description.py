"""What the description of the API says beyond its routes: where an account is needed, and where it only helps."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def tell_who_needs_no_account(app: FastAPI) -> None:
    """Say of every route that never answers 401 for want of an account that it may be asked without one."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        for operations in document["paths"].values():
            for operation in operations.values():
                needs = operation.get("security")
                if needs and "401" not in operation["responses"] and {} not in needs:
                    needs.append({})
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it
