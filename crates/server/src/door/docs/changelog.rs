//! `/changelog` and `/changelog.rss`, written from CHANGELOG.md.

use maud::{Markup, PreEscaped, html};

use crate::door::pages::public::{PublicPage, document};

const TEXT: &str = include_str!("../../../../../CHANGELOG.md");

/// A release, or what is not released yet.
#[derive(Debug, Default, PartialEq)]
struct Release<'a> {
    /// `0.2.0`, or `Unreleased`.
    name: &'a str,
    /// `2026-11-28`, if it is released.
    date: Option<&'a str>,
    groups: Vec<EntryGroup<'a>>,
}

/// `Added`, `Changed` and so on.
#[derive(Debug, Default, PartialEq)]
struct EntryGroup<'a> {
    name: &'a str,
    /// Each entry on one line.
    entries: Vec<String>,
}

/// Reads the form of Keep a Changelog: `## [name] - date`, `### group`, `- entry` with lines that continue it.
fn read(text: &str) -> Vec<Release<'_>> {
    let mut releases: Vec<Release<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let (name, date) = title.split_once(" - ").map_or((title, None), |(name, date)| (name, Some(date.trim())));
            releases.push(Release { name: name.trim_matches(['[', ']']), date, groups: Vec::new() });
        } else if let (Some(release), Some(name)) = (releases.last_mut(), line.strip_prefix("### ")) {
            release.groups.push(EntryGroup { name, entries: Vec::new() });
        } else if let Some(group) = releases.last_mut().and_then(|release| release.groups.last_mut()) {
            match (line.strip_prefix("- "), group.entries.last_mut()) {
                (Some(entry), _) => group.entries.push(entry.to_owned()),
                (None, Some(entry)) if !line.trim().is_empty() => {
                    entry.push(' ');
                    entry.push_str(line.trim());
                }
                (None, _) => {}
            }
        }
    }
    releases
}

/// An entry with its `code`, **bold** and [links](…).
fn entry(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code.inline { (part) } } @else { (words(part)) }
        }
    }
}

fn words(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split("**").enumerate() {
            @if at % 2 == 1 { b { (part) } } @else { (linked(part)) }
        }
    }
}

fn linked(text: &str) -> Markup {
    let Some((before, rest)) = text.split_once('[') else { return html! { (text) } };
    let Some((name, rest)) = rest.split_once("](") else { return html! { (text) } };
    let Some((address, after)) = rest.split_once(')') else { return html! { (text) } };
    // Addresses within the repository lead nowhere here.
    let is_outside = address.starts_with("https://");
    html! { (before) @if is_outside { a href=(address) { (name) } } @else { (name) } (linked(after)) }
}

/// The page.
pub fn page(base: &str) -> String {
    let releases = read(TEXT);
    let body = html! {
        div.wrap.docs {
            nav aria-label="Releases" {
                h2 { "Releases" }
                @for release in &releases { a href={ "#" (anchor(release)) } { (release.name) } }
                a href="/changelog.rss" { "RSS" }
            }
            main.prose #main {
                h1 { "Changelog" }
                p.lead { "What users of Kith notice, newest first. Also as " a href="/changelog.rss" { "RSS" } "." }
                @for release in &releases {
                    h2 id=(anchor(release)) { (release.name) @if let Some(date) = release.date { " " span.soft { (date) } } }
                    (groups(release))
                }
            }
        }
    };
    document(
        base,
        &PublicPage {
            title: "Changelog",
            description: "What has changed in Kith, newest first.",
            nav: "/changelog",
            body,
        },
    )
    .into_string()
}

fn groups(release: &Release<'_>) -> Markup {
    html! {
        @for group in &release.groups {
            h3 { (group.name) }
            ul.bullets { @for text in &group.entries { li { (entry(text)) } } }
        }
    }
}

fn anchor(release: &Release<'_>) -> String {
    format!("v-{}", release.name.to_lowercase().replace(|it: char| !it.is_alphanumeric(), "-"))
}

/// The feed: an item for each release.
pub fn rss(base: &str) -> String {
    let releases = read(TEXT);
    let feed = html! {
        rss version="2.0" {
            channel {
                title { "Kith changelog" }
                link_ { (base) "/changelog" }
                description { "What has changed in Kith, newest first." }
                language { "en" }
                @for release in &releases {
                    item {
                        title { "Kith " (release.name) }
                        link_ { (base) "/changelog#" (anchor(release)) }
                        guid isPermaLink="true" { (base) "/changelog#" (anchor(release)) }
                        @if let Some(date) = release.date.and_then(rfc_822) { pubDate { (date) } }
                        description { (groups(release).into_string()) }
                    }
                }
            }
        }
    };
    // `link` is an empty element in HTML, so maud takes another name.
    let feed = feed.into_string().replace("<link_>", "<link>").replace("</link_>", "</link>");
    html! { (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")) (PreEscaped(feed)) }.into_string()
}

/// A day as RSS writes it.
fn rfc_822(date: &str) -> Option<String> {
    let date: jiff::civil::Date = date.parse().ok()?;
    Some(date.strftime("%a, %d %b %Y 00:00:00 GMT").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_is_read() {
        let text = "# Changelog\n\nWords.\n\n## [Unreleased]\n\n### Added\n\n- One `a`\n  goes on.\n- Two\n\n## [0.1.0] - 2026-07-02\n\n### Fixed\n\n- Three\n";
        let releases = read(text);
        assert_eq!(releases.len(), 2);
        assert_eq!(releases[0].groups[0].entries, ["One `a` goes on.", "Two"]);
        assert_eq!((releases[1].name, releases[1].date), ("0.1.0", Some("2026-07-02")));
        assert_eq!(rfc_822("2026-07-02").as_deref(), Some("Thu, 02 Jul 2026 00:00:00 GMT"));
    }

    #[test]
    fn entries_are_escaped_and_lead_only_outside() {
        let written = entry("**a** `<b>` [c](https://d.example) [e](docs/f.md)").into_string();
        assert_eq!(written, "<b>a</b> <code class=\"inline\">&lt;b&gt;</code> <a href=\"https://d.example\">c</a> e");
    }

    #[test]
    fn all_of_the_changelog_is_shown() {
        let releases = read(TEXT);
        let entries: usize = releases.iter().flat_map(|release| &release.groups).map(|group| group.entries.len()).sum();
        assert_eq!(entries, TEXT.lines().filter(|line| line.starts_with("- ")).count());
        assert!(rss("https://kith.example").contains("<link>https://kith.example/changelog#v-unreleased</link>"));
    }
}
