//! Samples of calls: each method and path in curl, JavaScript's fetch and Python's requests, in every dialect that has it. They are made
//! from the examples in the OpenAPI documents, so that they follow from the same tables.

use serde_json::{Map, Value, json};

use crm::dialect::{DIALECTS, openapi};
use crm::model::call::Method;

use crate::door::pages::public::Sample;

/// What stands for a value that no document has an example of.
const OPEN: &str = "…";
/// The table whose paths stand for those of all tables. Its columns have other names in Relm.
const TABLE: &str = "deals";

/// The OpenAPI documents from which calls are made.
pub struct Calls {
    dialects: Vec<Described>,
}

struct Described {
    /// What is put before the name of a language on its tab.
    prefix: &'static str,
    /// The environment variable that the samples read the credential from.
    key: &'static str,
    document: Value,
    base: String,
}

/// A request, apart from its language.
struct SampleCall<'a> {
    method: Method,
    url: String,
    /// The variable with the credential, if one is needed.
    key: Option<&'a str>,
    body: Option<SampleBody>,
}

enum SampleBody {
    Json(Value),
    Csv(String),
}

impl Calls {
    /// Reads the documents of all dialects for a public address.
    pub fn new(base: &str) -> Calls {
        let dialects = DIALECTS.iter().enumerate().map(|(at, dialect)| Described {
            prefix: if at == 0 { "" } else { "Relm: " },
            key: if at == 0 { "KITH_KEY" } else { "RELM_KEY" },
            document: openapi::document(dialect.reference, base),
            base: base.to_owned(),
        });
        Calls { dialects: dialects.collect() }
    }

    /// The samples of a method and a path of the tables, such as `/v1/{table}/{id}`.
    pub fn samples(&self, method: Method, path: &str) -> Vec<Sample<'static>> {
        let path = path.replace("{table}", TABLE);
        let mut samples = Vec::new();
        for described in &self.dialects {
            let Some(call) = described.call(method, &path) else { continue };
            let named = |name: &str, text: String| Sample { name: format!("{}{name}", described.prefix).into(), text };
            samples.extend([
                named("curl", curl(&call)),
                named("JavaScript", javascript(&call)),
                named("Python", python(&call)),
            ]);
        }
        samples
    }
}

