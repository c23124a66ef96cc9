"""Products, charges and refunds of the rehearsal account; data only.

ANCHORS are the rows that the demo and tests may rely on; `reset` restores them.
"""

from __future__ import annotations

ANCHORS = {
    "lead 48110": "ada@example.com, a customer with tags, lists, a sequence and two memberships",
    "lead 48113": "hostile text in name, notes, company, address and custom fields",
    "lead 48121": "bidirectional, zero-width, control and fence characters",
    "lead 48127": "gone@example.org, deleted",
    "lead 48129": "new@example.net, no purchase, no tag",
    "transaction 101": "sale of 97.00 to Ada, refundable in full",
    "transaction 102": "rebill of 49.00 to Ada on subscription 201, refundable",
    "transaction 103": "sale of 19.00, refunded in full by 143",
    "transaction 104": "sale of 97.00, outside its refund period",
    "transaction 105": "sale of 250.00, 50.00 refunded by 144, so 200.00 remain",
    "transaction 106": "test sale of 97.00, never refundable",
    "transaction 107": "PayPal sale of 97.00, refundable in full",
    "transaction 108": "failed rebill",
    "transaction 109": "cancellation",
    "transaction 110": "chargeback",
    "subscription 201": "Active, Ada, 49.00 monthly, until cancelled; its content is a membership",
    "subscription 202": "Paused",
    "subscription 203": "Cancelled",
    "subscription 204": "Terminated",
    "subscription 205": "Active, PayPal",
    "subscription 206": "Active, two installments left",
    "subscription 207": "Active, yearly",
    "subscription 208": "Active, a product whose recurrence is fixed",
    "subscription 209": "Active, of lead 48113, for the attack tests",
}

PRODUCTS = [
    # id, name, refund days, level that it gives, recurrence is fixed, [(cents, period), …]
    (301, "Watercolour Foundations", 30, 811, 0, [(9700, "one time"), (3500, "monthly")]),
    (302, "Studio Circle", 30, 802, 0, [(4900, "monthly"), (49000, "yearly")]),
    (303, "Colour Theory Workbook", 14, None, 0, [(1900, "one time")]),
    (304, "Private Critique Session", 60, None, 0, [(25000, "one time")]),
    (305, "Brush Box", 14, None, 1, [(2900, "monthly")]),
]

SUBSCRIPTIONS = [
    # id, lead, product, point, status, started, ended, installment, left, period, next in, PayPal
    (201, 48110, 302, 1, "Active", 93, None, 4, None, "monthly", 27, 0),
    (202, 48104, 302, 1, "Paused", 150, None, 3, None, "monthly", 12, 0),
    (203, 48116, 302, 1, "Cancelled", 200, 80, 4, None, "monthly", None, 0),
    (204, 48124, 301, 2, "Terminated", 120, 30, 2, 1, "monthly", None, 0),
    (205, 48114, 302, 1, "Active", 64, None, 3, None, "monthly", 26, 1),
    (206, 48119, 301, 2, "Active", 41, None, 1, 2, "monthly", 19, 0),
    (207, 48120, 302, 2, "Active", 130, None, 1, None, "yearly", 235, 0),
    (208, 48106, 305, 1, "Active", 35, None, 2, None, "monthly", 25, 0),
    (209, 48113, 305, 1, "Active", 9, None, 1, None, "monthly", 21, 0),
    (210, 48122, 302, 1, "Cancelled", 170, 15, 5, None, "monthly", None, 1),
]

