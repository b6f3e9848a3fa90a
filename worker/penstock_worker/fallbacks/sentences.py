# ruff: noqa: RUF001 - the punctuation of other scripts is meant
"""Takes a text apart into sentences, each with the part it plays.

1. Lines are read one by one: headings, list items, quoted lines, mail headers, greetings and signatures
   are told from running text.
2. Lines of running text that were wrapped by hand are joined again.
3. What was joined is split where a sentence ends: after a full stop that is not part of an abbreviation,
   an initial or a number, after "!" and "?", and after the marks of scripts without spaces.

Every pattern looks at a character a bounded number of times, so the whole is linear in the length of the
text.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from penstock_worker.fallbacks.text import UNSPACED, count_words


class Role(Enum):
    """What a sentence is doing in its text."""

    BODY = "body"
    ITEM = "item"
    """In a list."""
    TITLE = "title"
    """A heading, or the subject of a mail."""
    DATA = "data"
    """A labelled value, a row of a table, a line of mostly digits or signs."""
    QUOTE = "quote"
    HEADER = "header"
    GREETING = "greeting"
    SIGNATURE = "signature"


class Sentence(NamedTuple):
    """One sentence, with its white space made single."""

    text: str
    role: Role
    paragraph: int
    """Which paragraph it stands in, counted from 0."""
    opens: bool
    """Whether it is the first of its paragraph."""


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


# Abbreviations that are never the end of a sentence ...
_LEADING: Final = _words("""
    bzgl bzw ca capt cf col dipl dir dott dr eg evtl fig figs gen ggf gov hon ie insb lt messrs mgr mlle mme
    mr mrs ms msgr no nr num pp pres prof ref rep rev sen sgt sig sog sra srta st vgl viz vs zb zzgl
""")
# ... and those that are when a capital letter follows.
_TRAILING: Final = _words("""
    adj al appt approx apr apt art assn asst aufl aug ave av bldg blvd cap ch chap cie co cons corp cp dec
    dept dez ed edn eds ej ele ens esp est et etc ex exc excl ext fam feb ff fr fri ft gal geo gest hrs inc
    incl inkl ing jan jr jul jun km ltd lic max mem mfg min misc mt mwst nos nov oct okt op p par pag pl prop
    pt rd refs resp sat sec sep sept str subj sun tel thu tue univ usw vol vols wed
