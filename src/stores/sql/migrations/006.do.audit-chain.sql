-- The audit trail as a chain: each entry's place, and a hash over it and the one before. Null in entries of older versions.
-- `actor` is who did it where that was no request, `object` what it was done to where that is no user.

ALTER TABLE keyturn_audit ADD COLUMN seq BIGINT;
ALTER TABLE keyturn_audit ADD COLUMN hash TEXT;
ALTER TABLE keyturn_audit ADD COLUMN actor TEXT;
ALTER TABLE keyturn_audit ADD COLUMN object TEXT;

-- Of several processes that take the same place, one may win.
CREATE UNIQUE INDEX keyturn_audit_seq ON keyturn_audit (seq);
