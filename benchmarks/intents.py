"""Intents in plain words for the published actions, and a made-up list of actions around them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import kartra_mcp

PUBLISHED = Path(kartra_mcp.__file__).parent / "sandbox" / "membrane" / "actions.json"

_INTENTS = """
refund-transaction
  give money back to customer
  the buyer wants his payment returned
  reimburse order 5512 in full
  send half of the purchase price back
  pay someone back for a faulty product
cancel-subscription
  stop billing a client every month
  end a recurring plan for good
  customer quits, no more rebills
  terminate the yearly plan
assign-tag
  label contact as VIP
  put a marker on a client
  attach the webinar label to a contact
  tag a buyer
unassign-tag
  take the VIP label off
  untag someone
  strip a marker from a customer
  detach a label from a person
subscribe-lead-to-list
  add someone to the newsletter
  opt a contact in to our mailing list
  put buyer on the weekly mailing
  sign up a client for the newsletter
unsubscribe-lead-from-list
  remove a person from the newsletter
  opt out of mailing
  a customer doesn't want our newsletter any more
  take an address off the mailing list
subscribe-lead-to-sequence
  start the onboarding emails for a new client
  enroll contact in the drip campaign
  put a customer in the e-mail series at step 3
  add a person to an autoresponder
unsubscribe-lead-from-sequence
  stop the follow-up series for somebody
  pull a contact out of the drip campaign
  no more automated emails from the welcome series
  end an autoresponder for a client
grant-membership-access
  let a customer into the course
  unlock the members area for somebody
  give a student access to the training
revoke-membership-access
  lock someone out of the course
  take away access to the members area
  block a student from the training portal
retrieve-transactions-from-lead
  what has this customer bought
  purchase history of a person
  all orders by one client
get-transaction-details
  how much was order 991
  look at one specific sale
  details of a payment
get-lead
  look up a customer
  show the profile of a contact
  everything we know about a client
create-lead
  add a new contact
  register a new customer
  save a prospect we just met
edit-lead
  change the phone number of a contact
  correct a customer's last name
  update the profile of a client
retrieve-account-tags
  what tags exist
  show me every label
retrieve-account-lists
  which newsletters do we have
  names of our mailing lists
retrieve-account-sequences
  which email series are there
  show available autoresponders
retrieve-account-pages
  what landing pages are published
  list our websites
retrieve-account-custom-fields
  what extra attributes can a contact have
  show custom properties
refund-transaction
  refnud a transactoin
cancel-subscription
  cancle subscripton
unsubscribe-lead-from-list
  unsubscibe from newslettr
"""

_VERBS: Mapping[str, str] = {
    "get": "Retrieves one {} by its id",
    "list": "Returns a page of {}s, newest first",
    "create": "Creates a {} in the workspace",
    "update": "Updates the given values of a {}",
    "delete": "Deletes a {} for good",
    "search": "Finds {}s by a query",
    "archive": "Archives a {}",
    "add-note-to": "Adds a note to a {}",
    "assign-owner-to": "Assigns an owner to a {}",
    "remove-member-from": "Removes a member from a {}",
    "export": "Exports {}s as a file",
    "duplicate": "Makes a copy of a {}",
}
_THINGS = """
    company deal pipeline-stage ticket conversation invoice credit-note quote product variant
    warehouse stock-item order cart coupon gift-card shipment carrier supplier purchase-order
    expense budget project milestone task checklist time-entry calendar-event meeting-room webinar
    survey form-response landing-page-variant blog-article comment file folder spreadsheet-row
    document signature-request contract employee candidate job-opening interview vacation-request
    payslip device sensor alert incident deployment repository pull-request build dashboard report
    metric audience ad-campaign ad-group keyword creative video playlist podcast-episode transcript
    translation glossary channel thread reaction call voicemail phone-line text-message push-device
    webhook api-key role permission team workspace location store table reservation menu-item
    vehicle driver route delivery patient appointment prescription course-section student-grade
    classroom quiz-attempt certificate donation fundraiser volunteer membership-card loyalty-program
    reward-point affiliate commission-plan payout bank-account card dispute tax-rate currency
    subscription-addon price-list usage-record order-payment payment-link email-campaign
    contact-group customer-segment course-lesson contact customer-address user subscriber-list
"""


def load_intents() -> list[tuple[str, str]]:
    """Return every intent with the key of its action."""
    found: list[tuple[str, str]] = []
    key = ""
    for line in _INTENTS.strip().splitlines():
        if line.startswith("  "):
            found.append((line.strip(), key))
        else:
            key = line
    return found


def make_actions(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return so many actions as `action list` does: the published ones and made-up ones."""
    published: list[dict[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    keys = {action["key"] for action in published}
    others = [
        action
        for thing in _THINGS.split()
        for verb, text in _VERBS.items()
        if (action := _make_action(verb, thing, text))["key"] not in keys
    ]
    Random(seed).shuffle(others)  # noqa: S311  a made-up list, no secret
    return [*published, *others[: count - len(published)]]


def _make_action(verb: str, thing: str, text: str) -> dict[str, Any]:
    key = f"{verb}-{thing}"
    name = key.replace("-", " ").title()
    description = text.format(thing.replace("-", " ")) + "."
    return {"id": f"made-{key}", "key": key, "name": name, "description": description}
