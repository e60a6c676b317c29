-- Custom claims of a user's access tokens, as a JSON object; null is none.

ALTER TABLE keyturn_users ADD COLUMN claims TEXT;
