//! `/llms.txt` and `/llms-full.txt`: the documentation of the dialects for models. The prose is in the dialects. The
//! lists are generated from the const tables that the code uses.

use std::fmt::Write as _;

use crate::dialect::DIALECTS;
use crate::dialect::openapi::control::{self, TASKS, Task};
use crate::dialect::openapi::people::{Errand, readable};
use crate::dialect::openapi::{Endpoint, Reference, in_words_of};
use crate::model::codes::CODES;
use crate::model::entity::{ENTITIES, Entity, Field, FieldKind, Need};

/// The text of `/llms.txt`, for all dialects. `base_url` has no slash at its end.
pub fn short(base_url: &str) -> String {
    texts(base_url, first_sentence).join("\n")
}

/// The text of `/llms-full.txt`: the short text and the details.
pub fn full(base_url: &str) -> String {
    let beyond = DIALECTS.iter().map(|it| fill(it.reference.llms_full, it.reference, base_url, str::to_owned));
    texts(base_url, str::to_owned).into_iter().chain(beyond).collect::<Vec<_>>().join("\n")
}

/// The texts of all dialects. `cut` shortens what a line says.
fn texts(base_url: &str, cut: Shortening) -> Vec<String> {
    DIALECTS.iter().map(|it| fill(it.reference.llms, it.reference, base_url, cut)).collect()
}

type Shortening = fn(&str) -> String;

fn first_sentence(text: &str) -> String {
    text.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned()
}

