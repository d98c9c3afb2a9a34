"""Multipart forms, written byte by byte, with exactly the mistakes that a test wants."""

from __future__ import annotations

from collections.abc import Sequence

BOUNDARY = "----one-boundary-of-many"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def field(name: str, value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content


def file(content: bytes, filename: str = "model.safetensors", name: str = "checkpoint") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content


def body(parts: Sequence[bytes], *, closed: bool = True) -> bytes:
    start = f"--{BOUNDARY}\r\n".encode()
    end = f"--{BOUNDARY}--\r\n".encode()
    return b"".join(start + part + b"\r\n" for part in parts) + (end if closed else b"")
