"""What each reason means and what to do about it, in plain words; docs/runbook.md tells the same at length."""

from dataclasses import dataclass

from consumer.core.outcome import DeadReason, RetryReason


@dataclass(frozen=True, slots=True)
class Advice:
    """`meaning` in a sentence; `steps` to take in turn, the last of them a command where there is one."""

    meaning: str
    steps: tuple[str, ...]


DEAD = {
    DeadReason.MALFORMED: Advice(
        "The event cannot be read as an order; the detail names the field and what was expected there.",
        (
            "Tell whoever publishes the events: every further one like it dies too.",
            "To repair one: `dlq show ID --reveal`, save its event, mend it, `dlq replay ID --event FILE`.",
            "What is no order at all: `dlq discard ID --why ...`.",
        ),
    ),
    DeadReason.REFUND: Advice(
        "An amount is negative: money went back to the customer. Neuroon's conversions are never negative.",
        ("Nothing is lost. Export if the shop wants a list, then `dlq discard --reason refund --why 'refunds'`.",),
    ),
    DeadReason.UNKNOWN_SHOP: Advice(
        "The event names a shop that is not configured, or that is switched off.",
        (
            "Add the shop, or the name as an alias of one, to the shops file; it is read again by itself.",
            "Then `dlq replay --reason unknown_shop --shop SHOP`.",
        ),
    ),
    DeadReason.REFUSED: Advice(
        "Neuroon said that this payload will never do; the detail is its own message.",
        (
            "One order: repair the event and `dlq replay ID --event FILE`.",
            "Many with one fingerprint: their common cause is in the publisher, or in a change at Neuroon.",
            "Once that is mended: `dlq replay --fingerprint FINGERPRINT`.",
        ),
    ),
    DeadReason.EXHAUSTED: Advice(
        "Every try failed, or the shop was on hold for too long; the order itself may be perfectly good.",
        (
            "See that Neuroon answers again and the shop's key works: `neuroon-consumer check`.",
            "Then bring all back: `dlq replay --reason exhausted --follow`.",
        ),
    ),
    DeadReason.EXPIRED: Advice(
        "The time in which the order was to be delivered is over: its publisher gave the message a time to live.",
        (
            "Ask whoever publishes the events why messages expire; the consumer may have been away for longer.",
            "To send it all the same: `dlq replay --reason expired`.",
        ),
    ),
    DeadReason.BUG: Advice(
        "Our own code failed on it at every try; the detail is the kind of error, the log has its trace.",
        (
            "Report it with the log line and `dlq show ID`, which is masked.",
            "After the update: `dlq replay --reason bug`.",
        ),
    ),
    DeadReason.CRASHED: Advice(
        "The consumer died on it a hundred times, so that the broker took it away; or somebody moved it by hand.",
        (
            "Look for killed consumers at the time of death: out of memory, a crash, a restart loop.",
            "Replay one alone and watch: `dlq replay ID --follow`. Only then the others.",
        ),
    ),
}

# Where the status tells more than the reason does.
REFUSED_BY_STATUS = {
    400: "400: a field is wrong; the detail names it.",
    409: "409: Neuroon calls it a conflict. Where that means that the order is recorded, set NEUROON_CONFLICT=known.",
    413: "413: the payload is too large: an order of very many lines.",
    415: "415: the content type was refused, which our requests never change: look for a proxy in between.",
    422: "422: well-formed, and still not acceptable; the detail says why.",
}

WAITING = {
    RetryReason.THROTTLED: Advice(
        "Neuroon answered 429: too many requests. It waits as long as was asked for, and no try is used up.",
        ("Nothing to do. If it lasts, lower CONSUMER_CONCURRENCY or ask Neuroon for a higher limit.",),
    ),
    RetryReason.UNAVAILABLE: Advice(
        "Neuroon did not answer, blamed itself (5xx, 408, 421, 425), or refused for now only (Retry-After). "
        "It is tried again up the ladder.",
        ("Look at Neuroon's status and at the network between. What dies meanwhile comes back with a replay.",),
    ),
    RetryReason.HELD: Advice(
        "Neuroon refused the shop, not the order (401, 402, 403, 404, 407, 423, 451, redirect), or an HTML page came "
        "instead of its answer: key, shop id, origin, base URL, account or a firewall between.",
        ("`neuroon-consumer check` names the shop. Mend its key or origin; the orders go on by themselves.",),
    ),
    RetryReason.BUG: Advice(
        "Our own code failed on it; each try is counted, and the last ends in the dead letters.",
        ("Look for the trace in the log, and report it.",),
    ),
}


def advice(reason: str, status: int | None = None) -> Advice:
    """What to do about a dead letter of this reason; also of one that only a newer version knows."""
    if reason not in DEAD:
        return Advice(
            f"This version does not know the reason {reason!r}.", ("Look at the letter with a newer version.",)
        )
    found = DEAD[DeadReason(reason)]
    hint = REFUSED_BY_STATUS.get(status or 0) if reason == DeadReason.REFUSED else None
    return found if hint is None else Advice(f"{found.meaning} {hint}", found.steps)
