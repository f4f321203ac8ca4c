"""A browser as far as it takes to sign in to the admin and answer."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

from tests.install.desk import SECONDS, until


class Browser:
    """Opens pages and sends forms."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def open(self, path: str, fields: dict[str, str] | None = None) -> str:
        """A page; with fields: what sending them leads to."""
        data = None if fields is None else urllib.parse.urlencode({**fields, **self._token()}).encode()
        headers = {"Referer": self.address + path}
        request = urllib.request.Request(self.address + path, data, headers)  # noqa: S310 - the address is our own
        with self.opener.open(request, timeout=SECONDS) as response:
            text: str = response.read().decode()
            return text

    def _token(self) -> dict[str, str]:
        found = [cookie.value or "" for cookie in self.cookies if cookie.name == "csrftoken"]
        return {"csrfmiddlewaretoken": found[0]} if found else {}


def decide_in_the_admin(address: str, answer: str) -> None:
    """What the page tells to do there, as ``ann``."""
    browser = Browser(address)

    def answers() -> str:
        try:
            return browser.open("/admin/login/?next=/admin/")
        except urllib.error.URLError:
            return ""

    until(answers)
    page = browser.open("/admin/login/?next=/admin/", {"username": "ann", "password": "change-me"})
    interrupts = re.search(r'href="([^"]*)"[^>]*>Interrupts<', page)
    assert interrupts, page
    found = re.search(r'<a href="([^"]*)">approval</a>', browser.open(interrupts[1]))
    assert found
    page = browser.open(found[1])
    assert "Refund 120 for order 17?" in page
    request = re.search(r'name="request_id" value="(\w+)"', page)
    assert request
    page = browser.open(found[1], {"answer": answer, "comment": "", "request_id": request[1]})
    assert "Stored: ann decided this." in page
