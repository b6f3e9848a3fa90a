"""What can go wrong with one call to a model, drawn as a tree.

    CallError
    ├── CallDeadlineError          deadline               the job's own deadline came
    ├── ConnectFailedError         connect_failed         no connection: name, network, refused, too slow
    ├── TlsFailedError             tls_failed             the other side could not prove who it is
    ├── AccessError                                       this key or model cannot be used at all
    │   ├── AuthFailedError        auth_failed            no key, a wrong key, or one without the right
    │   ├── ModelNotFoundError     model_not_found        the provider does not know the model or path
    │   └── QuotaExhaustedError    quota_exhausted        credit or a spending cap is used up
    ├── ThrottledError             throttled              too many requests or tokens per minute
    ├── OverloadedError            overloaded             the provider has no capacity now
    ├── ServerFailedError          server_error           the provider failed before it made an answer
    │   └── GatewayFailedError     gateway_error          something between us and the model gave up
    ├── CallTimeoutError
    │   ├── FirstContentTimeoutError  timeout_first_content
    │   ├── IdleTimeoutError          timeout_idle
    │   └── WholeCallTimeoutError     timeout_call
    ├── ConnectionLostError        connection_lost        gone after sending, before any content
    ├── StreamBrokenError          stream_broken          gone in the middle of the answer
    ├── DegenerateError            degenerate             the answer became white space or a loop, and was stopped
    ├── ResponseGoneError          response_gone          the provider does not know any more what it worked on
    ├── BadResponseError           bad_response           what came is not an answer in the wire format
    │   ├── RedirectedError        redirected             an endpoint that points elsewhere is not followed
    │   └── ResponseTooLargeError  response_too_large     cut at the size cap
    └── RequestRejectedError       request_rejected       the provider will not take this request
        ├── SchemaUnsupportedError schema_unsupported     it will not take this schema in this mode
        ├── ContextTooLongError    context_too_long       it does not fit the model's window
        │   └── InputTruncatedError input_truncated       the provider cut it to fit, without a word
        └── ContentFilteredError   content_filtered       its policy forbids the prompt

What to do about an error is a property of its class. Messages are ours and safe to show; a provider's words
are only in ``detail``, bounded, for the ledger.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from penstock_schemas.results import Usage
    from penstock_worker.llm.rate_limits import RateLimits

Billed = Literal["no", "unknown", "yes"]

MAX_DETAIL_BYTES = 256


def bounded(text: str, limit_bytes: int = MAX_DETAIL_BYTES) -> str:
    """Cut *text* to at most *limit_bytes* of UTF-8, with control characters replaced by spaces."""
    clean = "".join(ch if ch.isprintable() else " " for ch in text[:limit_bytes])
    return clean.encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore")


class CallError(Exception):
    """A target gave no usable answer."""

    code: str = "call_failed"
    """Stable, for routing, metrics and consumers."""
    message: str = "The model could not be called."
    """Safe to show to a consumer."""
    retry: bool = False
    """Another try of the same target, later, can help."""
    next_target: bool = True
    """Another target can help."""
    trips_breaker: bool = False
    """Speaks against the target's health. Throttling does not: that is the limiter's."""
    if_sent: Billed = "unknown"
    """Whether the provider bills a call that ended so, once it was sent."""

    def __init__(
        self,
        *,
        sent: bool = True,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        retry: bool | None = None,
        detail: str = "",
        message: str | None = None,
        usage: "Usage | None" = None,
        received_bytes: int = 0,
    ) -> None:
        self.message = message or type(self).message
        super().__init__(self.message)
        self.sent = sent
        """False when surely no byte of the request left; True when it did or may have."""
        self.status = status
        """The HTTP status; None when no response began."""
        self.request_id = request_id
        """The provider's id of the call."""
        self.retry_after_s = retry_after_s
        """How long the provider asks to wait, ≥ 0; None when it does not say."""
        if retry is not None:
            self.retry = retry
        self.detail = bounded(detail)
        """The provider's words, at most 256 bytes; for the ledger, never for a consumer or a log."""
        self.usage = usage
        """Tokens the provider had reported before it failed; None when it had not."""
        self.received_bytes = received_bytes
        """UTF-8 bytes of visible answer seen before it failed; a lower bound of what was generated."""
        self.saved_tokens = 0
        """About how many tokens of the output cap were not generated because we cut the call; 0 when we did not."""
        self.limits: RateLimits | None = None
        """What the response said about the account's limits; None when it said nothing."""

    @property
    def billed(self) -> Billed:
        """Whether this call costs money: ``no``, ``yes``, or ``unknown`` (hold its worst case)."""
        if not self.sent:
            return "no"
        return "yes" if self.usage is not None or self.received_bytes else self.if_sent

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code}, status={self.status}, sent={self.sent})"


class CallDeadlineError(CallError):
    """The job's deadline came before the answer did."""

    code = "deadline"
    message = "The deadline came before the model answered."
    next_target = False


class ConnectFailedError(CallError):
    """No connection: the name did not resolve, nobody listens, or it took too long. Nothing was sent."""

    code = "connect_failed"
    message = "The model's endpoint could not be reached."
    retry = True
    trips_breaker = True
    if_sent = "no"


