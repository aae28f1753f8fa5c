"""Runs the queries with which pgAdmin registers a server and opens its tree, from the templates of pgAdmin itself.

The argument is the directory into which pgAdmin's package was unpacked. pgAdmin picks a template by the server's version, and fills in
the objects that a person has opened. This does the same for every node of the tree, with the objects of a workspace.
"""

import os
import pathlib
import re
import sys

import jinja2
import psycopg

root = pathlib.Path(sys.argv[1])
conn = psycopg.connect(os.environ["KITH_URL"], autocommit=True)
version = conn.info.server_version

# What pgAdmin runs when it connects (utils/driver/psycopg3/connection.py).
CONNECT = [
    "SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings()"
    " WHERE name = 'bytea_output'; SET client_encoding='UTF8';",
    "SELECT version()",
    "SELECT db.oid as did, db.datname, db.datallowconn, pg_encoding_to_char(db.encoding) AS serverencoding,"
    " has_database_privilege(db.oid, 'CREATE') as cancreate, datistemplate FROM pg_catalog.pg_database db WHERE db.datname = current_database()",
    "SELECT gss_authenticated, encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()",
    "SELECT roles.oid as id, roles.rolname as name, roles.rolsuper as is_superuser,"
    " CASE WHEN 'pg_signal_backend'=ANY(ARRAY(WITH RECURSIVE cte AS (SELECT pg_roles.oid,pg_roles.rolname FROM pg_catalog.pg_roles"
    " WHERE pg_roles.oid = roles.oid UNION ALL SELECT m.roleid,pgr.rolname FROM cte cte_1 JOIN pg_catalog.pg_auth_members m ON m.member = cte_1.oid"
    " JOIN pg_catalog.pg_roles pgr ON pgr.oid = m.roleid) SELECT rolname FROM cte)) THEN True ELSE False END as can_signal_backend"
    " FROM pg_catalog.pg_roles as roles WHERE rolname = current_user",
]
# The templates that are run when the tree and the dashboard open.
OPENED = re.compile(
    r"^(?!.*(ppas|pga_job|pga_schedule|jobs|pgd_|test|resource_groups|edb|synonyms|packages))"
    r".*(/(nodes|count|check_recovery|replication_type|stats|get_encodings|get_ctypes|variables|get_oid|is_catalog|allowed_privs|activity|locks|prepared"
    r"|config|dashboard_stats|replication_slots|replication_stats|get_schemas|properties|acl|defacl|columns|depend[a-z]*)\.sql)$")

# Closed on purpose (SECURITY.md): how many objects each role has in each database, and subscriptions, which workspaces can't have.
CLOSED = {"permission denied for table pg_shdepend", "permission denied for table pg_subscription", "permission denied for view pg_stat_subscription"}


def one(sql):
    return conn.execute(sql).fetchone()[0]


for sql in CONNECT:
    conn.execute(sql)
conn.execute("CREATE SCHEMA IF NOT EXISTS own")
conn.execute("CREATE TABLE IF NOT EXISTS own.things (id serial PRIMARY KEY, name text UNIQUE, kind text CHECK (kind <> ''))")
objects = {
    "did": one("SELECT oid FROM pg_database WHERE datname = current_database()"),
    "scid": one("SELECT 'public'::regnamespace::oid"), "nspoid": one("SELECT 'public'::regnamespace::oid"),
    "parent_id": one("SELECT 'public'::regnamespace::oid"),
    "tid": one("SELECT 'public.contacts'::regclass::oid"), "last_system_oid": 16383, "datlastsysoid": 16383, "show_sysobj": False,
    "showsysobj": False, "show_system_objects": False, "template": False, "server_type": "pg", "settings": [],
    "object_type": "table", "schema_restrictions": None, "gid": 1, "sid": 1,
    "chart_names": ["session_stats", "tps_stats", "ti_stats", "to_stats", "bio_stats"],
    "CATALOGS": type("C", (), {"VIEWS_LABELS": lambda *_: "", "LABELS": lambda *_: "", "LABELS_SCHEMACOL": lambda *_: "",
                               "DB_SUPPORT": lambda *_: "''"})(),
}


class Templates(jinja2.BaseLoader):
    """Finds a template as pgAdmin does: the newest one for the server's version."""

    def __init__(self):
        self.files = {}
        for path in sorted(root.rglob("*")):
            parts = path.parts
            if path.is_file() and "templates" in parts:
                name = "/".join(parts[len(parts) - 1 - parts[::-1].index("templates") + 1:])
                self.files.setdefault(name, path)

    def get_source(self, environment, name):
        found = re.sub(r"/#\d+#", "", name)
        candidates = [(self.since(file), file) for file in self.files if self.plain(file) == self.plain(found)]
        usable = [it for it in candidates if it[0] <= version]
        if not usable:
            raise jinja2.TemplateNotFound(name)
        path = self.files[max(usable)[1]]
        return path.read_text(), str(path), lambda: True

    @staticmethod
    def plain(name):
        return re.sub(r"/(default|\d+(\.\d+)?_plus|pg)(?=/)", "", name)

    @staticmethod
    def since(name):
        found = re.search(r"/(\d+)(?:\.(\d+))?_plus/", name)
        if not found:
            return 0
        return int(found[1]) * 10000 + int(found[2] or 0) * (100 if int(found[1]) < 10 else 1)


environment = jinja2.Environment(loader=Templates(), extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
environment.filters.update({
    "qtIdent": lambda conn, *names: ".".join('"' + str(name).replace('"', '""') + '"' for name in names),
    "qtLiteral": lambda value, conn=None, *_: "NULL" if isinstance(value, jinja2.Undefined) or value is None else "'" + str(value).replace("'", "''") + "'",
    "qtTypeIdent": lambda conn, *names: ".".join(names), "hasAny": lambda data, keys: False,
})
environment.globals.update({"_": lambda text: text, "conn": None})

ran, unfit, failed = 0, [], []
names = sorted({Templates.plain(name) for name in environment.loader.files if OPENED.match("/" + name)})
for name in names:
    try:
        sql = environment.get_template(name).render(**objects)
    except Exception as error:
        unfit.append(f"{name}: {error}")
        continue
    if not sql.strip():
        continue
    try:
        conn.execute(sql.encode())
        ran += 1
    except psycopg.errors.InsufficientPrivilege as error:
        if str(error).splitlines()[0] not in CLOSED:
            failed.append(f"{name}: {error}")
    except psycopg.Error as error:
        # It needs an object that has no counterpart here: a foreign server, a subscription …
        unfit.append(f"{name}: {str(error).splitlines()[0]}")
if "-v" in sys.argv:
    print("\n".join(unfit))
print(f"{ran} of pgAdmin's queries ran, {len(unfit)} do not fit a workspace")
assert ran >= 100, ran
assert not failed, "\n".join(failed)
