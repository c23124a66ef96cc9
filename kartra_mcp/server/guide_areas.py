"""Every area of Kartra by group, and how each is reached: a table of text, read once at import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Reach(Enum):
    """How an area is reached; the value is its mark in the table."""

    TOOL = "+"
    RAW = "~"
    KARTRA = "-"


@dataclass(frozen=True, slots=True)
class Area:
    """One area; `how` is a sentence without a full stop."""

    name: str
    reach: Reach
    how: str


_TABLE = """
[People]
+ Leads = `kartra_get_lead`, `kartra_create_lead`, `kartra_edit_lead`, one by e-mail or id; never
  deleted by the API
+ Customer Records = `kartra_get_lead`, and `kartra_retrieve_transactions_from_lead` for what was
  bought
+ Subscribers = `kartra_get_lead` shows which lists one lead is on; nothing lists all of them
+ Members = `kartra_get_lead` shows the memberships of one lead; nothing lists all of them
+ Lead Tags = `kartra_get_lead` shows them; `kartra_assign_tag`, `kartra_unassign_tag`
+ Tags = `kartra_retrieve_account_tags` gives all names; they are made in Kartra
+ Custom Fields = `kartra_retrieve_account_custom_fields`; values by `kartra_edit_lead`; a new field
  by raw `create_custom_field`
- Segments = a person builds them; tags and lists are the nearest that tools reach
- List Imports = a person imports a file; `kartra_create_lead` makes one lead at a time
- Surveys = a person reads the answers; no command for them is documented
- Forms = a person builds them; what a form put into a lead's fields shows in `kartra_get_lead`
- Opportunities = a person keeps them
- Pipelines = a person keeps them and moves leads in them

[Mail and automation]
+ Email Lists = `kartra_retrieve_account_lists`, `kartra_subscribe_lead_to_list`,
  `kartra_unsubscribe_lead_from_list`
+ Sequences = `kartra_retrieve_account_sequences`, `kartra_subscribe_lead_to_sequence`,
  `kartra_unsubscribe_lead_from_sequence`; their steps are not listed
+ Communications = only by putting a lead on a list (`kartra_subscribe_lead_to_list`) or into a
  sequence (`kartra_subscribe_lead_to_sequence`)
- Broadcasts = a person writes and sends them
- Email Templates = a person writes them
- Mailboxes = a person sets them up and reads them
- Notifications = a person sets them up
- Deliverability = a person checks senders and figures
- Automations = a person builds them; a tag or a list can start one
- Rules = a person builds them; a tag or a list can start one
- Workflows = a person builds them
- Journeys = a person builds them
- Campaigns = a person keeps them

[Selling and money]
+ Transactions = `kartra_retrieve_transactions_from_lead`, then `kartra_get_transaction_details` for
  amounts and products
+ Payments = the same: `kartra_retrieve_transactions_from_lead`, `kartra_get_transaction_details`
+ Orders = as the sales of one lead: `kartra_retrieve_transactions_from_lead`,
  `kartra_get_transaction_details`
+ Refunds = `kartra_refund_transaction`; without an amount it pays back all that remains
+ Subscriptions = `kartra_cancel_subscription`; read by raw `retrieve_subscriptions_from_lead` and
  `get_subscription_details`; raw `modify_subscription_status` pauses, `edit_subscription` changes
+ Cancellations = `kartra_cancel_subscription`; past ones are rows of
  `kartra_retrieve_transactions_from_lead`
+ Chargebacks = only seen, as rows of `kartra_retrieve_transactions_from_lead`; a person marks and
  disputes them
+ Products = only seen, as name, id and price point of a sale: `kartra_get_transaction_details`
+ Affiliates = only seen, as the user name on a sale: `kartra_get_transaction_details`; a person
  manages them
- Commissions = a person sets, reads and pays them
- Partners = a person sets them up
- Vendors = a person sets them up
- Checkouts = a person builds them
- Coupons = a person makes and ends them
- Offers = a person builds them
- Upsells = a person builds them
- Variants = a person keeps them with the product
- Trials = a person sets them in the product's price
- Shipping Profiles = a person sets them up
- Gateways = a person connects the payment processors
- Invoices = a person finds and sends them; the sale itself is in `kartra_get_transaction_details`
- Contracts = a person keeps them
- Billing = a person looks after the account's own plan; what customers pay is under Payments

