-- The entries of one user, or of one event, after a place in the trail.

CREATE INDEX keyturn_audit_user_seq ON keyturn_audit (user_id, seq);
CREATE INDEX keyturn_audit_event_seq ON keyturn_audit (event, seq);
