-- The management scopes of the actor that issued a token, separated by spaces. Null if the issuer may act on every user.

ALTER TABLE keyturn_one_time_tokens ADD COLUMN issuer_scopes TEXT;