""")

_END = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s)"  # needs white space behind it
    r"|[。！？｡]++[」』”’）】]*+"  # needs none
    r"|[।॥؟۔]++"
)
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘«]*$")
_BULLET = re.compile(r"(?:[-*+•–—‣◦·▪]|\(?(?:\d{1,3}|[a-z])[.)]|\(?[A-Z]\)|\[[ xX]\])(?:\s+\[[ xX]\])?\s+(?=\S)")
_NO_WORDS = re.compile(r"[\W_]*+$")
_MAIL_HEADER = re.compile(
    r"(?:from|to|cc|bcc|date|sent|reply-to|message-id|von|an|gesendet|datum|de|para|enviado|fecha|à|envoyé|da|a|data"
    r"|van|aan|verzonden|importance|priority|x-[a-z-]{1,30}|mime-version|content-type|attachments?):\s",
    re.IGNORECASE,
)
_SUBJECT = re.compile(r"(?:subject|betreff|objet|asunto|assunto|oggetto|onderwerp|ämne|temat|тема):\s*", re.IGNORECASE)
_GREETING = re.compile(
    r"(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|greetings|to whom|hallo|guten|liebe[rs]?"
    r"|sehr geehrte[rs]?"
    r"|bonjour|cher|chère|madame|monsieur|hola|estimad[oa]s?|buen[oa]s|ciao|gentile|olá|caro|prezado|beste|geachte|hej"
    r"|здравствуйте)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:(?:with |many |kind |best |warm |warmest |kindest )*(?:regards|wishes|thanks)"
    r"|thanks(?: again| a lot| in advance)?"
    r"|thank you|cheers|yours(?: sincerely| faithfully| truly)?|sincerely|best|all the best|respectfully"
    r"|gracias|saludos"
    r"|un saludo|cordialement|bien à vous|merci(?: d'avance)?|mit freundlichen grüßen|viele grüße"
    r"|liebe grüße|beste grüße"
    r"|mfg|vg|lg|cordiali saluti|grazie|obrigad[oa]|atenciosamente|groeten|met vriendelijke groet|hälsningar"
    r"|с уважением|sent from my .{1,30})\s*[,.!–-]*$",
    re.IGNORECASE,
)
_ATTRIBUTION = re.compile(
    r"(?:on|am|le|el|il|op|em) .{4,120}(?:wrote|schrieb|écrit|escribió|scritto|schreef|escreveu)\b.{0,60}:$",
    re.I,
)
_FORWARD = re.compile(r"-{2,}\s*(?:original|forwarded|ursprüngliche|weitergeleitete|message|mensaje)\b", re.IGNORECASE)
_SPEAKER = re.compile(r"(?:\[[^\]]{1,30}\] ?)?[a-z@][^\s:]{0,30}:\s+\S|<[^\s>]{1,30}> ")
_LABELLED = re.compile(r"[^\W\d_][^:=|]{0,38}(?::|\s=|\.{3,})\s*\S")

_PROSE: Final = frozenset({Role.BODY, Role.ITEM})
_WRAPPED_FROM = 40  # a line at least this long may have been wrapped by hand
_SHORT_LINE = 60
_HEADING_WORDS = 12
_SIGNATURE_LINES = 6


class _Line(NamedTuple):
    text: str
    role: Role
    joins: bool  # may continue the line before it


def sentences(text: str, language: str = "en") -> Iterator[Sentence]:
    """The sentences of *text* in order; *language* ("de", ...) only decides what a number and a full stop
    mean.
    """
    ordinals = language in {"de", "da", "no", "cs", "pl", "fi", "hu"}
    for paragraph, (role, unit, opens) in _units(text):
        first = opens
        for piece in _split(unit, ordinals):
            yield Sentence(piece, role, paragraph, first)
            first = False


def _units(text: str) -> Iterator[tuple[int, tuple[Role, str, bool]]]:
    """Runs of joined lines, each with the number of its paragraph."""
    paragraph = 0
    parts: list[_Line] = []
    opens = True
    for line in _Reader(text).lines():
        if parts and (line is None or not _continues(parts[-1], line)):
            yield paragraph, (_role_of(parts, alone=opens and line is None), _join(parts), opens)
            parts, opens = [], False
        if line is None:
            paragraph, opens = paragraph + 1, True
        else:
            parts.append(line)


def _continues(before: _Line, line: _Line) -> bool:
    same = line.role is before.role or (line.role is Role.BODY and before.role is Role.ITEM)
    if not line.joins or not same:
        return False
    return len(before.text) >= _WRAPPED_FROM or (line.text[0].islower() and before.role is not Role.DATA)


def _join(parts: list[_Line]) -> str:
    joined = " ".join(" ".join(part.text.split()) for part in parts)
    return _GAP_IN_UNSPACED.sub("", joined) if len(parts) > 1 and UNSPACED.search(joined) else joined


_GAP_IN_UNSPACED = re.compile(f"(?<={UNSPACED.pattern}) (?={UNSPACED.pattern})")


def _role_of(parts: list[_Line], *, alone: bool) -> Role:
    """A short line that stands alone and does not end like a sentence is a heading."""
    line = parts[0]
    if line.role is Role.BODY and alone and len(parts) == 1 and _looks_like_heading(line.text):
        return Role.TITLE
    return line.role


def _looks_like_heading(line: str) -> bool:
    if len(line) > 90 or line[-1] in ".!?:;,。！？…" or _END.search(line):
        return False
    return count_words(line) <= _HEADING_WORDS


class _Reader:
    """Reads lines, remembering only where in a mail it is. Yields None between paragraphs."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._in_headers = True
        self._signature_left = 0
        self._below_dashes = False
        self._goes_on = False  # the line before was wrapped by hand in the middle of a sentence
        self._spoken = False  # the line before was said by someone: "anna: good morning"

    def lines(self) -> Iterator[_Line | None]:
        blank = True
        for at, raw in enumerate(self._lines):
            line = raw.strip()
            if not line or _NO_WORDS.match(line):
                self._below_dashes = self._below_dashes or line == "--"
                if not blank:
                    yield None
                blank, self._goes_on = True, False
                continue
            found = self._read(line, at, starts=blank)
            blank = False
            self._goes_on = found.role in _PROSE and len(line) >= _WRAPPED_FROM and line[-1] not in ".!?:。"
            self._spoken = _SPEAKER.match(line) is not None
            yield found
        yield None

    def _read(self, line: str, at: int, *, starts: bool) -> _Line:
        if line[0] == ">" or _ATTRIBUTION.match(line) or _FORWARD.match(line):
            self._leave_signature(headers=_FORWARD.match(line) is not None)
            return _Line(line.lstrip("> \t") or ">", Role.QUOTE, joins=line[0] == ">")
        if (head := self._mail_head(line)) is not None:
            return head
        if self._below_dashes or self._in_closing(line):
            return _Line(line, Role.SIGNATURE, joins=False)
        if len(line) <= _SHORT_LINE and _GREETING.match(line) and line[-1] in ",!.:，":
            return _Line(line, Role.GREETING, joins=False)
        return self._plain(line, at, starts=starts)

    def _mail_head(self, line: str) -> _Line | None:
        if subject := _SUBJECT.match(line):
            self._leave_signature(headers=True)
            return _Line(line[subject.end() :] or line, Role.TITLE, joins=False)
        if self._in_headers and _MAIL_HEADER.match(line):
            return _Line(line, Role.HEADER, joins=False)
        self._in_headers = False
        return None

    def _leave_signature(self, *, headers: bool) -> None:
        self._below_dashes = False
        self._signature_left = 0
        self._in_headers = headers

    def _in_closing(self, line: str) -> bool:
        if _CLOSING.match(line):
            self._signature_left = _SIGNATURE_LINES
            return True
        if self._signature_left and len(line) <= _SHORT_LINE:
            self._signature_left -= 1
            return True
        self._signature_left = 0
        return False

    def _plain(self, line: str, at: int, *, starts: bool) -> _Line:
        if line[0] == "#" and (heading := line.lstrip("#").strip(" #")):
            return _Line(heading, Role.TITLE, joins=False)
        if self._is_underlined(at) and len(line) <= 90:
            return _Line(line, Role.TITLE, joins=False)
        if bullet := _BULLET.match(line):
            return _Line(line[bullet.end() :], Role.ITEM, joins=False)
        if self._spoken and _SPEAKER.match(line):
            return _Line(line, Role.BODY, joins=False)
        if self._goes_on:
            return _Line(line, Role.BODY, joins=True)
        if line.isupper() and len(line) <= 90:
            return _Line(line, Role.TITLE, joins=False)
        if _is_data(line):
            return _Line(line, Role.DATA, joins=False)
        return _Line(line, Role.BODY, joins=not starts)

    def _is_underlined(self, at: int) -> bool:
        below = self._lines[at + 1].strip() if at + 1 < len(self._lines) else ""
        return len(below) >= 3 and below[0] in "=-~" and not below.strip(below[0])