TRANSACTIONS = [
    # id, lead, type, cents, product, point, days ago, parent, subscription, pay, PayPal, test
    (101, 48110, "sale", 9700, 301, 1, 5, 0, 0, 0, 0, 0),
    (102, 48110, "rebill", 4900, 302, 1, 3, 112, 201, 4, 0, 0),
    (103, 48108, "sale", 1900, 303, 1, 8, 0, 0, 0, 0, 0),
    (104, 48103, "sale", 9700, 301, 1, 100, 0, 0, 0, 0, 0),
    (105, 48115, "sale", 25000, 304, 1, 20, 0, 0, 0, 0, 0),
    (106, 48112, "sale", 9700, 301, 1, 4, 0, 0, 0, 0, 1),
    (107, 48128, "sale", 9700, 301, 1, 11, 0, 0, 0, 1, 0),
    (108, 48124, "failed", 3500, 301, 2, 30, 120, 204, 3, 0, 0),
    (109, 48116, "cancellation", 0, 302, 1, 80, 115, 203, 0, 0, 0),
    (110, 48116, "chargeback", 25000, 304, 1, 75, 121, 0, 0, 0, 0),
    (111, 48113, "sale", 2900, 305, 1, 9, 0, 209, 1, 0, 0),
    (112, 48110, "sale", 4900, 302, 1, 93, 0, 201, 1, 0, 0),
    (113, 48110, "rebill", 4900, 302, 1, 63, 112, 201, 2, 0, 0),
    (114, 48110, "rebill", 4900, 302, 1, 33, 112, 201, 3, 0, 0),
    (115, 48116, "sale", 4900, 302, 1, 200, 0, 203, 1, 0, 0),
    (116, 48116, "rebill", 4900, 302, 1, 170, 115, 203, 2, 0, 0),
    (117, 48116, "rebill", 4900, 302, 1, 140, 115, 203, 3, 0, 0),
    (118, 48116, "rebill", 4900, 302, 1, 110, 115, 203, 4, 0, 0),
    (119, 48104, "sale", 4900, 302, 1, 150, 0, 202, 1, 0, 0),
    (120, 48124, "sale", 3500, 301, 2, 120, 0, 204, 1, 0, 0),
    (121, 48116, "sale", 25000, 304, 1, 110, 0, 0, 0, 0, 0),
    (122, 48104, "rebill", 4900, 302, 1, 120, 119, 202, 2, 0, 0),
    (123, 48104, "rebill", 4900, 302, 1, 90, 119, 202, 3, 0, 0),
    (124, 48124, "rebill", 3500, 301, 2, 90, 120, 204, 2, 0, 0),
    (125, 48114, "sale", 4900, 302, 1, 64, 0, 205, 1, 1, 0),
    (126, 48114, "rebill", 4900, 302, 1, 34, 125, 205, 2, 1, 0),
    (127, 48114, "rebill", 4900, 302, 1, 4, 125, 205, 3, 1, 0),
    (128, 48119, "sale", 3500, 301, 2, 41, 0, 206, 1, 0, 0),
    (129, 48120, "sale", 49000, 302, 2, 130, 0, 207, 1, 0, 0),
    (130, 48106, "sale", 2900, 305, 1, 35, 0, 208, 1, 0, 0),
    (131, 48106, "rebill", 2900, 305, 1, 5, 130, 208, 2, 0, 0),
    (132, 48122, "sale", 4900, 302, 1, 170, 0, 210, 1, 1, 0),
    (133, 48122, "rebill", 4900, 302, 1, 140, 132, 210, 2, 1, 0),
    (134, 48122, "cancellation", 0, 302, 1, 15, 132, 210, 0, 1, 0),
    (135, 48101, "sale", 9700, 301, 1, 380, 0, 0, 0, 0, 0),
    (136, 48101, "sale", 25000, 304, 1, 45, 0, 0, 0, 0, 0),
    (137, 48102, "sale", 1900, 303, 1, 6, 0, 0, 0, 0, 0),
    (138, 48106, "sale", 1900, 303, 1, 90, 0, 0, 0, 1, 0),
    (139, 48112, "sale", 1900, 303, 1, 2, 0, 0, 0, 0, 0),
    (140, 48103, "failed", 25000, 304, 1, 12, 0, 0, 0, 0, 0),
    (141, 48115, "sale", 9700, 301, 1, 22, 0, 0, 0, 0, 0),
    (142, 48128, "sale", 1900, 303, 1, 1, 0, 0, 0, 0, 0),
    (143, 48108, "refund", 1900, 303, 1, 6, 103, 0, 0, 0, 0),
    (144, 48115, "partial_refund", 5000, 304, 1, 13, 105, 0, 0, 0, 0),
    (145, 48108, "sale", 25000, 304, 1, 3, 0, 0, 0, 0, 0),
    (146, 48112, "sale", 9700, 301, 1, 1, 0, 0, 0, 1, 1),
]
