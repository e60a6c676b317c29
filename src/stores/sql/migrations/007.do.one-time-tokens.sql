-- Tokens for password resets, verifications and invitations: a hash of each, and of the user's state when it was issued.

CREATE TABLE keyturn_one_time_tokens (
  user_id TEXT NOT NULL,
  purpose TEXT NOT NULL,
  hash TEXT NOT NULL,
  user_state TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, purpose)
);

CREATE UNIQUE INDEX keyturn_one_time_tokens_hash ON keyturn_one_time_tokens (hash);
CREATE INDEX keyturn_one_time_tokens_expiry ON keyturn_one_time_tokens (expires_at);
