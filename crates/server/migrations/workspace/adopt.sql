-- Makes a fresh clone of the template the workspace's own. Run once, by the superuser, before anybody else connects.
-- {{workspace}}, {{system}}, {{viewer}} are the workspace's roles, {{secret}} a literal that only the server knows.

REASSIGN OWNED BY kith_tpl TO {{workspace}};
REASSIGN OWNED BY kith_tpl_s TO {{system}};
-- What is left of the template's roles here are grants; the guards take any role but the workspace's for a stranger.
DROP OWNED BY kith_tpl, kith_tpl_s, kith_tpl_r;

-- Owners keep their rights; what the template granted to the others is granted again.
GRANT USAGE, CREATE ON SCHEMA public TO {{workspace}};
GRANT USAGE ON SCHEMA public TO {{viewer}};
GRANT SELECT ON public.activity TO {{workspace}};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {{viewer}};
ALTER DEFAULT PRIVILEGES FOR ROLE {{workspace}} GRANT SELECT ON TABLES TO {{viewer}};
ALTER DEFAULT PRIVILEGES FOR ROLE {{workspace}} GRANT SELECT ON SEQUENCES TO {{viewer}};
ALTER DEFAULT PRIVILEGES FOR ROLE {{system}} REVOKE EXECUTE ON ROUTINES FROM PUBLIC;

INSERT INTO kith.secret (token_hash, mac_key) VALUES (sha256(convert_to({{secret}}, 'UTF8')), '');
SELECT kith_guard.renew_key();

INSERT INTO kith_guard.role (part, role)
VALUES ('workspace', '{{workspace}}'::regrole), ('system', '{{system}}'::regrole), ('viewer', '{{viewer}}'::regrole);
SELECT kith_guard.snapshot();
