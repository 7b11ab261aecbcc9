-- needs: 2
-- The ledger: one row for each order of each shop. Times of ours are Unix seconds; those of the recipe stay what they were.
ALTER TABLE neuroon_conversion_outbox
    ALTER COLUMN order_id TYPE TEXT,
    -- Only what a shop put here itself: an event is kept by the broker until it is settled.
    ALTER COLUMN payload DROP NOT NULL,
    ADD COLUMN IF NOT EXISTS shop_id TEXT NOT NULL DEFAULT '',
    -- delivered, duplicate, unattributed, waiting, held, dead, discarded; once delivered it stays so.
    ADD COLUMN IF NOT EXISTS outcome TEXT,
    ADD COLUMN IF NOT EXISTS reason TEXT,
    ADD COLUMN IF NOT EXISTS status INT,
    ADD COLUMN IF NOT EXISTS attempt INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS replays INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS milliseconds DOUBLE PRECISION,
    ADD COLUMN IF NOT EXISTS outcome_at DOUBLE PRECISION,
    ADD COLUMN IF NOT EXISTS due_at DOUBLE PRECISION,
    -- SHA-256 of the payload that was posted.
    ADD COLUMN IF NOT EXISTS digest BYTEA,
    ADD COLUMN IF NOT EXISTS received_at DOUBLE PRECISION,
    ADD COLUMN IF NOT EXISTS event_id TEXT,
    ADD COLUMN IF NOT EXISTS unattributed_at DOUBLE PRECISION,
    ADD COLUMN IF NOT EXISTS source TEXT,
    -- The last record's own outcome, and a checksum of the message it was about: a redelivered one is not counted again.
    ADD COLUMN IF NOT EXISTS last_outcome TEXT,
    ADD COLUMN IF NOT EXISTS trace BIGINT,
    -- Records of messages that came back from a queue of ours.
    ADD COLUMN IF NOT EXISTS returns INT NOT NULL DEFAULT 0,
    -- Messages about this order, by where they are.
    ADD COLUMN IF NOT EXISTS received INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS delivered INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS duplicate INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS unattributed INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS waiting INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS dead INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS discarded INT NOT NULL DEFAULT 0;
-- concurrently
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS neuroon_conversion_outbox_key
ON neuroon_conversion_outbox (order_id, shop_id);
-- at once
ALTER TABLE neuroon_conversion_outbox
    DROP CONSTRAINT IF EXISTS neuroon_conversion_outbox_pkey,
    ADD CONSTRAINT neuroon_conversion_outbox_pkey PRIMARY KEY USING INDEX neuroon_conversion_outbox_key;
-- in batches
UPDATE neuroon_conversion_outbox SET outcome = 'delivered', outcome_at = extract(epoch FROM synced_at::TIMESTAMPTZ)
WHERE synced_at IS NOT NULL AND outcome IS NULL AND order_id >= $1 AND order_id <= $2;
-- concurrently
-- What a flush looks for; empty where no shop uses the table as an outbox.
CREATE INDEX CONCURRENTLY IF NOT EXISTS neuroon_outbox_unsynced
ON neuroon_conversion_outbox (created_at, order_id) WHERE synced_at IS NULL AND payload IS NOT NULL;
