-- Other services, with what a secret of theirs hashes to. The previous secret stays good for as long as its rotation said.

CREATE TABLE keyturn_clients (
  id TEXT NOT NULL PRIMARY KEY,
  secret_hash TEXT NOT NULL,
  previous_hash TEXT,
  previous_until BIGINT,
  scopes TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  rotated_at BIGINT NOT NULL
);