impl Described {
    fn call(&self, method: Method, path: &str) -> Option<SampleCall<'_>> {
        let operation = self.operation(method, path)?;
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |name: &str| parameters.iter().find(|it| it["in"] == "path" && it["name"] == name);
        let segment = |segment: &str| match segment.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(name) => named(name).and_then(|it| it["example"].as_str()).unwrap_or(OPEN).to_owned(),
            None => segment.to_owned(),
        };
        let path_shown = path.split('/').map(segment).collect::<Vec<_>>().join("/");
        let needed = parameters.iter().filter(|it| it["in"] == "query" && it["required"] == true);
        let query: Vec<String> = needed.map(query_value).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path_shown}{mark}{}", self.base, query.join("&"));
        let key = match operation["security"].as_array().map(Vec::as_slice) {
            Some([]) => None,
            Some(ways) if ways.iter().any(|way| way.as_object().is_some_and(Map::is_empty)) => None,
            Some(ways) if ways.iter().all(|way| way["apiKey"].is_null()) => Some("KITH_SESSION"),
            _ => Some(self.key),
        };
        Some(SampleCall { method, url, key, body: self.body(operation, path) })
    }

    fn operation(&self, method: Method, path: &str) -> Option<&Value> {
        self.document["paths"].get(path)?.get(method.name().to_lowercase())
    }

    fn body(&self, operation: &Value, path: &str) -> Option<SampleBody> {
        let content = operation["requestBody"]["content"].as_object()?;
        if let Some(file) = content.get("text/csv") {
            return Some(SampleBody::Csv(file["schema"]["examples"][0].as_str().unwrap_or(OPEN).to_owned()));
        }
        let schema = self.resolved(content.get("application/json")?.get("schema")?);
        let example = Some(&schema["examples"][0]).filter(|it| !it.is_null()).cloned();
        Some(SampleBody::Json(example.or_else(|| self.of_new(path)).unwrap_or_else(|| self.made_up(schema))))
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/components/schemas/"));
        name.map_or(schema, |name| &self.document["components"]["schemas"][name])
    }

    /// A field of the example of a new record, for a change of one.
    fn of_new(&self, path: &str) -> Option<Value> {
        let list = path.strip_suffix('}')?.rsplit_once("/{")?.0;
        let SampleBody::Json(Value::Object(new)) = self.body(self.operation(Method::Post, list)?, list)? else {
            return None;
        };
        let (name, value) = new.into_iter().next()?;
        Some(json!({name: value}))
    }

    /// An object with the required fields of a schema, or else with its first one.
    fn made_up(&self, schema: &Value) -> Value {
        let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let fields = schema["properties"].as_object().into_iter().flatten();
        let chosen = fields.filter(|(name, _)| needed.is_empty() || needed.contains(&name.as_str()));
        let most = if needed.is_empty() { 1 } else { usize::MAX };
        let made: Map<String, Value> =
            chosen.take(most).map(|(name, field)| (name.clone(), self.value_of(name, field))).collect();
        Value::Object(made)
    }

    fn value_of(&self, name: &str, field: &Value) -> Value {
        let field = self.resolved(field);
        let kind = field["type"].as_str().or_else(|| field["type"][0].as_str()).unwrap_or_default();
        match kind {
            _ if !field["const"].is_null() => field["const"].clone(),
            _ if !field["examples"][0].is_null() => field["examples"][0].clone(),
            _ if !field["enum"][0].is_null() => field["enum"][0].clone(),
            _ if !field["default"].is_null() => field["default"].clone(),
            "boolean" => true.into(),
            "integer" | "number" => 1.into(),
            "array" => json!([self.value_of(name, &field["items"])]),
            "object" => self.made_up(field),
            _ if name == "url" => "https://example.com/hook".into(),
            _ if name.contains("email") => "ada@example.com".into(),
            _ => OPEN.into(),
        }
    }
}

/// A query parameter with a value.
fn query_value(parameter: &Value) -> String {
    let name = parameter["name"].as_str().unwrap_or_default();
    let example = parameter["example"].as_str().or_else(|| parameter["schema"]["examples"][0].as_str());
    let value = example.unwrap_or(match name {
        "q" => "acme",
        "ws" => "ws_…",
        _ => OPEN,
    });
    format!("{name}={value}")
}

fn curl(call: &SampleCall<'_>) -> String {
    let mut lines = vec![match call.method {
        Method::Get => format!("curl -s \"{}\"", call.url),
        method => format!("curl -s -X {} \"{}\"", method.name(), call.url),
    }];
    lines.extend(call.key.map(|key| format!("-H \"Authorization: Bearer ${key}\"")));
    match &call.body {
        Some(SampleBody::Json(body)) => {
            lines.push("-H \"Content-Type: application/json\"".to_owned());
            lines.push(format!("-d '{}'", body.to_string().replace('\'', "'\\''")));
        }
        Some(SampleBody::Csv(_)) => {
            lines.push("-H \"Content-Type: text/csv\"".to_owned());
            lines.push("--data-binary @file.csv".to_owned());
        }
        None => {}
    }
    lines.join(" \\\n  ")
}

