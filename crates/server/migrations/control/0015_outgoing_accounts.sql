-- The account through which an e-mail was tried.

ALTER TABLE outgoing_emails ADD COLUMN account text;
COMMENT ON COLUMN outgoing_emails.account IS 'A hash that names the account at the provider through which it was last tried. Another account does not know the idempotency key.';