fn fill(template: &str, reference: &Reference, base_url: &str, cut: Shortening) -> String {
    [
        ("{{base}}", base_url.to_owned()),
        ("{{endpoints}}", endpoints(reference, cut)),
        ("{{people}}", people(reference, cut)),
        ("{{tables}}", tables()),
        ("{{prefixes}}", prefixes(reference)),
        ("{{filters}}", filters(reference)),
        ("{{columns}}", columns(reference)),
        ("{{errors}}", errors()),
    ]
    .iter()
    .fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// A path in the form for readers: `/v1/{table}/:id`.
pub fn readable_path(endpoint: &Endpoint) -> String {
    let segments = endpoint.path.split('/').map(|segment| match segment {
        "{table}" => segment.to_owned(),
        segment => segment.strip_prefix('{').map_or(segment.into(), |it| format!(":{}", it.trim_end_matches('}'))),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn endpoints(reference: &Reference, cut: Shortening) -> String {
    let line = |it: &Endpoint| format!("- `{} {}` — {}", it.method.name(), readable_path(it), it.about);
    let all = reference.endpoints.iter().map(line).chain(tasks(cut));
    all.collect::<Vec<_>>().join("\n")
}

/// A line for each subject, with all its paths and what is said about the first one. The OpenAPI document has the rest.
fn tasks(cut: Shortening) -> Vec<String> {
    let subject = |task: &Task| task.path.split('/').nth(2);
    let groups = TASKS.chunk_by(|one, next| subject(one) == subject(next));
    let line = |tasks: &[Task]| {
        let paths: Vec<String> = tasks
            .chunk_by(|one, next| one.path == next.path)
            .map(|tasks| {
                let methods: Vec<&str> = tasks.iter().map(|task| task.method.name()).collect();
                format!("`{} {}`", methods.join(" "), control::readable_path(&tasks[0]))
            })
            .collect();
        format!("- {} — {}", paths.join(", "), cut(tasks[0].about))
    };
    groups.map(line).collect()
}

fn people(reference: &Reference, cut: Shortening) -> String {
    let line = |it: &Errand| format!("- `{}` — {}", readable(it), cut(it.about));
    reference.errands.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tables() -> String {
    let column = |field: Field| {
        let kind = match field.kind {
            FieldKind::Id(table) if field.name != "id" => format!(" REFERENCES {table}(id)"),
            _ if ["id", "created_at", "updated_at", "deleted_at"].contains(&field.name) => String::new(),
            kind => Some(type_name(kind)).filter(|it| *it != "text").map_or(String::new(), |it| format!(" {it}")),
        };
        format!("{}{kind}", field.name)
    };
    let line = |entity: &Entity| {
        let columns: Vec<String> = entity.columns().map(column).collect();
        format!("{} ({})", entity.table, columns.join(", "))
    };
    ENTITIES.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn prefixes(reference: &Reference) -> String {
    let line = |entity: &Entity| format!("`{}_` {}", (reference.wire.prefix)(entity), entity.table);
    ENTITIES.iter().map(line).collect::<Vec<_>>().join(", ")
}

fn filters(reference: &Reference) -> String {
    let rows = (reference.filter_forms)();
    let line =
        |(shape, meaning): &(&str, &str)| format!("| `{shape}` | {meaning} |", shape = shape.replace('|', "\\|"));
    format!("| Parameter | Means |\n|---|---|\n{}", rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn columns(reference: &Reference) -> String {
    let mut text = String::new();
    for entity in ENTITIES {
        let about = in_words_of(&reference.wire, entity.about);
        let _ = writeln!(text, "### {}\n\n{about}\n", entity.table);
        for field in entity.fields {
            let name = (reference.wire.column)(entity, field.name);
            let need = match field.need {
                Need::Required => ", required",
                Need::Filled | Need::Optional => "",
            };
            let about = in_words_of(&reference.wire, field.about);
            let _ = writeln!(text, "- `{name}` ({}{need}): {about}", described_type(field.kind));
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn errors() -> String {
    let line = |code: &crate::model::codes::Code| {
        let statuses: Vec<String> = code.statuses.iter().map(u16::to_string).collect();
        format!("- `{}` ({}): {} {}", code.code, statuses.join(" or "), code.about, code.remedy)
    };
    CODES.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The PostgreSQL type of a column.
pub fn type_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text | FieldKind::Id(_) | FieldKind::OneOf(_) => "text",
        FieldKind::Email => "citext",
        FieldKind::Emails => "citext[]",
        FieldKind::Integer => "bigint",
        FieldKind::SmallInteger => "integer",
        FieldKind::Bool => "boolean",
        FieldKind::Date => "date",
        FieldKind::Time => "timestamptz",
        FieldKind::Json | FieldKind::JsonArray | FieldKind::JsonObject => "jsonb",
        FieldKind::Ids(_) => "text[]",
    }
}

/// The type of a column, or the values that it allows.
pub fn described_type(kind: FieldKind) -> String {
    match kind {
        FieldKind::OneOf(names) => names.join(" | "),
        FieldKind::Id(table) => format!("id of {table}"),
        FieldKind::Ids(table) => format!("ids of {table}"),
        FieldKind::JsonArray => "jsonb array".into(),
        FieldKind::JsonObject => "jsonb object".into(),
        kind => type_name(kind).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        let text = full("https://kith.example");
        assert!(!text.contains("{{"), "{}", &text[text.find("{{").unwrap_or_default()..]);
        for entity in ENTITIES {
            assert!(text.contains(&format!("\n{} (id, ", entity.table)), "{}", entity.table);
        }
        for code in CODES {
            assert!(text.contains(&format!("- `{}` (", code.code)), "{}", code.code);
        }
    }

    #[test]
    fn the_short_text_is_short_and_opens_as_the_format_wants() {
        let text = short("https://kith.example");
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{text}");
        assert!(lines.find(|line| !line.is_empty()).is_some_and(|line| line.starts_with("> ")), "{text}");
        assert_eq!(
            text.lines().filter(|line| line.starts_with("# ") && !line[2..].starts_with(char::is_numeric)).count(),
            1
        );
        assert!(text.len() < 22_000, "{} bytes", text.len());
        assert!(text.contains("curl -sX POST https://kith.example/v1/workspaces"), "{text}");
    }
}
