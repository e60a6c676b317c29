-- A key's life: published as next, then active, then retired. Null where it has not come to that.

ALTER TABLE keyturn_keys ADD COLUMN activated_at BIGINT;
ALTER TABLE keyturn_keys ADD COLUMN retired_at BIGINT;
UPDATE keyturn_keys SET activated_at = created_at WHERE state = 'active';

-- Of several processes that publish the next key at once, one may win.
CREATE UNIQUE INDEX keyturn_keys_next ON keyturn_keys (purpose) WHERE state = 'next';
