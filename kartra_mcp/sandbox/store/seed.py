"""Insert a new account from the data files, with dates counted back from now."""

from __future__ import annotations

import json
import sqlite3

from kartra_mcp.sandbox.store import clock, seed_billing, seed_people

CONNECTION = "68a1f0c2d4e5b6a7c8d9e0f1"
INTEGRATION = "66f0a1b2c3d4e5f60718293a"
CONNECTOR = "66f0a1b2c3d4e5f60718293b"
USER = "66f0a1b2c3d4e5f607182900"


def insert_seed(db: sqlite3.Connection) -> None:
    _people(db)
    _marks(db)
    _memberships(db)
    _fields(db)
    _calendars(db)
    _billing(db)
    _membrane(db)


def _people(db: sqlite3.Connection) -> None:
    db.executemany(
        "INSERT INTO leads (id, email, first_name, last_name, city, state, country, source,"
        " date_joined) VALUES (?,?,?,?,?,?,?,?,?)",
        [(*lead[:8], clock.in_days(-lead[8])) for lead in seed_people.LEADS],
    )
    for lead, extra in seed_people.EXTRA.items():
        for column, value in extra.items():
            db.execute(f"UPDATE leads SET {column} = ? WHERE id = ?", (value, lead))
    for kind, deleted in ((1, seed_people.DELETED), (2, seed_people.MARKED_DELETED)):
        for lead, days in deleted.items():
            db.execute(
                "UPDATE leads SET deleted = ?, deleted_date = ? WHERE id = ?",
                (kind, clock.in_days(-days), lead),
            )
    db.executemany("INSERT INTO points (lead_id, points) VALUES (?, ?)", seed_people.POINTS)


def _marks(db: sqlite3.Connection) -> None:
    tags = {name: 501 + at for at, name in enumerate(seed_people.TAGS)}
    lists = {name: 401 + at for at, name in enumerate(seed_people.LISTS)}
    sequences = {name: 451 + at for at, name in enumerate(seed_people.SEQUENCES)}
    for table, names in (("tags", tags), ("lists", lists), ("sequences", sequences)):
        rows = [(number, name) for name, number in names.items()]
        db.executemany(f"INSERT INTO {table} (id, name) VALUES (?, ?)", rows)
    db.executemany(
        "INSERT INTO lead_tags VALUES (?, ?)",
        [(lead, tags[tag]) for tag, leads in seed_people.TAGGED.items() for lead in leads],
    )
    db.executemany(
        "INSERT INTO lead_lists VALUES (?, ?, ?)",
        [
            (lead, lists[at], on)
            for at, leads in seed_people.LISTED.items()
            for lead, on in leads.items()
        ],
    )
    db.executemany(
        "INSERT INTO steps VALUES (?, ?)",
        [(sequences[at], step) for at, steps in seed_people.SEQUENCES.items() for step in steps],
    )
    db.executemany(
        "INSERT INTO lead_sequences VALUES (?, ?, ?, ?)",
        [(lead, sequences[at], step, status) for lead, at, step, status in seed_people.IN_SEQUENCE],
    )


def _memberships(db: sqlite3.Connection) -> None:
    for number, (name, levels) in enumerate(seed_people.MEMBERSHIPS.items(), 80):
        db.execute("INSERT INTO memberships VALUES (?, ?)", (number, name))
        rows = [(level, number, title) for level, title in levels]
        db.executemany("INSERT INTO levels VALUES (?, ?, ?)", rows)
    db.executemany("INSERT INTO lead_memberships VALUES (?, ?, ?)", seed_people.MEMBERS)


def _fields(db: sqlite3.Connection) -> None:
    for number, identifier, kind, options in seed_people.CUSTOM_FIELDS:
        db.execute("INSERT INTO custom_fields VALUES (?, ?, ?)", (number, identifier, kind))
        rows = [(option, number, value) for option, value in options]
        db.executemany("INSERT INTO options VALUES (?, ?, ?)", rows)
    db.executemany(
        "INSERT INTO lead_fields VALUES (?, ?, ?)",
        [(lead, field, json.dumps(value)) for lead, field, value in seed_people.FIELD_VALUES],
    )


def _calendars(db: sqlite3.Connection) -> None:
    for number, (name, classes) in enumerate(seed_people.CALENDARS.items(), 90):
        db.execute("INSERT INTO calendars VALUES (?, ?)", (number, name))
        rows = [(one, number, title) for one, title in classes]
        db.executemany("INSERT INTO classes VALUES (?, ?, ?)", rows)
    db.executemany(
        "INSERT INTO bookings VALUES (?, ?, ?, ?)",
        [
            (lead, one, clock.in_days(days), status)
            for lead, one, days, status in seed_people.BOOKINGS
        ],
    )
    db.executemany("INSERT INTO pages (name) VALUES (?)", [(page,) for page in seed_people.PAGES])


def _billing(db: sqlite3.Connection) -> None:
    for number, name, days, level, fixed, prices in seed_billing.PRODUCTS:
        row = (number, name, days, level, fixed)
        db.execute("INSERT INTO products VALUES (?, ?, ?, ?, ?)", row)
        points = [(number, at, cents, period) for at, (cents, period) in enumerate(prices, 1)]
        db.executemany("INSERT INTO price_points VALUES (?, ?, ?, ?)", points)
    emails = {lead[0]: lead[1] for lead in seed_people.LEADS}
    db.executemany(
        "INSERT INTO transactions (id, lead_id, lead_email, type, cents, quantity, product_id,"
        " point, at, parent_id, subscription_id, pay_number, paypal, test)"
        " VALUES (?,?,?,?,?,1,?,?,?,?,?,?,?,?)",
        [
            (*row[:2], emails[row[1]], *row[2:6], clock.in_days(-row[6]), *row[7:])
            for row in seed_billing.TRANSACTIONS
        ],
    )
    for row in seed_billing.SUBSCRIPTIONS:
        _subscription(db, row)


def _subscription(db: sqlite3.Connection, row: tuple[int | str | None, ...]) -> None:
    number, lead, product, point, status, began, ended, at, left, period, due, paypal = row
    cents = db.execute(
        "SELECT cents FROM price_points WHERE product_id = ? AND point = ?",
        (product, point),
    ).fetchone()[0]
    processor = f"I-{number}SANDBOX" if paypal else f"sub_{number}sandbox"
    db.execute(
        "INSERT INTO subscriptions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,1,0,?,?)",
        (
            number,
            lead,
            product,
            point,
            status,
            _ago(began),
            _ago(ended),
            at,
            left,
            period,
            _ahead(due),
            cents,
            processor,
            paypal,
        ),
    )


def _ago(days: object) -> str:
    return clock.in_days(-days) if isinstance(days, int) else clock.NEVER


def _ahead(days: object) -> str:
    return clock.in_days(days) if isinstance(days, int) else clock.NEVER


def _membrane(db: sqlite3.Connection) -> None:
    made = clock.iso()
    db.execute("INSERT INTO settings VALUES ('login', 'yes')")
    db.execute(
        "INSERT INTO connections VALUES (1, ?, 'kartra', 'Kartra', 'READY', 0, 'kartra', ?, ?, '')",
        (CONNECTION, made, made),
    )
