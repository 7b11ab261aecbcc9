-- needs: 1
-- The outbox as Neuroon's recipe has it. Where a shop made it before us, its table and its rows are taken over as they are.
CREATE TABLE IF NOT EXISTS neuroon_conversion_outbox (
    order_id VARCHAR(64) PRIMARY KEY,
    payload JSON NOT NULL,
    attempts INT NOT NULL DEFAULT 0,
    last_error VARCHAR(1024),
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    synced_at TIMESTAMP NULL
);
