//! Cleans the HTML of e-mails: known elements and attributes stay, scripts, forms and styles that load something go. What makes
//! it safe is the frame that it is shown in, which runs no scripts and loads nothing; this keeps the text readable, and the
//! frame's rules from having to refuse anything.

/// Whether images from elsewhere are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// They are left out.
    Hidden,
    /// They are loaded.
    Shown,
}

/// A cleaned text.
pub struct Cleaned {
    /// The HTML.
    pub html: String,
    /// Whether there were images from elsewhere.
    pub had_remote: bool,
}

/// Elements that stay.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "address",
    "article",
    "aside",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "main",
    "mark",
    "nav",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "wbr",
];
/// Elements that go with all that is in them.
const WITH_CONTENT: &[&str] = &[
    "script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math", "textarea", "select", "xmp",
    "noembed", "noframes", "audio", "video",
];
/// Attributes that stay on each element.
const ATTRIBUTES: &[&str] = &[
    "align",
    "alt",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "color",
    "colspan",
    "dir",
    "face",
    "height",
    "lang",
    "nowrap",
    "rowspan",
    "size",
    "start",
    "title",
    "valign",
    "width",
];

/// Cleans a text.
pub fn clean(text: &str, images: Images) -> Cleaned {
    let mut cleaner = Cleaner { out: String::with_capacity(text.len()), had_remote: false, images };
    cleaner.read(text);
    Cleaned { html: cleaner.out, had_remote: cleaner.had_remote }
}

struct Cleaner {
    out: String,
    had_remote: bool,
    images: Images,
}

impl Cleaner {
    fn read(&mut self, mut rest: &str) {
        while let Some(at) = rest.find('<') {
            self.out.push_str(&rest[..at]);
            rest = &rest[at..];
            rest = match rest.as_bytes().get(1) {
                Some(b'!') if rest.starts_with("<!--") => rest.find("-->").map_or("", |end| &rest[end + 3..]),
                Some(b'!' | b'?') => after(rest, '>'),
                Some(b'/') if rest.as_bytes().get(2).is_some_and(u8::is_ascii_alphabetic) => self.closing(rest),
                Some(letter) if letter.is_ascii_alphabetic() => self.opening(rest),
                _ => {
                    self.out.push_str("&lt;");
                    &rest[1..]
                }
            };
        }
        self.out.push_str(rest);
    }

    fn closing<'a>(&mut self, rest: &'a str) -> &'a str {
        let name = name(&rest[2..]);
        if ELEMENTS.contains(&name.as_str()) {
            self.out.extend(["</", &name, ">"]);
        }
        after(rest, '>')
    }

    fn opening<'a>(&mut self, rest: &'a str) -> &'a str {
        let name = name(&rest[1..]);
        let (attributes, rest) = attributes(&rest[1 + name.len()..]);
        if WITH_CONTENT.contains(&name.as_str()) {
            return end_tag(rest, &name).map_or("", |at| after(&rest[at..], '>'));
        }
        if ELEMENTS.contains(&name.as_str()) {
            self.out.extend(["<", &name]);
            for (attribute, value) in attributes {
                self.attribute(&name, &attribute, value);
            }
            self.out.push('>');
        }
        rest
    }

    fn attribute(&mut self, element: &str, name: &str, value: &str) {
        let begins = |starts: &[&str]| {
            let value = value.trim_start().to_ascii_lowercase();
            starts.iter().any(|start| value.starts_with(start))
        };
        let stays = match (element, name) {
            ("a", "href") => begins(&["http://", "https://", "mailto:", "tel:"]),
            ("img", "src") if begins(&["http:", "https:", "//"]) => {
                self.had_remote = true;
                self.images == Images::Shown
            }
            ("img", "src") => begins(&["data:image/"]),
            (_, "style") => is_plain(value),
            _ => ATTRIBUTES.contains(&name),
        };
        if stays {
            let value = value.replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
            self.out.extend([" ", name, "=\"", &value, "\""]);
        }
    }
}

/// Whether a style surely loads nothing: it has no function that takes an address, in whatever spelling.
fn is_plain(style: &str) -> bool {
    let style = style.to_ascii_lowercase();
    !["url", "image", "import", "src", "element", "\\", "&", "@", "/*"].iter().any(|word| style.contains(word))
}

