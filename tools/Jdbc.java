// Connects with pgjdbc, as DBeaver and BI tools do: the driver's metadata, `currentSchema`, batches, a cursor, temporary tables, and what
// DBeaver itself asks when it opens its tree.

import java.net.URI;
import java.sql.*;
import java.util.*;

public class Jdbc {
    // DBeaver: org.jkiss.dbeaver.ext.postgresql.model (PostgreDataSource, PostgreDatabase, PostgreSchema, PostgreRole, PostgreTablespace …).
    static final String[] DBEAVER = {
        "SELECT current_schema(),session_user",
        "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
        "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname=current_database() ORDER BY db.datname",
        "SELECT a.oid,a.*,pd.description FROM pg_catalog.pg_roles a left join pg_catalog.pg_shdescription pd on a.oid = pd.objoid ORDER BY a.rolname",
        "SELECT t.oid,t.*,pg_tablespace_location(t.oid) loc FROM pg_catalog.pg_tablespace t ORDER BY t.oid",
        "SELECT x.oid,x.* FROM pg_catalog.pg_settings s CROSS JOIN LATERAL (SELECT 1 AS oid, s.name) x LIMIT 5",
        "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')",
        "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE c.relnamespace='public'::regnamespace AND c.relkind not in ('i','I','c')",
        "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.oid='contacts'::regclass ORDER BY a.attnum",
        "SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, case when c.contype='c' then pg_get_constraintdef(c.oid) else null end consrc_copy FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass WHERE c.conrelid='contacts'::regclass ORDER BY c.oid",
        "SELECT i.*,i.indkey as keys,c.relname,c.relnamespace,c.relam,c.reltablespace,tc.relname as tabrelname,dsc.description,pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr,pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr,pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size,pg_catalog.pg_stat_get_numscans(i.indexrelid) as index_num_scans FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid WHERE i.indrelid='contacts'::regclass",
        "SELECT x.oid,x.*,p.relnamespace as proc_schema_id,p.relname as tabrelname,d.description FROM pg_catalog.pg_trigger x INNER JOIN pg_catalog.pg_class p ON p.oid=x.tgrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=x.oid WHERE x.tgrelid='contacts'::regclass AND NOT x.tgisinternal",
        "SELECT p.oid as poid,p.*,pg_catalog.pg_get_expr(p.proargdefaults, 0) as arg_defaults,d.description FROM pg_catalog.pg_proc p LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=p.oid WHERE p.pronamespace='public'::regnamespace ORDER BY p.proname LIMIT 50",
        "SELECT e.oid,cfg.tbls,n.nspname as schema_name,e.* FROM pg_catalog.pg_extension e join pg_namespace n on n.oid =e.extnamespace left join (select ARRAY_AGG(ns.nspname || '.' ||  cls.relname) tbls, oid_ext from (select unnest(e1.extconfig) oid , e1.oid oid_ext from pg_catalog.pg_extension e1 ) c join pg_class cls on cls.oid = c.oid join pg_namespace ns on ns.oid = cls.relnamespace group by oid_ext ) cfg on cfg.oid_ext = e.oid ORDER BY e.oid",
        "SELECT sa.* FROM pg_catalog.pg_stat_activity sa",
        "SELECT c.relname,pg_catalog.pg_total_relation_size(c.oid) as total_rel_size,pg_catalog.pg_relation_size(c.oid) as rel_size FROM pg_class c WHERE c.relnamespace='public'::regnamespace",
        "SELECT pg_catalog.pg_database_size(current_database())",
        "SELECT relacl, * FROM information_schema.table_privileges JOIN pg_class ON relname = table_name WHERE table_schema='public' AND table_name='contacts'",
        "select c.* from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation",
    };

    static int rows(ResultSet found) throws SQLException {
        int count = 0;
        while (found.next()) count++;
        return count;
    }

    static void atLeast(int least, ResultSet found) throws SQLException {
        int count = rows(found);
        if (count < least) throw new AssertionError(count + " rows, not " + least);
    }

    public static void main(String[] arguments) throws Exception {
        URI url = new URI(System.getenv("KITH_URL"));
        String[] user = url.getUserInfo().split(":");
        String address = "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath() + "?sslmode=disable";
        Properties settings = new Properties();
        settings.put("user", user[0]);
        settings.put("password", user[1]);
        try (Connection conn = DriverManager.getConnection(address, settings); Statement statement = conn.createStatement()) {
            DatabaseMetaData data = conn.getMetaData();
            atLeast(12, data.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}));
            atLeast(4, data.getSchemas());
            atLeast(1, data.getCatalogs());
            atLeast(10, data.getColumns(null, "public", "contacts", "%"));
            atLeast(1, data.getPrimaryKeys(null, "public", "contacts"));
            atLeast(1, data.getImportedKeys(null, "public", "contacts"));
            atLeast(2, data.getExportedKeys(null, "public", "contacts"));
            atLeast(2, data.getIndexInfo(null, "public", "contacts", false, true));
            atLeast(1, data.getTablePrivileges(null, "public", "contacts"));
            atLeast(1, data.getColumnPrivileges(null, "public", "contacts", "email"));
            atLeast(1, data.getFunctions(null, "public", "record_activity"));
            atLeast(50, data.getTypeInfo());
            atLeast(0, data.getProcedures(null, "public", "%"));
            atLeast(0, data.getBestRowIdentifier(null, "public", "contacts", DatabaseMetaData.bestRowSession, false));
            data.getSQLKeywords();
            for (String sql : DBEAVER) {
                try (ResultSet found = statement.executeQuery(sql)) {
                    rows(found);
                } catch (SQLException error) {
                    throw new AssertionError(sql, error);
                }
            }
        }
        try (Connection conn = DriverManager.getConnection(address + "&currentSchema=public&reWriteBatchedInserts=true&ApplicationName=jdbc", settings)) {
            conn.setAutoCommit(false);
            try (PreparedStatement insert = conn.prepareStatement("INSERT INTO contacts (email, custom) VALUES (?, ?::jsonb)")) {
                for (int n = 0; n < 200; n++) {
                    insert.setString(1, "j" + n + "@jdbc.example");
                    insert.setString(2, "{\"n\": " + n + "}");
                    insert.addBatch();
                }
                insert.executeBatch();
            }
            try (Statement statement = conn.createStatement()) {
                statement.setFetchSize(20);
                atLeast(200, statement.executeQuery("SELECT * FROM contacts"));
                // citext compares without case, whatever the path is.
                atLeast(1, statement.executeQuery("SELECT 1 FROM contacts WHERE email = 'J7@JDBC.example'"));
                statement.execute("CREATE TEMP TABLE kept AS SELECT id FROM contacts");
                atLeast(200, statement.executeQuery("SELECT * FROM kept JOIN contacts USING (id)"));
                // Flyway and Liquibase.
                atLeast(1, statement.executeQuery("SELECT pg_try_advisory_xact_lock(77431708279161)"));
                statement.execute("CREATE SCHEMA IF NOT EXISTS \"flyway\"");
                statement.execute("CREATE TABLE \"flyway\".\"flyway_schema_history\" (\"installed_rank\" INT NOT NULL PRIMARY KEY)");
            }
            conn.commit();
        }
    }
}
