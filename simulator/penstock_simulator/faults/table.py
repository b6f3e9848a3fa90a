"""The fault table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock_simulator.faults import answers, deliveries, documents, payloads, refusals
from penstock_simulator.faults.kinds import FaultKind, Seconds, Stage, Value

_RETRY: Mapping[str, Value] = {"retry-after": "", "retry-after-ms": "", "should-retry": ""}
_RETRY_1S: Mapping[str, Value] = {**_RETRY, "retry-after": "1"}
_STATUS: Mapping[str, Value] = {"status": 500, "type": "", "code": "", "message": "", **_RETRY}


def _refuse(name: str, apply: Any, doc: str, params: Mapping[str, Value] = {}) -> FaultKind:
    return FaultKind(name, Stage.REFUSE, doc, apply, params, billed=False)


def _answer(kind: str, apply: Any, doc: str, /, **params: Value) -> FaultKind:
    return FaultKind(kind, Stage.ANSWER, doc, apply, params)


def _document(name: str, apply: Any, doc: str, **params: Value) -> FaultKind:
    return FaultKind(name, Stage.DOCUMENT, doc, apply, params)


def _bytes(kind: str, apply: Any, doc: str, /, billed: bool = True, **params: Value) -> FaultKind:
    return FaultKind(kind, Stage.BYTES, doc, apply, params, billed)


def _wire(name: str, apply: Any, doc: str, /, billed: bool = True, **params: Value) -> FaultKind:
    return FaultKind(name, Stage.DELIVERY, doc, apply, params, billed)


ROWS: tuple[FaultKind, ...] = (
    _refuse("status", refusals.status, "an error status; retry-after takes s, text, or date+30", _STATUS),
    _refuse("rate-limit", refusals.of_kind("rate_limit"), "429: the rate is used up", _RETRY_1S),
    _refuse("slow-down", refusals.of_kind("slow_down"), "429: the rate rose too fast", _RETRY_1S),
    _refuse("quota", refusals.of_kind("quota"), "429: money is used up, waiting does not help", _RETRY),
    _refuse("overloaded", refusals.of_kind("overloaded"), "503 (Anthropic: 529): short of machines", _RETRY),
    _refuse("invalid-key", refusals.of_kind("invalid_key"), "401 (Gemini: 400): a wrong key"),
    _refuse("model-not-found", refusals.of_kind("model_not_found"), "404: no such model or deployment"),
    _refuse("context-length", refusals.context_length, "400: the prompt is too long", {"limit": 8192}),
    _refuse("schema-unsupported", refusals.of_kind("schema"), "400: the schema is outside what the provider takes"),
    _refuse("content-policy", refusals.of_kind("content_policy"), "the prompt was flagged: 400 (Gemini: 200)"),
    _answer(
        "refusal", answers.refusal, "a refusal in place of content, stop reason `stop`", text="I can't help with that."
    ),
    _answer("tool-call", answers.tool_call, "a call of an offered tool instead of text", name="", arguments="{}"),
    _answer("content-filter", answers.content_filter, "text cut, stop reason `content_filter`", at=0.5),
    _answer("length", answers.length, "text cut, stop reason `length`", at=0.5),
    _answer("reasoning-only", answers.reasoning_ate_all, "empty text, stop reason `length`: reasoning took the cap"),
    _answer("empty", answers.empty, "empty text, stop reason `stop`"),
    _answer("null", answers.null, "content null without a refusal"),
    _answer("whitespace", answers.whitespace, "a good beginning, then white space up to the cap"),
    _answer("repetition", answers.repetition, "a good beginning, then the same words up to the cap"),
    _answer("fences", answers.fences, "the JSON in a Markdown code fence", language="json"),
    _answer("prose", answers.prose, "the JSON with talk before and after it"),
    _answer("two-objects", answers.two_objects, "the JSON twice in a row"),
    _answer("bad-json", answers.bad_json, "single quotes, None, a trailing comma"),
    _answer("cut-json", answers.cut_json, "the text cut at a byte, stop reason `stop`", byte=20),
    _answer("nan", answers.nan, "NaN, or another value that is no JSON, as a number", value="NaN"),
    _answer("duplicate-keys", answers.duplicate_keys, "an object with a key twice"),
    _answer("wrong-schema", answers.wrong_schema, "good JSON that is not what was asked for"),
    _answer("wrong-type", answers.wrong_type, "the right keys with values of a wrong type"),
    _answer("missing-key", answers.missing_key, "the right object without its first key"),
    _answer("extra-key", answers.extra_key, "the right object with one key more"),
    _answer("wrong-label", answers.wrong_label, "a label that is not allowed", label="not-a-label"),
    _answer("label-case", answers.label_case, "the right label in the other case"),
    _answer("label-dot", answers.label_dot, "the right label with a full stop"),
    _answer("label-homoglyph", answers.label_homoglyph, "the right label in look-alike letters"),
    _answer("cut-text", answers.cut_text, "the longest string ends in mid-word, stop reason `stop`"),
    _answer("copy-input", answers.copy_input, "the longest string is the input"),
    _answer("injected", answers.injected, "the longest string is hostile text"),
    _answer("big-string", answers.big_string, "the longest string is so many MiB", mib=3),
    _answer("deep-json", answers.deep_json, "a field nested so deep", depth=1000),
    _document("usage-missing", documents.usage_missing, "no token counts"),
    _document("usage-null", documents.usage_null, "token counts null"),
    _document("usage-negative", documents.usage_negative, "token counts below zero"),
    _document("usage-string", documents.usage_string, "token counts as text"),
    _document("usage-float", documents.usage_float, "token counts with a fraction"),
    _document("usage-nan", documents.usage_nan, "token counts NaN"),
    _document("usage-huge", documents.usage_huge, "token counts 1e30"),
    _document("usage-over", documents.usage_over, "token counts above the output cap", factor=10),
    _document("usage-unequal", documents.usage_unequal, "a total that is not the sum"),
    _document("usage-early", documents.usage_early, "other counts in the first event of a stream"),
    _document("no-choices", documents.no_choices, "no choices, candidates, output or blocks"),
    _document("error-in-200", documents.error_in_200, "an error object under status 200", type="server_error", code=""),
    _document(
        "error-in-stream", documents.error_in_stream, "half a stream, then an error event", type="server_error", code=""
    ),
    _document("no-done", documents.no_done, "a stream without its terminal marker"),
    _document("no-finish", documents.no_finish, "a stream that ends in the middle, in good order"),
    _document("duplicate-events", documents.duplicate_events, "stop reason and usage events twice"),
    _document("swapped-events", documents.swapped_events, "the stop reason before the last content"),
    _document("unknown-events", documents.unknown_events, "events of an unknown kind between the others"),
    _document("other-model", documents.other_model, "another model in the answer", model="gpt-unknown"),
    _bytes("html", payloads.html, "an HTML page", billed=False, status=200),
    _bytes("empty-body", payloads.empty_body, "no body under the good status"),
    _bytes("content-type", payloads.content_type, "another content type", type="text/plain"),
    _bytes("not-json", payloads.not_json, "a body, or an event, that is no JSON"),
    _bytes("cut-body", payloads.cut_body, "the HTTP body cut at a byte, in good order", byte=100),
    _bytes("short-body", payloads.short_body, "fewer bytes than content-length says", missing=10),
    _bytes("bad-utf8", payloads.bad_utf8, "bytes that are not UTF-8"),
    _bytes("trailing", payloads.trailing, "more text after the JSON document"),
    _bytes("redirect", payloads.redirect, "a redirect", billed=False, status=307, location="http://127.0.0.1:9/"),
    _bytes("set-cookie", payloads.set_cookie, "a Set-Cookie header", cookie="session=stolen; Path=/"),
    _bytes("header", payloads.header, "a header more, or another value of one", name="x-extra", value="1"),
    _bytes("comments", payloads.comments, "keep-alive comments between the events", count=3),
    _bytes("crlf", payloads.crlf, "events with CR LF line ends"),
    _bytes("split-bytes", payloads.split_bytes, "chunks that end inside lines and characters", size=7),
    _bytes("gzip-bomb", payloads.gzip_bomb, "a small gzip body of so many MiB", mib=200),
    _wire("delay", deliveries.delay, "so much more time before the first byte", seconds=Seconds(1)),
    _wire("hang", deliveries.hang, "no answer, for ever", billed=False),
    _wire("hang-headers", deliveries.hang_headers, "headers, then silence"),
    _wire("hang-middle", deliveries.hang_middle, "part of the body, then silence", at=0.5),
    _wire("drip", deliveries.drip, "the body at so many bytes a second", bytes_per_s=1.0),
    _wire("slow-events", deliveries.slow_events, "so much time after each event", every=Seconds(5)),
    _wire("comments-only", deliveries.comments_only, "keep-alive comments for ever", every=Seconds(1)),
    _wire("endless-events", deliveries.endless_events, "the same event for ever", every=Seconds(5)),
    _wire("cut-before", deliveries.cut_before, "reset (or how=fin) before any work", billed=False, how="rst"),
    _wire("cut-lost", deliveries.cut_lost, "generated, then reset before the first byte", how="rst"),
    _wire("cut-headers", deliveries.cut_headers, "reset after the headers", how="rst"),
    _wire("cut-middle", deliveries.cut_middle, "reset after part of the body", at=0.5, how="rst"),
    _wire("cut-last", deliveries.cut_last, "reset one byte before the end", how="rst"),
    _wire("huge-body", deliveries.huge_body, "a body of so many MiB on one line", mib=1024),
    _wire("endless-headers", deliveries.endless_headers, "so many headers; 0 for no end", count=200_000),
    _wire("long-header", deliveries.long_header, "one header of so many KiB", kib=256),
    _wire("not-http", deliveries.not_http, "bytes that are no HTTP", billed=False),
)
