//! Prompts: tasks that a person starts in a client, in words that a model follows with the tools.

use serde_json::{Map, Value, json};

/// A prompt.
#[derive(Debug)]
pub struct Prompt {
    /// The name.
    pub name: &'static str,
    /// The title, for people.
    pub title: &'static str,
    /// The description.
    pub about: &'static str,
    /// The argument: its name, its description and whether it is required.
    pub argument: (&'static str, &'static str, bool),
    /// The text. `{}` stands for the argument.
    pub text: &'static str,
    /// The text if the argument is missing.
    pub text_without: &'static str,
}

/// All prompts.
pub const PROMPTS: &[Prompt] = &[
    Prompt {
        name: "prepare_meeting",
        title: "Prepare a meeting",
        about: "Gathers what is known of a person before a meeting.",
        argument: ("contact", "Name, e-mail address or id of the person.", true),
        text: "Prepare me for a meeting with {}. Find the contact with search and read it with get_record: the company, the newest activities \
               and the associations. List the open deals and the newest e-mails with list_records. Then write one page: who they are, where \
               each deal stands, what was said last and when, what we owe them, and three questions to ask. Name the dates. Change nothing.",
        text_without: "",
    },
    Prompt {
        name: "review_pipeline",
        title: "Review a pipeline",
        about: "Shows where deals stand and which ones need attention.",
        argument: ("pipeline", "Key of the pipeline; by default all.", false),
        text: "Review the pipeline {}. With query_sql, count its deals and sum their value by stage, in the order of pipeline_stages. Then list the \
               open deals whose closing date is past, and those without any activity for 14 days, with their contacts. Close with the five \
               deals that need attention first, and why. Change nothing.",
        text_without: "Review all pipelines. With query_sql, count the deals and sum their value by pipeline and stage, in the order of \
               pipeline_stages. Then list the open deals whose closing date is past, and those without any activity for 14 days, with their \
               contacts. Close with the five deals that need attention first, and why. Change nothing.",
    },
    Prompt {
        name: "log_conversation",
        title: "Log a conversation",
        about: "Turns notes of a conversation into an activity and its consequences.",
        argument: ("notes", "Your notes.", true),
        text: "These are my notes of a conversation:\n\n{}\n\nFind the contact and the deal with search. Show me what you would record before you \
               write: one activity with log_activity, changed fields or a new stage of the deal, and a task for each promise. After I agree, \
               write it, with a reason in each call.",
        text_without: "",
    },
    Prompt {
        name: "find_duplicates",
        title: "Find duplicates",
        about: "Lists records that may describe the same person or company.",
        argument: ("table", "contacts or companies; by default contacts.", false),
        text: "Find records in {} that may be duplicates: the same name with other spellings, the same telephone number, or addresses that \
               differ only in parts. Use query_sql (pg_trgm is there). For each group, show the ids, what differs, and which record you \
               would keep. Change nothing before I agree. Then merge each group with merge_records, and say what was moved.",
        text_without: "Find contacts that may be duplicates: the same name with other spellings, the same telephone number, or addresses that \
               differ only in parts. Use query_sql (pg_trgm is there). For each group, show the ids, what differs, and which record you \
               would keep. Change nothing before I agree. Then merge each group with merge_records, and say what was moved.",
    },
];

impl Prompt {
    /// The definition of the prompt, as MCP lists it.
    pub fn definition(&self) -> Value {
        let (name, about, required) = self.argument;
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.about,
            "arguments": [{"name": name, "description": about, "required": required}],
        })
    }

    /// The message of the prompt for these arguments. The error says what is wrong with them.
    pub fn message(&self, arguments: &Map<String, Value>) -> Result<Value, String> {
        let (name, _, required) = self.argument;
        if let Some(other) = arguments.keys().find(|it| *it != name) {
            return Err(format!("There is no argument \"{other}\"; the prompt takes \"{name}\"."));
        }
        let text = match arguments.get(name) {
            Some(Value::String(value)) if !value.trim().is_empty() => self.text.replacen("{}", value, 1),
            Some(Value::String(_) | Value::Null) | None if !required => self.text_without.to_owned(),
            _ => return Err(format!("The prompt requires \"{name}\", a text.")),
        };
        let content = json!({"type": "text", "text": text});
        Ok(json!({"description": self.about, "messages": [{"role": "user", "content": content}]}))
    }
}

/// Returns the prompt of that name.
pub fn by_name(name: &str) -> Option<&'static Prompt> {
    PROMPTS.iter().find(|prompt| prompt.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tools;

    #[test]
    fn prompts_name_tools_that_exist() {
        let names: Vec<String> = tools::tools().map(|tool| tool.name()).collect();
        for prompt in PROMPTS {
            for text in [prompt.text, prompt.text_without] {
                let words = text.split(|it: char| !it.is_ascii_lowercase() && it != '_');
                for word in words.filter(|word| word.contains('_') && !matches!(*word, "pipeline_stages" | "pg_trgm")) {
                    assert!(names.iter().any(|name| name == word), "{}: {word}", prompt.name);
                }
            }
        }
    }

    #[test]
    fn an_argument_is_put_in_once_and_as_it_is() {
        let prompt = by_name("prepare_meeting").expect("a prompt");
        let said = |arguments: Value| prompt.message(arguments.as_object().expect("an object"));
        let message = said(json!({"contact": "Ada {} {x}"})).expect("a message");
        let text = message["messages"][0]["content"]["text"].as_str().expect("a text");
        assert!(text.starts_with("Prepare me for a meeting with Ada {} {x}. Find"), "{text}");
        assert!(
            said(json!({})).is_err() && said(json!({"contact": 7})).is_err() && said(json!({"contcat": "A"})).is_err()
        );
        let review = by_name("review_pipeline").expect("a prompt");
        assert!(review.message(&Map::new()).is_ok());
    }
}
