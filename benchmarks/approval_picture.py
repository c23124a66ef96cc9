"""`make screenshots`: an approval as a moving picture and a still one, into docs/pictures.

Server, page, PIN and refund are real, on the rehearsal account. The chat is drawn: it shows what
the server answered, and is labelled as an illustration. The page reads the name of the approver
from the system; the picture shows the invented user instead.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

from benchmarks import accounts, browser_session, fixtures
from benchmarks.client import ROOT, Broken, Client, served

FOLDER = ROOT / "docs" / "pictures"
MOVING, STILL = FOLDER / "approval.webp", FOLDER / "approval.png"
SIZE = ViewportSize(width=960, height=700)
TOOL, SALE = "kartra_refund_transaction", {"transaction_id": 101}
CLIENT = "example-chat"
SETTINGS = {"GATE_IRREVERSIBLE": "human", "PAGE": "on", "ACTOR": fixtures.ACTOR}
ROUNDS = 3
"""The picture stops at the result, so that it does not move for ever next to a text."""
COLOURS = 128

CHAT = """\
<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 24px 36px; background: #f4f4f0; color: #1c2428 }}
body {{ font: 19px/1.4 sans-serif }}
h1 {{ margin: 0 0 16px; font-size: 16px; font-weight: normal; color: #4d5960 }}
p {{ margin: 0 0 12px; padding: 10px 16px; border-radius: 12px; width: fit-content }}
p {{ max-width: 88% }}
.user {{ margin-left: auto; background: #14555c; color: #fff }}
.tool {{ font: 17px/1.45 monospace; background: #fff; border: 1px solid #d0d4d6 }}
.tool {{ white-space: pre-line }}
.model {{ padding-left: 0 }}
</style><h1>Illustration of a chat. The framed texts are the server's own.</h1>{messages}"""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, and the seconds for which it is shown."""

    picture: bytes
    seconds: float


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with accounts.sandbox() as account, browser_session.browser() as browser:
            env = account.environment(**SETTINGS)
            fixtures.ledger_of(account.file.parent)
            with browser_session.served(env), served(env, CLIENT) as client:
                frames = list(approved(browser, client))
    except Broken as problem:
        print(f"approval picture: {problem}", file=sys.stderr)
        return 1
    write(frames)
    for file in (MOVING, STILL):
        print(f"approval picture: {file.relative_to(ROOT)}, {file.stat().st_size // 1024} KiB")
    return 0


def approved(browser: Browser, client: Client) -> Generator[Frame]:
    """Yield the frames: the chat, the card, the PIN, the approval, the result."""
    context = browser.new_context(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
    chat, page = context.new_page(), context.new_page()
    refused = client.refusal(TOOL, SALE)
    address = refused["confirmation"]["address"]
    where = f"Please approve it on this page: {address.partition('/open/')[0]}/open/…"
    asked = [
        ("user", "Refund her transaction 101."),
        ("tool", f"{_call()}\n\n{_held(refused)}"),
        ("model", where),
    ]
    yield _chat(chat, asked, 5)
    page.goto(address)
    card = page.locator("#cards article").first
    yield _shown(page, 4)
    card.locator("[name=pin]").fill(fixtures.PIN)
    yield _shown(page, 2)
    card.locator("button[value=approve]").click()
    page.get_by_role("status").first.wait_for()
    approver = page.locator("[data-unused] p.soft bdi").first
    approver.evaluate("(shown, name) => { shown.textContent = name }", fixtures.ACTOR)
    yield _shown(page, 3.5)
    receipt = client.call(TOOL, **SALE)["receipt"]
    done = [("user", "I approved it."), ("tool", f"{_call()}\n\n{_done(receipt)}")]
    yield _chat(chat, [*asked, *done], 6)
    context.close()


def _call() -> str:
    words = " ".join(f"{name}={value}" for name, value in SALE.items())
    return f"{TOOL}  {words}"


def _held(refused: dict[str, Any]) -> str:
    offered = refused["confirmation"]
    return f"{refused['message']}\n{offered['summary']}\nundo: {offered['undo']}"


def _done(receipt: dict[str, Any]) -> str:
    return f"Receipt {receipt['intent']}: {receipt['done']}; undo: {receipt['undo']}"


def _chat(page: Page, messages: list[tuple[str, str]], seconds: float) -> Frame:
    shown = "".join(f'<p class="{kind}">{escape(text)}</p>' for kind, text in messages)
    page.set_content(CHAT.format(messages=shown))
    return _shown(page, seconds)


def _shown(page: Page, seconds: float) -> Frame:
    page.wait_for_load_state("load")
    return Frame(page.screenshot(animations="disabled"), seconds)


def write(frames: list[Frame]) -> None:
    """Write the moving picture, and as the still one the card with the PIN typed in."""
    pictures = [_reduced(frame.picture) for frame in frames]
    pictures[0].convert("RGB").save(
        MOVING,
        save_all=True,
        append_images=[picture.convert("RGB") for picture in pictures[1:]],
        duration=[round(frame.seconds * 1_000) for frame in frames],
        loop=ROUNDS,
        lossless=True,
        method=6,
    )
    pictures[2].save(STILL, optimize=True)


def _reduced(picture: bytes) -> Image.Image:
    with Image.open(BytesIO(picture)) as whole:
        return whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    sys.exit(main())
