-- Runs unchanged in PostgreSQL and SQLite. Times are whole seconds since 1970, truth is 0 or 1, the application makes the ids.

CREATE TABLE keyturn_users (
  id TEXT NOT NULL PRIMARY KEY,
  username TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  is_active SMALLINT NOT NULL CHECK (is_active IN (0, 1)),
  created_at BIGINT NOT NULL,
  last_login_at BIGINT
);

CREATE TABLE keyturn_keys (
  kid TEXT NOT NULL PRIMARY KEY,
  purpose TEXT NOT NULL CHECK (purpose IN ('access', 'internal')),
  algorithm TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('next', 'active', 'retired')),
  sealed TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- Of several processes that make the first key at once, one may win.
CREATE UNIQUE INDEX keyturn_keys_active ON keyturn_keys (purpose) WHERE state = 'active';
