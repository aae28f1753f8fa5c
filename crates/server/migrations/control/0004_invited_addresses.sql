-- How many letters an address gets is looked up by the address.

CREATE INDEX invites_email ON invites (email, created_at);
