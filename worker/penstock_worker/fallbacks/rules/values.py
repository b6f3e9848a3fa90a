"""Reads numbers, moments, addresses and yes or no out of short strings, and finds them in long ones.

Every value returned stands in the text; numbers and dates are only written in JSON's way. What can be
read in two ways (03/04/2025) is not read at all, unless the text shows elsewhere which way it writes.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final, NamedTuple


class Found(NamedTuple):
    """A value with where it stands."""

    value: str
    start: int
    end: int


_MOST_FOUND: Final = 500
_MOST_LOOKED_AT: Final = 20_000

_DIGITS = re.compile(r"(?<![\w.,])\d[\d.,'\u2019\u00a0\u202f]*+")
_SPACED = re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3}){1,5}(?:[.,]\d{1,4})?(?![\d ]*\d)")
_MINUS = re.compile(r"(?:^|[\s(])[-\u2212]\s?(?:[$€£¥]\s?)?$")
_INSIDE_CODE = re.compile(r"[:/#_]$|\w-$")
_GOES_ON = re.compile(r"[:/_]|-\d")
_MONEY_BEFORE = re.compile(r"(?:[$€£¥₹]|\b[A-Z]{3})\s?[-\u2212]?$")
_MONEY_AFTER = re.compile(r"\s?(?:[$€£¥₹]|[A-Z]{3}\b|[Ee]uros?\b|[Dd]ollars?\b|[Pp]ounds?\b)")
_COMMA_CENTS = re.compile(r"\d,\d{2}(?![\d,])")
_POINT_CENTS = re.compile(r"\d\.\d{2}(?![\d.])")
_LONGEST_NUMBER: Final = 40

_SYMBOLS: Final = {"€": "EUR", "£": "GBP", "₹": "INR"}
_CURRENCIES: Final = frozenset(
    [
        "USD",
        "EUR",
        "GBP",
        "CHF",
        "JPY",
        "CNY",
        "INR",
        "SEK",
        "NOK",
        "DKK",
        "PLN",
        "CZK",
        "HUF",
        "CAD",
        "AUD",
        "NZD",
        "BRL",
        "MXN",
        "ZAR",
        "TRY",
        "KRW",
        "SGD",
        "HKD",
    ]
)

_YES: Final = frozenset(
    [
        "yes",
        "y",
        "true",
        "ja",
        "oui",
        "sí",
        "si",
        "on",
        "✓",
        "✔",
        "☑",
        "x",
        "[x]",
        "enabled",
        "sim",
        "вкл",
        "да",
        "はい",
        "是",
    ]
)
_NO: Final = frozenset(
    ["no", "n", "false", "nein", "non", "off", "✗", "✘", "☐", "[]", "disabled", "não", "nie", "нет", "いいえ", "否"]
)

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar januari janvier enero gennaio janeiro",
            "feb february februar februari février fevrier febrero febbraio fevereiro",
            "mar march märz mär maart mars marzo março",
            "apr april avril abril aprile",
            "may mai mei mayo maggio maio",
            "jun june juni juin junio giugno junho",
            "jul july juli juillet julio luglio julho",
            "aug august augustus août agosto augusti",
            "sep sept september septembre septiembre settembre setembro",
            "oct october okt oktober octobre octubre ottobre outubro",
            "nov november novembre noviembre novembro",
            "dec december dez dezember décembre diciembre dicembre dezembro",
        ),
        start=1,
    )
    for name in names.split()
}

_ISO_DATE = re.compile(r"(?<![\d-])(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?![\d-])")
_DOTTED = re.compile(r"(?<![\d.])(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})(?!\d)")
_SLASHED = re.compile(r"(?<![\d/])(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?![\d/])")
_DAY_FIRST = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th|\.|er|º)?\s(?:of\s|de\s)?([^\W\d_]{3,10})\.?,?\s(?:de\s)?(\d{4})(?!\d)"
)
_MONTH_FIRST = re.compile(r"\b([^\W\d_]{3,10})\.?\s(\d{1,2})(?:st|nd|rd|th)?,?\s(\d{4})(?!\d)")
_ISO_MOMENT = re.compile(
    r"(?<![\d-])\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?\s?(?:[Zz]|UTC|[+-]\d{2}:?\d{2})(?!\d)"
)
_MAIL_MOMENT = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4}"
    r" \d{2}:\d{2}(?::\d{2})? [+-]\d{4}"
)
_TIME = re.compile(r"(?<![\d:])\d{1,2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?(?![\d:])")
_URI = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'`{}|\\^]{1,2000}|\bmailto:[^\s<>\"']{3,300}")
_UUID = re.compile(r"(?<![\w-])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![\w-])")
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")
_HOST = re.compile(r"(?<![\w.@-])[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){1,6}(?![\w-])")
_DURATION = re.compile(r"(?<!\w)P(?:\d{1,4}[YMWD]){0,4}(?:T(?:\d{1,6}[HMS]){1,3})?(?!\w)")
_PHONE = re.compile(r"(?<![\w+])(?:\+|\(?0)\d[\d ()/.-]{5,20}\d(?!\w)")
_LOCAL_PART = re.compile(r"[A-Za-z0-9._%+-]{1,64}\Z")
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")


class Reader:
    """Reads values the way one text writes them."""

    def __init__(self, text: str) -> None:
        sample = text[:200_000]
        self._decimal_comma = len(_COMMA_CENTS.findall(sample)) > len(_POINT_CENTS.findall(sample))
        self._slashes = _slash_order(sample)

    def numbers(self, text: str) -> Iterator[tuple[Decimal, int, int]]:
        """Numbers in *text* with where they stand; no parts of dates, times or codes."""
        past = 0
        spaced = {found.start(): found for found in _SPACED.finditer(text)} if len(text) <= 200 else {}
        for plain in _DIGITS.finditer(text):
            found = spaced.get(plain.start(), plain)
            start, end = found.start(), found.start() + len(found.group().rstrip(".,'\u2019\u00a0\u202f"))
            if start < past or _INSIDE_CODE.search(text[max(0, start - 2) : start]) or _GOES_ON.match(text, end):
                continue
            past = end
            if (value := self.number(text[start:end])) is not None:
                yield (-value if _MINUS.search(text[max(0, start - 4) : start]) else value), start, end

    def number(self, token: str) -> Decimal | None:
        """The number that *token* writes with its thousands and decimal signs; None when it writes none."""
        token = re.sub("['\u2019\u00a0\u202f ]", "", token)
        if not 0 < len(token) <= _LONGEST_NUMBER or not token.isascii():
            return None
        points, commas = token.count("."), token.count(",")
        if points and commas:
            decimal = "." if token.rfind(".") > token.rfind(",") else ","
        elif points + commas == 1:
            decimal = self._single_sign(token, "." if points else ",")
        else:
            decimal = ""
        return _assemble(token, decimal)

    def _single_sign(self, token: str, sign: str) -> str:
        """Whether the one sign in *token* is the decimal sign: "1,234" is grouped where cents have a
        point.
        """
        before, after = token.split(sign)
        could_group = len(after) == 3 and 1 <= len(before) <= 3 and before[0] != "0"
        return "" if could_group and (sign == ".") == self._decimal_comma else sign

    def date(self, text: str) -> Iterator[Found]:
        """Whole dates in *text* as YYYY-MM-DD, in order."""
        found = [
            Found(iso, match.start(), match.end())
            for pattern, order in self._date_forms()
            for match in islice(pattern.finditer(text), _MOST_FOUND)
            if (iso := _iso_date(*order(match))) is not None
        ]
        return iter(sorted(found, key=lambda each: each.start))

    def _date_forms(self) -> Iterator[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[str, str, str]]]]:
        yield _ISO_DATE, lambda found: (found[1], found[2], found[3])
        yield _DOTTED, lambda found: (found[3], found[2], found[1])
        yield _DAY_FIRST, lambda found: (found[3], found[2], found[1])
        yield _MONTH_FIRST, lambda found: (found[3], found[1], found[2])
        yield _SLASHED, self._slashed

    def _slashed(self, found: re.Match[str]) -> tuple[str, str, str]:
        first, second, year = found.groups()
        order = "day" if int(first) > 12 else "month" if int(second) > 12 else self._slashes
        if first == second:
            order = "day"
        return (year, second, first) if order == "day" else (year, first, second) if order else ("", "", "")

    def of_format(self, name: str, text: str) -> Iterator[Found]:
        """Values of JSON Schema format *name* in *text*, in order; none for a format that is not known
        here.
        """
        if name == "date":
            return self.date(text)
        if name in {"email", "idn-email"}:
            return islice(_emails(text), _MOST_FOUND)
        if name == "date-time":
            return islice(_moments(text), _MOST_FOUND)
        pattern = _PATTERNS.get(name)
        return iter(()) if pattern is None else islice(_matches(pattern, text), _MOST_FOUND)


_PATTERNS: Final = {
    "time": _TIME,
    "uri": _URI,
    "iri": _URI,
    "uri-reference": _URI,
    "iri-reference": _URI,
    "uuid": _UUID,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "hostname": _HOST,
    "idn-hostname": _HOST,
    "duration": _DURATION,
    "phone": _PHONE,
}


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Found]:
    for found in pattern.finditer(text):
        value = found.group().rstrip(".,;:!?)]")
        if value:
            yield Found(value, found.start(), found.start() + len(value))


def _emails(text: str) -> Iterator[Found]:
    at = text.find("@")
    for _ in range(_MOST_LOOKED_AT):
        if at < 0:
            return
        local = _LOCAL_PART.search(text, max(0, at - 64), at)
        domain = _DOMAIN.match(text, at + 1)
        if local and domain:
            value = f"{local.group().lstrip('.')}@{domain.group().rstrip('.-')}"
            yield Found(value, local.start(), domain.end())
        at = text.find("@", at + 1)


def _moments(text: str) -> Iterator[Found]:
    found = [*islice(_ISO_MOMENT.finditer(text), _MOST_FOUND), *islice(_MAIL_MOMENT.finditer(text), _MOST_FOUND)]
    for each in sorted(found, key=lambda match: match.start()):
        if (value := _rfc3339(each.group())) is not None:
            yield Found(value, each.start(), each.end())


def _rfc3339(written: str) -> str | None:
    try:
        if "," in written or written[2:4].strip().isalpha() or " " in written[:3]:
            return parsedate_to_datetime(written).isoformat()
        moment = datetime.fromisoformat(written.upper().replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+"))
    except (ValueError, OverflowError):
        return None
    return moment.isoformat().replace("+00:00", "Z")


def _iso_date(year: str, month: str, day: str) -> str | None:
    number = int(month) if month.isdecimal() else _MONTHS.get(month.casefold(), 0)
    try:
        return date(int(year), number, int(day)).isoformat()
    except ValueError:
        return None


def _slash_order(sample: str) -> str:
    """Whether 03/04/2025 starts with the day or the month here; "" when no date in the text tells."""
    orders = {
        "day" if int(found[1]) > 12 else "month"
        for found in _SLASHED.finditer(sample)
        if (int(found[1]) > 12) != (int(found[2]) > 12)
    }
    return orders.pop() if len(orders) == 1 else ""


def _assemble(token: str, decimal: str) -> Decimal | None:
    whole, _, fraction = token.partition(decimal) if decimal else (token, "", "")
    groups = re.split("[.,]", whole)
    if len(groups) > 1 and (not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:])):
        return None
    digits = "".join(groups)
    if not digits.isdecimal() or (fraction and not fraction.isdecimal()):
        return None
    return Decimal(f"{digits}.{fraction}" if fraction else digits)


def money_at(text: str, start: int, end: int) -> bool:
    """Whether the number at *start*..*end* is an amount of money."""
    return bool(_MONEY_BEFORE.search(text[max(0, start - 6) : start]) or _MONEY_AFTER.match(text[end : end + 8]))


def currencies(text: str) -> Iterator[str]:
    """ISO codes of currencies in *text*; "$" is no answer, as several countries use it."""
    for found in re.finditer(r"\b[A-Z]{3}\b|[€£₹]", text[:200_000]):
        code = _SYMBOLS.get(found.group(), found.group())
        if code in _CURRENCIES:
            yield code


def yes_or_no(value: str) -> bool | None:
    """What a short answer says; None for anything that is not plainly yes or no."""
    word = value.strip().rstrip(".!,;").casefold().replace("[ ]", "[]")
    first = word.split(",")[0].split(";")[0].strip()
    return True if first in _YES else False if first in _NO else None
