-- Users whose sessions an import has yet to end: it writes them together with the digests, so that an interruption loses none.

CREATE TABLE keyturn_pending_logouts (
  id TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL
);
