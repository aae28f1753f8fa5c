-- Workspaces that their owners have deleted. Their data is dropped a week later.

ALTER TABLE workspaces ADD COLUMN deleted_at timestamptz;
COMMENT ON COLUMN workspaces.deleted_at IS 'When an owner deleted it. It has no members, keys or connections since then.';
CREATE INDEX workspaces_deleted ON workspaces (deleted_at) WHERE deleted_at IS NOT NULL;
