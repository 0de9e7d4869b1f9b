"""The page for people: three files read once, served from memory, nothing from anywhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Page:
    """One file of the page."""

    body: bytes
    media_type: str

    @property
    def tag(self) -> str:
        """The ETag: what a browser's copy is compared by."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


def _read(name: str, media_type: str) -> Page:
    return Page((FOLDER / name).read_bytes(), media_type)


PAGES = {
    "/": _read("index.html", "text/html; charset=utf-8"),
    "/page/style.css": _read("style.css", "text/css; charset=utf-8"),
    "/page/app.js": _read("app.js", "text/javascript; charset=utf-8"),
    "/page/charts.js": _read("charts.js", "text/javascript; charset=utf-8"),
    "/page/effects.js": _read("effects.js", "text/javascript; charset=utf-8"),
}


async def page_response(request: Request) -> Response:
    """The file at the request's path, or 304 where the browser has it."""
    page = PAGES[request.url.path]
    headers = {
        "Content-Type": page.media_type,
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "ETag": page.tag,
    }
    if request.headers.get("if-none-match") == page.tag:
        return Response(status_code=304, headers=headers)
    return Response(page.body, headers=headers)
