"""Writes the schema of a database as text: the same text from every server version.

SETTINGS_STORE_UPDATE_SCHEMA=1 .venv/bin/python -m pytest tests/migrations/test_schema_dump.py
.venv/bin/python -m tests.migrations.dump postgresql://… > tests/migrations/schema.txt
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psycopg

# yoyo's own tables are not ours, nor what belongs to an extension (a hypertable has a trigger of TimescaleDB's). NOT
# NULL is a property of a column here: PostgreSQL 18 lists it as a constraint too, earlier versions don't. Functions
# bear no body: sql/ is where they are read.
OURS = "n.nspname = 'public' and c.relname !~ '^_?yoyo'"
OUR_FUNCTIONS = """
    n.nspname = 'public' and not exists (select from pg_depend e where e.objid = p.oid and e.deptype = 'e')"""
SECTIONS = {
    "tables": f"""
        select c.relname || coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '')
               || case when c.relpersistence = 'p' then '' else ' not logged' end
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and {OURS}""",
    "columns": f"""
        select format('%s.%s %s%s%s', c.relname,
               lpad((row_number() over (partition by c.oid order by a.attnum))::text, 2, '0') || ' ' || a.attname,
               format_type(a.atttypid, a.atttypmod), case when a.attnotnull then ' not null' end,
               ' default ' || pg_get_expr(d.adbin, d.adrelid))
          from pg_attribute a
          join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
          left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where c.relkind in ('r', 'p', 'c') and a.attnum > 0 and not a.attisdropped and {OURS}""",
    "constraints": f"""
        select format('%s.%s %s', c.relname, o.conname, pg_get_constraintdef(o.oid))
          from pg_constraint o join pg_class c on c.oid = o.conrelid join pg_namespace n on n.oid = c.relnamespace
         where o.contype in ('c', 'f', 'p', 'u', 'x') and {OURS}""",
    "indexes": f"""
        select pg_get_indexdef(i.indexrelid)
          from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
         where {OURS}""",
    "triggers": f"""
        select pg_get_triggerdef(t.oid) || case t.tgenabled when 'O' then '' else ' enabled ' || t.tgenabled::text end
          from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
         where not t.tgisinternal and {OURS}
           and not exists (select from pg_depend e where e.objid = t.tgfoid and e.deptype = 'e')""",
    "functions": f"""
        select format('%s(%s) returns %s language %s %s%s%s%s', p.proname, pg_get_function_arguments(p.oid),
                      pg_get_function_result(p.oid), l.lanname,
                      case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
                      case when p.prosecdef then ' security definer' end, case when p.proisstrict then ' strict' end,
                      ' set ' || array_to_string(p.proconfig, ', '))
          from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
         where {OUR_FUNCTIONS}""",
    "views": f"""
        select format('%s (%s)', c.relname,
                      (select string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                                         order by a.attnum) from pg_attribute a
                        where a.attrelid = c.oid and a.attnum > 0))
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('v', 'm') and {OURS}""",
    "policies": """
        select format('%s.%s %s to %s%s%s', y.tablename, y.policyname, lower(y.cmd), array_to_string(y.roles, ', '),
                      ' using ' || y.qual, ' with check ' || y.with_check)
          from pg_policies y where y.schemaname = 'public'
        union all
        select format('%s has row-level security', c.relname) from pg_class c
         where c.relrowsecurity and c.relnamespace = 'public'::regnamespace""",
    "privileges": f"""
        select format('%s: %s to %s', c.relname, lower(a.privilege_type),
                      case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end)
          from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
         where a.grantee <> c.relowner and {OURS}
        union all
        select format('%s: %s to %s', p.proname, lower(a.privilege_type),
                      case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end)
          from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a
         where a.grantee <> p.proowner and {OUR_FUNCTIONS}""",
    "comments": f"""
        select format('%s%s: %s', c.relname, '.' || a.attname, d.description)
          from pg_description d join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass
          join pg_namespace n on n.oid = c.relnamespace
          left join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0
         where {OURS}
        union all
        select format('%s(): %s', p.proname, d.description)
          from pg_description d join pg_proc p on p.oid = d.objoid and d.classoid = 'pg_proc'::regclass
          join pg_namespace n on n.oid = p.pronamespace
         where {OUR_FUNCTIONS}""",
}


def dump(database_url: str) -> str:
    """Return the schema as text, a line each, in a fixed order."""
    return "".join(f"{line}\n" for line in _lines(database_url))


def _lines(database_url: str) -> Iterator[str]:
    with psycopg.connect(database_url) as connection:
        connection.execute("set local search_path = public")
        for section, query in SECTIONS.items():
            yield f"-- {section}"
            yield from sorted(str(row[0]) for row in connection.execute(query.encode()))
            yield ""


if __name__ == "__main__":
    sys.stdout.write(dump(sys.argv[1]))
