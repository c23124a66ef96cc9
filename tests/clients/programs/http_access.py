"""Access to a service over HTTP for the Python SDKs: a token in a header, or a login by OAuth.

The plan's server is `{"url", "headers"}`, `{"url", "login": PERSON}` or `{"url", "agent": [CLIENT,
SECRET]}`. Of a login only the browser is ours: it follows the authorization address with the
person's name, and returns the query of the callback.
"""

import asyncio
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientMetadata
from plan import SERVER

CALLBACK = "http://127.0.0.1:3030/callback"
SECONDS = 60.0


class Memory:
    """Storage of tokens and of the registration, as each client has one."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Stay(HTTPRedirectHandler):
    """Follow no redirect."""

    def redirect_request(self, *_):
        return None


class Browser:
    """A user with a browser, who is known to the login page."""

    def __init__(self):
        self.query = {}

    async def open(self, url):
        address = f"{url}&login_hint={SERVER['login']}"
        self.query = await asyncio.to_thread(self.visit, address)

    def visit(self, address):
        try:
            build_opener(Stay).open(address)
        except HTTPError as redirect:
            found = parse_qs(urlsplit(redirect.headers["location"]).query)
            return {name: values[0] for name, values in found.items()}
        raise RuntimeError("the login page did not redirect")


def auth(make_result):
    """Return what authenticates the requests; None if a header does.

    `make_result` makes the result of a callback of its query.
    """
    if "agent" in SERVER:
        from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider

        client, secret = SERVER["agent"]
        return ClientCredentialsOAuthProvider(SERVER["url"], Memory(), client, secret)
    if "login" not in SERVER:
        return None
    browser = Browser()

    async def called_back():
        return make_result(browser.query)

    metadata = OAuthClientMetadata(
        client_name="kartra-clients",
        redirect_uris=[CALLBACK],
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(SERVER["url"], metadata, Memory(), browser.open, called_back)
