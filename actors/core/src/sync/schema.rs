//! The SQL that makes a target's tables: what `supervisor sync schema` prints.
//!
//! It can be run again, and on a database that has tables of these names: what is there stays,
//! columns and the unique key are added where they are missing. Row security is switched on
//! only for tables that it makes itself: on others it would lock out who reads them now.

use std::fmt::Write as _;

use super::table::{Kind, Table};

/// The SQL for PostgreSQL as Supabase has it, for these tables.
#[must_use]
pub fn postgres(tables: &[Table]) -> String {
    let mut sql = String::from(
        "-- The tables that `supervisor` mirrors markdown into. It may be run again: what is\n\
         -- there stays as it is.\n",
    );
    for table in tables {
        sql.push('\n');
        one(&mut sql, table);
    }
    sql.push_str("\n-- The API reads the schema anew.\nnotify pgrst, 'reload schema';\n");
    sql
}

/// Names are checked (`is_name`), so that quotes suffice; without them, capitals would be
/// folded and words of SQL refused.
fn one(sql: &mut String, table: &Table) {
    let name = format!("public.\"{}\"", table.name());
    let key = table.key();
    let columns: Vec<(&str, &str)> = table
        .columns()
        .iter()
        .map(|column| (column.name.as_str(), type_of(column.field.kind())))
        .collect();
    let listed: Vec<String> = columns
        .iter()
        .map(|(column, kind)| {
            let suffix = if *column == key { " primary key" } else { "" };
            format!("            \"{column}\" {kind}{suffix}")
        })
        .collect();
    let listed = listed.join(",\n");
    // Writing to a String cannot fail.
    let _ = write!(
        sql,
        "-- {table}\n\
         do $$\n\
         begin\n    \
             if to_regclass('{name}') is null then\n        \
                 create table {name} (\n{listed}\n        );\n        \
                 -- Only the service role reads and writes it, until you add policies.\n        \
                 alter table {name} enable row level security;\n    \
             end if;\n\
         end $$;\n",
        table = table.name(),
    );
    for (column, kind) in &columns {
        let _ = writeln!(
            sql,
            "alter table {name} add column if not exists \"{column}\" {kind};"
        );
    }
    let _ = write!(
        sql,
        "do $$\n\
         begin\n    \
             if not exists (\n        \
                 select from pg_index i\n        \
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]\n        \
                 where i.indrelid = '{name}'::regclass and i.indisunique and i.indisvalid\n          \
                     and i.indnkeyatts = 1 and i.indpred is null and a.attname = '{key}'\n    \
             ) then\n        \
                 alter table {name} add unique (\"{key}\");\n    \
             end if;\n\
         end $$;\n\
         grant select, insert, update, delete on {name} to service_role;\n\
         drop policy if exists supervisor_sync on {name};\n\
         create policy supervisor_sync on {name} for all to service_role using (true) with check (true);\n"
    );
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Json => "jsonb",
        Kind::Time => "timestamptz",
        Kind::Date => "date",
        Kind::Integer => "bigint",
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Column, Field};
    use super::*;

    fn table(name: &str) -> Table {
        let column = |name: &str, field| Column {
            name: name.to_owned(),
            field,
        };
        let columns = vec![
            column("file_path", Field::FilePath),
            column("metadata", Field::Metadata),
            column("updated_at", Field::UpdatedAt),
            column("date", Field::Date),
            column("session_number", Field::SessionNumber),
        ];
        Table::new(name, "file_path", columns).unwrap()
    }

    #[test]
    fn a_table_has_its_columns_its_key_and_its_policy() {
        let sql = postgres(&[table("order")]);
        for part in [
            "create table public.\"order\" (\n            \"file_path\" text primary key,\n            \"metadata\" jsonb,\n",
            "\"updated_at\" timestamptz",
            "\"date\" date",
            "\"session_number\" bigint\n        );",
            "alter table public.\"order\" add column if not exists \"metadata\" jsonb;",
            "alter table public.\"order\" add unique (\"file_path\");",
            "enable row level security",
            "create policy supervisor_sync on public.\"order\" for all to service_role",
        ] {
            assert!(sql.contains(part), "{part}\n{sql}");
        }
        assert!(sql.ends_with("notify pgrst, 'reload schema';\n"));
    }

    #[test]
    fn every_table_stands_there_once() {
        let sql = postgres(&[table("a"), table("B")]);
        assert_eq!(sql.matches("create table public.").count(), 2);
        assert_eq!(sql.matches("notify pgrst").count(), 1);
    }
}
