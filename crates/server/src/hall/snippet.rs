//! The first words of a message, for lists of messages.

use crm::model::email::EmailMessage;

/// How much of the text is the snippet, in characters.
const SNIPPET_CHARACTERS: usize = 200;

/// The first words of a message.
pub(super) fn snippet(message: &EmailMessage) -> Option<String> {
    let text = message.text.clone().or_else(|| message.html.as_deref().map(bare))?;
    Some(first_words(&text))
}

/// The first words of a text, on one line.
pub(super) fn first_words(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(SNIPPET_CHARACTERS).collect();
    words.join(" ").chars().take(SNIPPET_CHARACTERS).collect()
}

/// HTML without its tags.
fn bare(html: &str) -> String {
    let (mut text, mut in_tag) = (String::with_capacity(html.len().min(4096)), false);
    for character in html.chars().take(20_000) {
        match character {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            character if !in_tag => text.push(character),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_the_first_words() {
        let of = |text: Option<&str>, html: Option<&str>| {
            snippet(&EmailMessage {
                text: text.map(str::to_owned),
                html: html.map(str::to_owned),
                ..EmailMessage::default()
            })
        };
        assert_eq!(of(Some("a\n  b"), Some("<p>c")).as_deref(), Some("a b"));
        assert_eq!(of(None, Some("<p>Hello</p><b>you</b>")).as_deref(), Some("Hello you"));
        assert_eq!(of(Some(&"x".repeat(500)), None).map(|it| it.len()), Some(SNIPPET_CHARACTERS));
    }
}
