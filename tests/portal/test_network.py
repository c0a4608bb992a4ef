"""The portal on a line that is slow or breaks: what is there stays, nothing written is lost, nothing is done twice, and it goes on by itself."""

from __future__ import annotations

from collections import Counter

import pytest
from playwright.sync_api import Request, Route, expect

from tests.portal.conftest import Server, Watched

pytestmark = pytest.mark.system


def test_a_lost_network_and_back(portal: Watched, server: Server) -> None:
    page = portal.open("/incidents/inc-7f3a9c21?tab=alerts")
    comments = server.world.incidents["inc-7f3a9c21"]["activity"]
    before = len(comments)
    rows = page.get_by_role("list", name="Alerts").get_by_role("listitem")
    rows.first.wait_for()
    shown = rows.count()
    asked: Counter[str] = Counter()
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    def goes(request: Request) -> None:
        address = request.url
        asked[address] += 1
        under_way[address] += 1
        most[address] = max(most[address], under_way[address])

    def ends(request: Request) -> None:
        under_way[request.url] -= 1

    page.on("request", goes)
    page.on("requestfinished", ends)
    page.on("requestfailed", ends)
    # The browser says of each request that it failed: that is what is asked for here.
    portal.fails = True
    page.context.set_offline(True)
    note = page.get_by_role("status").filter(has_text="No answer from the server")
    note.wait_for()
    expect(note).to_contain_text("What you see is of")
    expect(rows).to_have_count(shown)
    page.get_by_role("button", name="Comment", exact=True).click()
    dialog = page.get_by_role("dialog")
    written = dialog.get_by_role("textbox", name="Comment")
    written.fill("Half a thought")
    dialog.get_by_role("button", name="Add comment").click()
    dialog.get_by_text("No answer from the server").wait_for()
    expect(written).to_have_value("Half a thought")
    portal.accessible()
    page.keyboard.press("Escape")
    # A page whose own code can't be had now comes by itself, and without a reload.
    page.evaluate("window.stays = true")
    page.get_by_role("link", name="Analytics rules").click()
    page.get_by_label("Loading page").wait_for()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Multi-stage")
    page.context.set_offline(False)
    page.get_by_role("heading", name="Analytics rules", level=1).wait_for()
    assert page.evaluate("window.stays") is True
    expect(note).to_have_count(0)
    portal.fails = False
    page.go_back()
    rows.first.wait_for()
    # What was written is there, and goes once, however often it is pressed while the answer takes its time.
    held: list[Route] = []
    page.route("**/comments", lambda route: held.append(route))
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(written).to_have_value("Half a thought")
    send = dialog.get_by_role("button", name="Add comment")
    with page.expect_request("**/comments"):
        send.evaluate("e => { e.click(); e.click(); setTimeout(() => e.click()) }")
    expect(send).to_be_disabled()
    written.press("Control+Enter")
    assert len(held) == 1
    held[0].continue_()
    dialog.wait_for(state="detached")
    page.get_by_role("tab", name="Activity log").click()
    expect(page.get_by_text("Half a thought")).to_have_count(1)
    assert len(comments) == before + 1
    # What is asked for again and again waits for its answer first; one more where a change made an answer on its way an old one.
    assert max(most.values()) <= 2, most.most_common(3)
