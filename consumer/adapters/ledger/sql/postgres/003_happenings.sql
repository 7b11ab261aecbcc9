-- needs: 3
-- What happened to an order beside its delivery. What happens again in the same way (a held order is looked at every
-- minute) is counted in its row, so that no order's story grows without bound.
CREATE TABLE IF NOT EXISTS neuroon_order_happenings (
    shop_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    event TEXT NOT NULL,
    replays INT NOT NULL,
    attempt INT NOT NULL,
    reason TEXT NOT NULL,
    status INT NOT NULL,
    who TEXT NOT NULL,
    first_at DOUBLE PRECISION NOT NULL,
    last_at DOUBLE PRECISION NOT NULL,
    times INT NOT NULL DEFAULT 1,
    milliseconds DOUBLE PRECISION,
    due_at DOUBLE PRECISION,
    detail TEXT NOT NULL,
    PRIMARY KEY (order_id, shop_id, event, replays, attempt, reason, status, who)
);
