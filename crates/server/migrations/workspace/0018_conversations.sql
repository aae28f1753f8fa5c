-- Conversations of e-mails: their messages are found by the conversation. README.md describes roles, sections and rules.

-- section: workspace

-- A hash, because any text can be the name of a conversation, and a tree takes no long ones.
CREATE INDEX IF NOT EXISTS emails_conversation_idx ON public.emails USING hash (thread_id);