[Memberships and learning]
+ Membership Levels = given by name to `kartra_grant_membership_access` and
  `kartra_revoke_membership_access`; there is no list of them
+ Membership Tiers = the same as levels: `kartra_grant_membership_access`,
  `kartra_revoke_membership_access`
+ Enrollments = only as access to a membership: `kartra_grant_membership_access`,
  `kartra_revoke_membership_access`
+ Courses = only access, where a membership holds the course: `kartra_grant_membership_access`; a
  person makes the content
- Portals = a person builds them
- Training = a person makes it
- Webinars = a person plans and holds them

[Pages and content]
+ Pages = `kartra_retrieve_account_pages` lists them; a person builds them
+ Landing Pages = among all pages in `kartra_retrieve_account_pages`; a person builds them
+ Sales Pages = among all pages in `kartra_retrieve_account_pages`; a person builds them
+ Thank You Pages = among all pages in `kartra_retrieve_account_pages`; a person builds them
- Funnels = a person builds them
- Split Tests = a person sets them up and reads them
- Videos = a person uploads and places them
- Images = a person uploads them
- Media = a person uploads them
- Files = a person uploads them
- Downloads = a person uploads them
- Assets = a person uploads them
- Hosting = a person sets it up
- Blog Posts = a person writes them
- Comments = a person reads and answers them
- Testimonials = a person collects and places them
- Ratings = a person reads them
- Feedback = a person reads it
- Shares = a person looks them up

[Calendars]
~ Calendars = `calendar_subscribe` and `calendar_cancel` by the names of calendar and class; they
  are not listed
~ Appointments = `calendar_subscribe` books a lead into a class, `calendar_cancel` ends the booking
~ Registrations = for a class of a calendar `calendar_subscribe`; every other kind in Kartra
- Sessions = a person plans them; a booking goes by Appointments

[Support]
- Helpdesks = a person sets them up
- Helpdesk Articles = a person writes them
- Helpdesk Categories = a person sets them up
- Knowledge Bases = a person writes them
- Support Tickets = a person reads and answers them
- Kartra Support = a person writes to Kartra, or reads https://help.kartra.com/

[The account]
~ API = any documented command, such as `get_subscription_details`; Membrane adds the keys
- Webhooks = a person sets the addresses of the outbound API
- Integrations = a person connects them; Kartra's API key stands there too
- Settings = a person changes them
- Agency = a person manages client accounts
- Teams = a person manages them
- User Roles = a person gives and takes them
- User Groups = a person manages them
- Tasks = a person keeps them

[Numbers]
- Dashboards = a person reads them
- Reports = a person reads them
- Statistics = a person reads them
- Metrics = a person reads them
- Key Performance Indicators (KPIs) = a person reads them
- Revenue = a person reads the totals; single amounts are in `kartra_get_transaction_details`
- Projections = a person reads them
- Goals = a person sets and reads them
- Conversions = a person reads them
- Impressions = a person reads them
- Views = a person reads them
- Visits = a person reads them
- Exits = a person reads them
- Tracking Links = a person makes and reads them
- Logs = a person reads them
- Event Logs = a person reads them
"""

_ROW = re.compile(r"(?P<mark>[+~-]) (?P<name>[^=]+) = (?P<how>.+)")


def _read(table: str) -> Mapping[str, tuple[Area, ...]]:
    groups: dict[str, tuple[Area, ...]] = {}
    group = ""
    for line in table.replace("\n  ", " ").split("\n"):
        if line.startswith("["):
            group = line.strip("[]")
        elif row := _ROW.fullmatch(line):
            area = Area(row["name"], Reach(row["mark"]), row["how"])
            groups[group] = (*groups.get(group, ()), area)
    return groups


AREAS: Mapping[str, tuple[Area, ...]] = _read(_TABLE)
"""Every group → its areas, in the order of the guide."""