class TlsFailedError(CallError):
    """The endpoint's certificate or TLS version was refused; no key was sent, and no retry will mend it."""

    code = "tls_failed"
    message = "The model's endpoint could not prove its identity."
    trips_breaker = True
    if_sent = "no"


class AccessError(CallError):
    """This key or model cannot be used; every further call would fail alike, so the target trips at once."""

    trips_breaker = True
    if_sent = "no"


class AuthFailedError(AccessError):
    """The key is missing, wrong, or without the right to this model."""

    code = "auth_failed"
    message = "The model provider refused the credentials."


class ModelNotFoundError(AccessError):
    """The provider knows no such model or path."""

    code = "model_not_found"
    message = "The model provider does not know this model."


class QuotaExhaustedError(AccessError):
    """Credit or a spending cap of the account is used up; waiting does not help, paying does."""

    code = "quota_exhausted"
    message = "The account at the model provider has no credit left."


class ThrottledError(CallError):
    """Too many requests or tokens for this key; wait ``retry_after_s``, together with all its other users."""

    code = "throttled"
    message = "The model provider limits the rate of requests."
    retry = True
    if_sent = "no"


class OverloadedError(CallError):
    """The provider has no capacity now, for anyone; back off for longer than after a failure."""

    code = "overloaded"
    message = "The model provider is overloaded."
    retry = True
    trips_breaker = True
    if_sent = "no"


class ServerFailedError(CallError):
    """The provider answered that it failed (408, 409, 500 and alike)."""

    code = "server_error"
    message = "The model provider failed."
    retry = True
    trips_breaker = True
    if_sent: Billed = "no"


class GatewayFailedError(ServerFailedError):
    """A gateway gave up waiting (502, 504); the model behind it may have worked on, and be billed."""

    code = "gateway_error"
    message = "A gateway in front of the model failed."
    if_sent = "unknown"


class CallTimeoutError(CallError):
    """One of our own limits on a call was reached; the connection was closed."""

    retry = True
    trips_breaker = True


class FirstContentTimeoutError(CallTimeoutError):
    """The request was sent, and no content came within ``first_content_s``."""

    code = "timeout_first_content"
    message = "The model did not begin to answer in time."


class IdleTimeoutError(CallTimeoutError):
    """Content had come, and then none for ``content_idle_s``."""

    code = "timeout_idle"
    message = "The model stopped in the middle of its answer."
    if_sent = "yes"


class WholeCallTimeoutError(CallTimeoutError):
    """The answer was not whole within ``whole_call_s``."""

    code = "timeout_call"
    message = "The model did not finish its answer in time."


class ConnectionLostError(CallError):
    """The connection ended after the request was sent and before any content."""

    code = "connection_lost"
    message = "The connection to the model was lost."
    retry = True
    trips_breaker = True


class StreamBrokenError(CallError):
    """The answer ended without its end: what came is never a success, and is never joined with another."""

    code = "stream_broken"
    message = "The model's answer broke off."
    retry = True
    trips_breaker = True
    if_sent = "yes"


class DegenerateError(CallError):
    """The answer turned into white space or into one piece repeated; the connection was cut to save the rest."""

    code = "degenerate"
    message = "The model repeated itself without end."
    retry = True
    if_sent = "yes"


class ResponseGoneError(CallError):
    """Work in the background is looked for by its id, and the provider knows no such id (any more)."""

    code = "response_gone"
    message = "The model provider lost what it was working on."
    retry = True


class BadResponseError(CallError):
    """A response that is not an answer: empty, HTML, cut JSON, no choices, an encoding we did not ask for."""

    code = "bad_response"
    message = "The model's endpoint sent something that is not an answer."
    retry = True
    trips_breaker = True


class RedirectedError(BadResponseError):
    """The endpoint answered with a redirect, which is never followed: the key is for this endpoint alone."""

    code = "redirected"
    message = "The model's endpoint points to another address."
    retry = False
    if_sent = "no"


class ResponseTooLargeError(BadResponseError):
    """The decoded body passed ``max_body_bytes``; the connection was cut."""

    code = "response_too_large"
    message = "The model's answer is too large."
    retry = False
    trips_breaker = False
    if_sent = "yes"


class RequestRejectedError(CallError):
    """The provider will not take this request, now or later (400, 413, 422): the fault is ours, and goes along."""

    code = "request_rejected"
    message = "The model provider rejected the request."
    next_target: bool = False
    if_sent: Billed = "no"


class SchemaUnsupportedError(RequestRejectedError):
    """The provider will not take this schema in this mode; the same call in prompt mode can work."""

    code = "schema_unsupported"
    message = "The model provider does not support the answer's schema."
    next_target = True


class ContextTooLongError(RequestRejectedError):
    """Input and output cap do not fit the model's window; only a target with a larger one can help."""

    code = "context_too_long"
    message = "The input does not fit the model's window."
    next_target = True


class InputTruncatedError(ContextTooLongError):
    """The provider cut the input to fit its window and answered all the same: an answer to another question."""

    code = "input_truncated"
    message = "The model's server cut the input off before it reached the model."
    if_sent = "yes"


class ContentFilteredError(RequestRejectedError):
    """The provider's policy forbids the prompt; whether another target may be asked is policy too."""

    code = "content_filtered"
    message = "The model provider's policy forbids the input."
