-- The audit trail. Rows are only ever added; they outlive the users they name.

CREATE TABLE keyturn_audit (
  id TEXT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  event TEXT NOT NULL,
  result TEXT NOT NULL,
  user_id TEXT,
  sid TEXT,
  ip TEXT NOT NULL,
  request_id TEXT NOT NULL
);

CREATE INDEX keyturn_audit_at ON keyturn_audit (at);
CREATE INDEX keyturn_audit_user ON keyturn_audit (user_id, at);
