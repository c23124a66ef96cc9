"""Table of Kartra's areas by group, and the access to each: text, parsed once at import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Reach(Enum):
    """Access to an area; the value is its mark in the table.

    COMMAND: by the tool of a command, or by a raw request where that is not served.
    """

    TOOL = "+"
    COMMAND = "~"
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
  by `kartra_create_custom_field`
- Segments = the user builds them; tags and lists are the nearest that tools reach
+ List Imports = `kartra_bulk_run` with `kartra_create_lead`, its items from a CSV file or a result;
  Kartra's own import is done by the user
- Surveys = the user reads the answers; no command for them is documented
- Forms = the user builds them; what a form put into a lead's fields shows in `kartra_get_lead`
- Opportunities = the user keeps them
- Pipelines = the user keeps them and moves leads in them

[Mail and automation]
+ Email Lists = `kartra_retrieve_account_lists`, `kartra_subscribe_lead_to_list`,
  `kartra_unsubscribe_lead_from_list`
+ Sequences = `kartra_retrieve_account_sequences`, `kartra_subscribe_lead_to_sequence`,
  `kartra_unsubscribe_lead_from_sequence`; their steps are not listed
+ Communications = only by putting a lead on a list (`kartra_subscribe_lead_to_list`) or into a
  sequence (`kartra_subscribe_lead_to_sequence`)
- Broadcasts = the user writes and sends them
- Email Templates = the user writes them
- Mailboxes = the user sets them up and reads them
- Notifications = the user sets them up
- Deliverability = the user checks senders and figures
- Automations = the user builds them; a tag or a list can start one
- Rules = the user builds them; a tag or a list can start one
- Workflows = the user builds them
- Journeys = the user builds them
- Campaigns = the user keeps them

[Selling and money]
+ Transactions = `kartra_retrieve_transactions_from_lead`, then `kartra_get_transaction_details` for
  amounts and products
+ Payments = the same: `kartra_retrieve_transactions_from_lead`, `kartra_get_transaction_details`
+ Orders = as the sales of one lead: `kartra_retrieve_transactions_from_lead`,
  `kartra_get_transaction_details`
+ Refunds = `kartra_refund_transaction`; without an amount it pays back all that remains
+ Subscriptions = `kartra_cancel_subscription`; read by `kartra_retrieve_subscriptions_from_lead`
  and `kartra_get_subscription_details`; `kartra_modify_subscription_status` pauses,
  `kartra_edit_subscription` changes
+ Cancellations = `kartra_cancel_subscription`; past ones are rows of
  `kartra_retrieve_transactions_from_lead`
+ Chargebacks = only seen, as rows of `kartra_retrieve_transactions_from_lead`; the user marks and
  disputes them
+ Products = only seen, as name, id and price point of a sale: `kartra_get_transaction_details`
+ Affiliates = only seen, as the user name on a sale: `kartra_get_transaction_details`; the user
  manages them
- Commissions = the user sets, reads and pays them
- Partners = the user sets them up
- Vendors = the user sets them up
- Checkouts = the user builds them
- Coupons = the user makes and ends them
- Offers = the user builds them
- Upsells = the user builds them
- Variants = the user keeps them with the product
- Trials = the user sets them in the product's price
- Shipping Profiles = the user sets them up
- Gateways = the user connects the payment processors
- Invoices = the user finds and sends them; the sale itself is in `kartra_get_transaction_details`
- Contracts = the user keeps them
- Billing = the user looks after the account's own plan; what customers pay is under Payments

[Memberships and learning]
+ Membership Levels = given by name to `kartra_grant_membership_access` and
  `kartra_revoke_membership_access`; there is no list of them
+ Membership Tiers = the same as levels: `kartra_grant_membership_access`,
  `kartra_revoke_membership_access`
+ Enrollments = only as access to a membership: `kartra_grant_membership_access`,
  `kartra_revoke_membership_access`
+ Courses = only access, where a membership holds the course: `kartra_grant_membership_access`; the
  user makes the content
- Portals = the user builds them
- Training = the user makes it
- Webinars = the user plans and holds them

[Pages and content]
+ Pages = `kartra_retrieve_account_pages` lists them; the user builds them
+ Landing Pages = among all pages in `kartra_retrieve_account_pages`; the user builds them
+ Sales Pages = among all pages in `kartra_retrieve_account_pages`; the user builds them
+ Thank You Pages = among all pages in `kartra_retrieve_account_pages`; the user builds them
- Funnels = the user builds them
- Split Tests = the user sets them up and reads them
- Videos = the user uploads and places them
- Images = the user uploads them
- Media = the user uploads them
- Files = the user uploads them
- Downloads = the user uploads them
- Assets = the user uploads them
- Hosting = the user sets it up
- Blog Posts = the user writes them
- Comments = the user reads and answers them
- Testimonials = the user collects and places them
- Ratings = the user reads them
- Feedback = the user reads it
- Shares = the user looks them up

[Calendars]
~ Calendars = `kartra_calendar_subscribe` and `kartra_calendar_cancel` by the names of calendar and
  class; they are not listed
~ Appointments = `kartra_calendar_subscribe` books a lead into a class, `kartra_calendar_cancel`
  ends the booking
~ Registrations = for a class of a calendar `kartra_calendar_subscribe`; every other kind in Kartra
- Sessions = the user plans them; a booking goes by Appointments

[Support]
- Helpdesks = the user sets them up
- Helpdesk Articles = the user writes them
- Helpdesk Categories = the user sets them up
- Knowledge Bases = the user writes them
- Support Tickets = the user reads and answers them
- Kartra Support = the user writes to Kartra, or reads https://help.kartra.com/

[The account]
+ API = `kartra_proxy_read`, `kartra_proxy_write` for any documented command; Membrane adds the keys
- Webhooks = the user sets the addresses of the outbound API
- Integrations = the user connects them; Kartra's API key is there too
- Settings = the user changes them
- Agency = the user manages client accounts
- Teams = the user manages them
- User Roles = the user gives and takes them
- User Groups = the user manages them
- Tasks = the user keeps them

[Numbers]
- Dashboards = the user reads them
- Reports = the user reads them
- Statistics = the user reads them
- Metrics = the user reads them
- Key Performance Indicators (KPIs) = the user reads them
- Revenue = the user reads the totals; single amounts are in `kartra_get_transaction_details`
- Projections = the user reads them
- Goals = the user sets and reads them
- Conversions = the user reads them
- Impressions = the user reads them
- Views = the user reads them
- Visits = the user reads them
- Exits = the user reads them
- Tracking Links = the user makes and reads them
- Logs = the user reads them
- Event Logs = the user reads them
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
"""Areas of each group, in the order of the guide."""
