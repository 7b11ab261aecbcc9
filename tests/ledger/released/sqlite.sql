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
CREATE TABLE neuroon_ledger_new (
    shop_id TEXT NOT NULL DEFAULT '',
    order_id TEXT NOT NULL,
    -- Only what a shop put here itself: an event is kept by the broker until it is settled.
    payload JSON,
    -- Failed tries, as the recipe counts them.
    attempts INT NOT NULL DEFAULT 0,
    last_error VARCHAR(1024),
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    -- When it reached Neuroon.
    synced_at TIMESTAMP NULL,
    -- delivered, duplicate, unattributed, waiting, held, dead, discarded; once delivered it stays so.
    outcome TEXT,
    reason TEXT,
    status INT,
    attempt INT NOT NULL DEFAULT 0,
    replays INT NOT NULL DEFAULT 0,
    milliseconds REAL,
    outcome_at REAL,
    due_at REAL,
    -- SHA-256 of the payload that was posted.
    digest BLOB,
    received_at REAL,
    event_id TEXT,
    unattributed_at REAL,
    source TEXT,
    -- The last record's own outcome, and a checksum of the message it was about: a redelivered one is not counted again.
    last_outcome TEXT,
    trace INT,
    -- Records of messages that came back from a queue of ours.
    returns INT NOT NULL DEFAULT 0,
    -- Messages about this order, by where they are.
    received INT NOT NULL DEFAULT 0,
    delivered INT NOT NULL DEFAULT 0,
    duplicate INT NOT NULL DEFAULT 0,
    unattributed INT NOT NULL DEFAULT 0,
    waiting INT NOT NULL DEFAULT 0,
    dead INT NOT NULL DEFAULT 0,
    discarded INT NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, shop_id)
);
INSERT INTO neuroon_ledger_new (order_id, payload, attempts, last_error, created_at, synced_at, outcome, outcome_at)
SELECT order_id, payload, attempts, last_error, created_at, synced_at,
    CASE WHEN synced_at IS NOT NULL THEN 'delivered' END, CAST(strftime('%s', synced_at) AS REAL)
FROM neuroon_conversion_outbox;
DROP TABLE neuroon_conversion_outbox;
ALTER TABLE neuroon_ledger_new RENAME TO neuroon_conversion_outbox;
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
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    times INT NOT NULL DEFAULT 1,
    milliseconds REAL,
    due_at REAL,
    detail TEXT NOT NULL,
    PRIMARY KEY (order_id, shop_id, event, replays, attempt, reason, status, who)
) WITHOUT ROWID;