fn javascript(call: &SampleCall<'_>) -> String {
    let mut headers: Vec<String> =
        call.key.map(|key| format!("Authorization: `Bearer ${{process.env.{key}}}`")).into_iter().collect();
    let mut options = Vec::new();
    if call.method != Method::Get {
        options.push(format!("method: \"{}\"", call.method.name()));
    }
    let body = match &call.body {
        Some(SampleBody::Json(body)) => Some(("application/json", format!("JSON.stringify({body})"))),
        Some(SampleBody::Csv(text)) => Some(("text/csv", Value::from(text.as_str()).to_string())),
        None => None,
    };
    headers.extend(body.as_ref().map(|(kind, _)| format!("\"Content-Type\": \"{kind}\"")));
    if !headers.is_empty() {
        options.push(format!("headers: {{ {} }}", headers.join(", ")));
    }
    options.extend(body.map(|(_, text)| format!("body: {text}")));
    let options = match options.is_empty() {
        true => String::new(),
        false => format!(", {{\n  {},\n}}", options.join(",\n  ")),
    };
    format!("const reply = await fetch(\"{}\"{options});\nconst answer = await reply.json();", call.url)
}

fn python(call: &SampleCall<'_>) -> String {
    let mut headers: Vec<String> =
        call.key.map(|key| format!("\"Authorization\": \"Bearer \" + os.environ[\"{key}\"]")).into_iter().collect();
    let mut arguments = vec![format!("\"{}\"", call.url)];
    let body = match &call.body {
        Some(SampleBody::Json(body)) => Some(format!("json={}", literal(body))),
        Some(SampleBody::Csv(text)) => {
            headers.push("\"Content-Type\": \"text/csv\"".to_owned());
            Some(format!("data={}.encode()", Value::from(text.as_str())))
        }
        None => None,
    };
    if !headers.is_empty() {
        arguments.push(format!("headers={{{}}}", headers.join(", ")));
    }
    arguments.extend(body);
    let import = if call.key.is_some() { "import os\nimport requests" } else { "import requests" };
    let method = call.method.name().to_lowercase();
    format!("{import}\n\nanswer = requests.{method}(\n    {},\n).json()", arguments.join(",\n    "))
}

/// A JSON value as Python writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), literal(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(method: Method, path: &str, name: &str) -> String {
        let samples = Calls::new("https://kith.example").samples(method, path);
        samples.into_iter().find(|sample| sample.name == name).expect(name).text
    }

    #[test]
    fn a_call_is_written_in_three_languages_and_both_dialects() {
        let curl = sample(Method::Post, "/v1/{table}", "curl");
        assert!(
            curl.starts_with(
                "curl -s -X POST \"https://kith.example/v1/deals\" \\\n  -H \"Authorization: Bearer $KITH_KEY\""
            ),
            "{curl}"
        );
        assert!(curl.contains("\"name\":\"Acme rollout\"") && curl.contains("\"amount_cents\":"), "{curl}");
        let relm = sample(Method::Post, "/v1/{table}", "Relm: Python");
        assert!(relm.contains("\"title\": \"Acme rollout\"") && relm.contains("os.environ[\"RELM_KEY\"]"), "{relm}");
        let script = sample(Method::Get, "/v1/{table}/{id}", "Relm: JavaScript");
        assert!(script.contains("fetch(\"https://kith.example/v1/deals/deal_"), "{script}");
        assert!(!script.contains("method:") && !script.contains("body:"), "{script}");
        let change = sample(Method::Patch, "/v1/{table}/{id}", "Relm: curl");
        assert!(change.ends_with("-d '{\"title\":\"Acme rollout\"}'"), "{change}");
        assert!(sample(Method::Post, "/v1/imports", "Python").contains("data=\"email,first_name\\n"));
        assert!(!sample(Method::Post, "/v1/workspaces", "curl").contains("Authorization"));
        assert!(
            sample(Method::Post, "/v1/keys", "curl")
                .contains("?ws=ws_…\" \\\n  -H \"Authorization: Bearer $KITH_SESSION\"")
        );
    }

    #[test]
    fn python_has_its_own_words() {
        assert_eq!(literal(&json!({"a": [true, false, null, 1.5, "x"]})), "{\"a\": [True, False, None, 1.5, \"x\"]}");
    }
}
