"""Tables of the account file as SQL; names and types, no rows."""

VERSION = 3

KARTRA = """
CREATE TABLE leads (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    first_name TEXT NOT NULL DEFAULT '', middle_name TEXT NOT NULL DEFAULT '',
    last_name TEXT NOT NULL DEFAULT '', last_name2 TEXT NOT NULL DEFAULT '',
    phone TEXT NOT NULL DEFAULT '', phone_country_code TEXT NOT NULL DEFAULT '',
    ip TEXT NOT NULL DEFAULT '', address TEXT NOT NULL DEFAULT '', zip TEXT NOT NULL DEFAULT '',
    city TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT '',
    country TEXT NOT NULL DEFAULT '', company TEXT NOT NULL DEFAULT '',
    lead_picture TEXT NOT NULL DEFAULT '', website TEXT NOT NULL DEFAULT '',
    facebook TEXT NOT NULL DEFAULT '', twitter TEXT NOT NULL DEFAULT '',
    linkedin TEXT NOT NULL DEFAULT '', lead_preferred_time_zone TEXT NOT NULL DEFAULT '',
    sales_tax_id TEXT NOT NULL DEFAULT '', business_type TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '', source TEXT NOT NULL DEFAULT 'api',
    date_joined TEXT NOT NULL, blacklisted INTEGER NOT NULL DEFAULT 0,
    gdpr_lead_status INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0,
    deleted_date TEXT NOT NULL DEFAULT '0000-00-00 00:00:00');
CREATE TABLE points (
    lead_id INTEGER NOT NULL, points INTEGER NOT NULL, expires TEXT NOT NULL DEFAULT '');
CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE lead_tags (lead_id INTEGER, tag_id INTEGER, PRIMARY KEY (lead_id, tag_id));
CREATE TABLE lists (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE lead_lists (
    lead_id INTEGER, list_id INTEGER, active INTEGER NOT NULL, PRIMARY KEY (lead_id, list_id));
CREATE TABLE sequences (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE steps (sequence_id INTEGER, step TEXT, PRIMARY KEY (sequence_id, step));
CREATE TABLE lead_sequences (
    lead_id INTEGER, sequence_id INTEGER, step TEXT NOT NULL, status TEXT NOT NULL,
    PRIMARY KEY (lead_id, sequence_id));
CREATE TABLE memberships (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE levels (id INTEGER PRIMARY KEY, membership_id INTEGER NOT NULL, name TEXT NOT NULL);
CREATE TABLE lead_memberships (
    lead_id INTEGER, level_id INTEGER, active INTEGER NOT NULL, PRIMARY KEY (lead_id, level_id));
CREATE TABLE custom_fields (
    id INTEGER PRIMARY KEY, identifier TEXT NOT NULL UNIQUE COLLATE NOCASE, type TEXT NOT NULL);
CREATE TABLE options (id INTEGER PRIMARY KEY, field_id INTEGER NOT NULL, value TEXT NOT NULL);
CREATE TABLE lead_fields (
    lead_id INTEGER, field_id INTEGER, value TEXT NOT NULL, PRIMARY KEY (lead_id, field_id));
CREATE TABLE calendars (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE classes (id INTEGER PRIMARY KEY, calendar_id INTEGER NOT NULL, name TEXT NOT NULL);
CREATE TABLE bookings (
    lead_id INTEGER, class_id INTEGER, starts TEXT NOT NULL, status TEXT NOT NULL,
    PRIMARY KEY (lead_id, class_id));
CREATE TABLE pages (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE products (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, refund_days INTEGER NOT NULL,
    level_id INTEGER, fixed_recurrence INTEGER NOT NULL DEFAULT 0);
CREATE TABLE price_points (
    product_id INTEGER, point INTEGER, cents INTEGER NOT NULL, period TEXT NOT NULL,
    PRIMARY KEY (product_id, point));
CREATE TABLE transactions (
    id INTEGER PRIMARY KEY, lead_id INTEGER NOT NULL, lead_email TEXT NOT NULL,
    type TEXT NOT NULL, cents INTEGER NOT NULL, quantity INTEGER NOT NULL,
    product_id INTEGER NOT NULL, point INTEGER NOT NULL, at TEXT NOT NULL,
    parent_id INTEGER NOT NULL DEFAULT 0, subscription_id INTEGER NOT NULL DEFAULT 0,
    pay_number INTEGER NOT NULL DEFAULT 0, card TEXT NOT NULL DEFAULT '4242',
    paypal INTEGER NOT NULL DEFAULT 0, test INTEGER NOT NULL DEFAULT 0);
CREATE INDEX transactions_of_lead ON transactions (lead_id);
CREATE INDEX transactions_of_parent ON transactions (parent_id);
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY, lead_id INTEGER NOT NULL, product_id INTEGER NOT NULL,
    point INTEGER NOT NULL, status TEXT NOT NULL, starts TEXT NOT NULL,
    ends TEXT NOT NULL DEFAULT '0000-00-00 00:00:00', installment INTEGER NOT NULL,
    installments_left INTEGER, period TEXT NOT NULL, next_payment TEXT NOT NULL,
    cents INTEGER NOT NULL, quantity INTEGER NOT NULL DEFAULT 1, tax REAL NOT NULL DEFAULT 0,
    processor_id TEXT NOT NULL, paypal INTEGER NOT NULL DEFAULT 0);
CREATE TABLE faults (
    id INTEGER PRIMARY KEY, cmd TEXT NOT NULL, type TEXT NOT NULL, times INTEGER NOT NULL,
    effect INTEGER NOT NULL, message TEXT NOT NULL, after REAL NOT NULL DEFAULT 0);
"""

MEMBRANE = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE connections (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL, state TEXT NOT NULL, disconnected INTEGER NOT NULL,
    integration TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    archived_at TEXT NOT NULL DEFAULT '');
CREATE TABLE run_logs (id TEXT PRIMARY KEY, at TEXT NOT NULL, log TEXT NOT NULL);
"""

REQUESTS = """
CREATE TABLE requests (
    n INTEGER PRIMARY KEY AUTOINCREMENT, received_at REAL NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, action TEXT NOT NULL, token_id TEXT NOT NULL DEFAULT '', token_end REAL,
    meta TEXT, decision TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    effects TEXT NOT NULL DEFAULT '[]', applied_at REAL, status INTEGER, answered_at REAL);
"""
"""Requests to the API, with token, decision and effects."""

MIGRATIONS: dict[int, str] = {
    2: "ALTER TABLE connections ADD COLUMN archived_at TEXT NOT NULL DEFAULT ''",
    3: f"ALTER TABLE faults ADD COLUMN after REAL NOT NULL DEFAULT 0; {REQUESTS}",
}
"""Version to the statements that lead to it from the one before."""

JOURNAL = """
CREATE TABLE journal (n INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, argv TEXT NOT NULL);
"""