/// The lower-case name of an element at the beginning of a text.
fn name(text: &str) -> String {
    text.chars().take_while(|it| it.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase()
}

/// Where the first end tag of an element begins. The search copies nothing and stops there, so that a message of many short elements
/// is read once.
fn end_tag(text: &str, name: &str) -> Option<usize> {
    let is_named = |at: &usize| {
        let found = text.as_bytes().get(at + 2..at + 2 + name.len());
        found.is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
    };
    text.match_indices("</").map(|(at, _)| at).find(is_named)
}

/// What stands behind the first of a character.
fn after(text: &str, end: char) -> &str {
    text.find(end).map_or("", |at| &text[at + end.len_utf8()..])
}

/// The attributes of an element, with lower-case names, and what stands behind its tag.
fn attributes(mut rest: &str) -> (Vec<(String, &str)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(|it: char| it.is_ascii_whitespace() || it == '/');
        if rest.is_empty() {
            return (found, rest);
        }
        if let Some(behind) = rest.strip_prefix('>') {
            return (found, behind);
        }
        let ends = |it: char| it.is_ascii_whitespace() || matches!(it, '=' | '>' | '/');
        // A name may begin with "=": then it is a part of it.
        let length = rest.char_indices().skip(1).find(|(_, it)| ends(*it)).map_or(rest.len(), |(at, _)| at);
        let (name, behind) = rest.split_at(length);
        let behind = behind.trim_start();
        let (value, behind) = match behind.strip_prefix('=') {
            Some(behind) => value(behind.trim_start()),
            None => ("", behind),
        };
        found.push((name.to_ascii_lowercase(), value));
        rest = behind;
    }
}

/// An attribute's value at the beginning of a text, and what stands behind it.
fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.find(quote).map_or((quoted, ""), |at| (&quoted[..at], &quoted[at + 1..]));
        }
    }
    let end = text.find(|it: char| it.is_ascii_whitespace() || it == '>').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::{Images, clean};

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text, Images::Hidden).html, expected, "{text}");
    }

    #[test]
    fn known_elements_stay_and_scripts_go() {
        check("<p>Could you <B>send</B> it?</p>", "<p>Could you <b>send</b> it?</p>");
        check("a<script>alert(1)</SCRIPT >b", "ab");
        check("<script>alert(1)", "");
        check("<form action=/x><input name=a>text</form>", "text");
        check("<!-- <b> --><!doctype html><?php ?>x", "x");
        check("1 < 2 &amp; 3 <", "1 &lt; 2 &amp; 3 &lt;");
        check("<svg><a href=https://x.example>y</a></svg>z", "z");
        check("<style>@import url(x)</style><p>a", "<p>a");
        check("<é>ü</é>", "&lt;é>ü&lt;/é>");
    }

    #[test]
    fn a_message_of_many_short_elements_is_read_once() {
        // Copying the rest of the message at each element would copy 50 GB here.
        for element in ["<svg></svg>", "<xmp></XMP >", "<title></é></title>"] {
            let many = format!("{}<p>Hello</p>", element.repeat((1 << 20) / element.len()));
            assert_eq!(clean(&many, Images::Hidden).html, "<p>Hello</p>");
        }
        assert_eq!(clean(&"<svg>".repeat(200_000), Images::Hidden).html, "");
    }

    #[test]
    fn handlers_and_addresses_that_run_something_go() {
        check("<p onclick='x()' title='a \"b\"'>c</p>", "<p title=\"a &quot;b&quot;\">c</p>");
        check("<a href='javascript:alert(1)'>x</a>", "<a>x</a>");
        check("<a href=\" https://x.example/?a=1&b=2\">x</a>", "<a href=\" https://x.example/?a=1&b=2\">x</a>");
        check("<img/src=x onerror=alert(1)//>", "<img>");
        check("<b title=\"unclosed", "<b title=\"unclosed\">");
        check("<p style='background:url(https://x.example/a.gif)'>x</p>", "<p>x</p>");
        check("<p style='background:u\\72l(https://x.example)'>x</p>", "<p>x</p>");
        check("<p style='color: red'>x</p>", "<p style=\"color: red\">x</p>");
        check("<td background=https://x.example/a.gif>x", "<td>x");
    }

    #[test]
    fn images_from_elsewhere_wait_until_asked_for() {
        let text = "<img src=https://track.example/x.gif alt=Logo><img src=\"data:image/gif;base64,R0\">";
        let hidden = clean(text, Images::Hidden);
        assert_eq!(hidden.html, "<img alt=\"Logo\"><img src=\"data:image/gif;base64,R0\">");
        assert!(hidden.had_remote);
        let shown = clean(text, Images::Shown);
        assert_eq!(
            shown.html,
            "<img src=\"https://track.example/x.gif\" alt=\"Logo\"><img src=\"data:image/gif;base64,R0\">"
        );
        assert!(!clean("<p>plain</p>", Images::Hidden).had_remote);
    }
}
