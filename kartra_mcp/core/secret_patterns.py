"""Patterns of secrets in text: by the name before them, by their own form, card numbers. Pure.

Kartra is a PHP program: its errors may hold PHP's own print forms, forms and XML.
"""

from __future__ import annotations

import re

_JOIN = r"(?:[ _.-]|\[|%(?:25)*5[bBfF])?"
"""Character between the words of a name, percent-encoded too: `api[key]`, `api%5Bkey%5D`."""
_NAMES = (
    rf"(?:[\w-]{{0,40}}(?:app{_JOIN}id|(?:api|access|private){_JOIN}(?:key|password)|password|"
    r"passwd|secret|token|authorization|credentials?|cookie)|(?:[A-Za-z0-9]{1,20}[_-]){0,4}pin)"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\\+\"[^\"\\]*\\+\""
_NESTED = r"\{[^{}]{0,2000}\}|\[[^\[\]]{0,2000}\]"
_AFTER_NAME = r"(?:\\*[\"']|%(?:25)*2[27])?(?:\]|%(?:25)*5[dD])?\s*"

SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?s)-{3,}BEGIN [A-Z0-9 ]{1,60}-{3,}.*?(?:-{3,}END [A-Z0-9 ]{1,60}-{3,}|\Z)"),
        "[key removed]",
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), "[token removed]"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 [removed]"),
    (
        re.compile(
            r"\b(?:pat-[\w-]{6,}|(?:[srp]k_(?:live|test)|whsec|rk)_\w{8,}|sk-[\w-]{16,}"
            r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
            r"|npm_\w{30,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,})"
        ),
        "[token removed]",
    ),
    # XML, plain or escaped: `<api_key>…</api_key>`.
    (
        re.compile(
            rf"(?i)((?:<|&lt;)(?:\w{{1,40}}:)?{_NAMES}(?:\s[^<>]{{0,200}}?)?(?:>|&gt;))"
            r"(?:<!\[CDATA\[)?(?:(?!<|&lt;).)+"
        ),
        r"\1[removed]",
    ),
    # A pair of attributes or fields: `name="api_key" value="…"`.
    (
        re.compile(
            rf"(?i)(\b{_NAMES}\\*[\"']\s*,?\s*\\*[\"']?(?:value|content)\\*[\"']?\s*[:=]\s*)"
            rf"(?:{_QUOTED}|\[removed\]|[^\s&,;}}\]]+)"
        ),
        r"\1[removed]",
    ),
    # PHP's serialize, var_dump, var_export and print_r.
    (
        re.compile(rf"(?i)(\b{_NAMES}\"\s*;\s*)(?:s:\d+:\"(?:[^\"\\]|\\.)*\"|[idb]:[^;]*)"),
        r"\1[removed]",
    ),
    (
        re.compile(
            rf"(?i)(\b{_NAMES}{_AFTER_NAME}(?::\w+)?\]?\s*=(?:>|&gt;)\s*)"
            rf"(?:(?:string|int|float|bool)\(\d*\)?\s*)?"
            rf"(?:{_QUOTED}|\[removed\]|[^\s\n][^\n]{{0,500}}?(?=\s+\[|\s*[),]|\n|\Z))"
        ),
        r"\1[removed]",
    ),
    (
        re.compile(
            rf"(?i)(\b{_NAMES}{_AFTER_NAME}(?:[:=](?!>)|%(?:25)*3[aAdD])\s*)"
            rf"({_QUOTED}|\[removed\]|{_NESTED}|%(?:25)*22.*?%(?:25)*22|[^\s&,;}}\]]+)"
        ),
        r"\1[removed]",
    ),
    # An option of a command line whose value is the next word.
    (
        re.compile(rf"(?i)(?<!\S)(--?{_NAMES}\s+)(?=\S*\d)[^\s-]\S{{5,}}"),
        r"\1[removed]",
    ),
    # The general rule stops too early in a header: all of `Cookie: a=1; b=2` is secret.
    (
        re.compile(r"(?i)(\b(?:[\w-]{0,20}authorization|cookie)\s*:\s*)[^\s\"'][^\n\"']*"),
        r"\1[removed]",
    ),
    (re.compile(r"(?i)(https?://)[^/\s:@]+:[^/\s@]+@"), r"\1[removed]@"),
)
SECRET_NAME = re.compile(rf"(?i){_NAMES}\]?")
"""Name of a field whose value is a secret, whatever it looks like."""

_GROUP = r"[ .\-_/\u00a0\u2009\u202f]{1,3}"
CARDS = (
    re.compile(r"(?<!\d)(?<!\d\.)[2-6](?:[ -]?\d){12,18}(?!\d|\.\d)"),
    # Groups of four with dots or wide blanks, and the groups of American Express.
    re.compile(rf"(?<![\d.])[2-6]\d{{3}}(?:{_GROUP}\d{{4}}){{3}}(?:{_GROUP}\d{{1,3}})?(?!\d|\.\d)"),
    re.compile(rf"(?<![\d.])3[47]\d{{2}}{_GROUP}\d{{6}}{_GROUP}\d{{5}}(?!\d|\.\d)"),
)
