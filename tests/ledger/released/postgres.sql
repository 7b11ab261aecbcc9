-- The outbox as Neuroon's recipe has it. Where a shop made it before us, its table and its rows are taken over as they are.
CREATE TABLE IF NOT EXISTS neuroon_conversion_outbox (
    order_id VARCHAR(64) PRIMARY KEY,
    payload JSON NOT NULL,
    attempts INT NOT NULL DEFAULT 0,
    last_error VARCHAR(1024),
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    synced_at TIMESTAMP NULL
);
-- The ledger: one row for each order of each shop. Times of ours are Unix seconds; those of the recipe stay what they were.
ALTER TABLE neuroon_conversion_outbox
    ALTER COLUMN order_id TYPE TEXT,
    -- Only what a shop put here itself: an event is kept by the broker until it is settled.
    ALTER COLUMN payload DROP NOT NULL,
    ADD COLUMN shop_id TEXT NOT NULL DEFAULT '',
    -- delivered, duplicate, unattributed, waiting, held, dead, discarded; once delivered it stays so.
    ADD COLUMN outcome TEXT,
    ADD COLUMN reason TEXT,
    ADD COLUMN status INT,
    ADD COLUMN attempt INT NOT NULL DEFAULT 0,
    ADD COLUMN replays INT NOT NULL DEFAULT 0,
    ADD COLUMN milliseconds DOUBLE PRECISION,
    ADD COLUMN outcome_at DOUBLE PRECISION,
    ADD COLUMN due_at DOUBLE PRECISION,
    -- SHA-256 of the payload that was posted.
    ADD COLUMN digest BYTEA,
    ADD COLUMN received_at DOUBLE PRECISION,
    ADD COLUMN event_id TEXT,
    ADD COLUMN unattributed_at DOUBLE PRECISION,
    ADD COLUMN source TEXT,
    -- The last record's own outcome, and a checksum of the message it was about: a redelivered one is not counted again.
    ADD COLUMN last_outcome TEXT,
    ADD COLUMN trace BIGINT,
    -- Records of messages that came back from a queue of ours.
    ADD COLUMN returns INT NOT NULL DEFAULT 0,
    -- Messages about this order, by where they are.
    ADD COLUMN received INT NOT NULL DEFAULT 0,
    ADD COLUMN delivered INT NOT NULL DEFAULT 0,
    ADD COLUMN duplicate INT NOT NULL DEFAULT 0,
    ADD COLUMN unattributed INT NOT NULL DEFAULT 0,
    ADD COLUMN waiting INT NOT NULL DEFAULT 0,
    ADD COLUMN dead INT NOT NULL DEFAULT 0,
    ADD COLUMN discarded INT NOT NULL DEFAULT 0;
ALTER TABLE neuroon_conversion_outbox DROP CONSTRAINT neuroon_conversion_outbox_pkey;
ALTER TABLE neuroon_conversion_outbox ADD PRIMARY KEY (order_id, shop_id);
UPDATE neuroon_conversion_outbox SET outcome = 'delivered', outcome_at = extract(epoch FROM synced_at::TIMESTAMPTZ)
WHERE synced_at IS NOT NULL;
-- What a flush looks for; empty where no shop uses the table as an outbox.
CREATE INDEX neuroon_outbox_unsynced ON neuroon_conversion_outbox (created_at, order_id)
WHERE synced_at IS NULL AND payload IS NOT NULL;
-- What happened to an order beside its delivery. What happens again in the same way (a held order is looked at every
-- minute) is counted in its row, so that no order's story grows without bound.
CREATE TABLE neuroon_order_happenings (
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