def _is_data(line: str) -> bool:
    if line.count("|") >= 2 or "\t" in line:
        return True
    if len(line) <= 90 and line[-1] not in ".!?" and _LABELLED.match(line):
        return True
    head = line[:400]
    return sum(map(str.isalpha, head)) * 2 < len(head) and UNSPACED.search(head) is None


def _split(unit: str, ordinals: bool) -> Iterator[str]:
    start = 0
    for end in _END.finditer(unit):
        if _ends_sentence(unit, start, end, ordinals):
            if piece := unit[start : end.end()].strip():
                yield piece
            start = end.end()
    if rest := unit[start:].strip():
        yield rest


def _ends_sentence(unit: str, start: int, end: re.Match[str], ordinals: bool) -> bool:
    mark = end.group()[0]
    if mark not in ".!?…":
        return True
    after = unit[end.end() + 1 : end.end() + 2]
    if after.islower():
        return False
    if mark != "." or end.group().startswith(".."):
        return True
    before = _WORD_BEFORE.search(unit[max(start, end.start() - 24) : end.start()])
    return _ends_at_full_stop(before.group() if before else "", after, ordinals)


def _ends_at_full_stop(word: str, after: str, ordinals: bool) -> bool:
    if not word:
        return True
    if len(word) == 1 and word.isalpha():
        return word == "I"
    if word.isdigit():
        return not (ordinals and len(word) <= 2)
    if "." in word and all(len(part) <= 2 for part in word.split(".")):
        return after.isupper() and word.casefold() in {"a.m", "p.m"}
    folded = word.casefold()
    return folded not in _LEADING and (folded not in _TRAILING or after.isupper())
