//! The controls of a request: whether it is a dry run, and how many rows it may change. They are headers, in a spelling of Kith's
//! and in PostgREST's (`Prefer`). A header that is nearly a control is refused, so that no control is ignored silently.

use serde_json::{Map, Value};

use crate::model::fault::Fault;

/// The header of a dry run.
pub const DRY_RUN: &str = "X-Dry-Run";
/// The header with the most rows that a request may change.
pub const MAX_AFFECTED: &str = "X-Max-Affected";

/// Its argument of a tool.
pub const DRY_RUN_ARGUMENT: &str = "dry_run";
/// Its argument of a tool.
pub const MAX_AFFECTED_ARGUMENT: &str = "max_affected";

/// The largest value of [`MAX_AFFECTED`].
const MOST: u32 = 1_000_000;

/// The controls of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Whether it is a dry run; `None` if the request does not say.
    pub dry_run: Option<bool>,
    /// The most rows that it may change.
    pub max_affected: Option<u32>,
    /// The preferences of `Prefer` that are honoured, for `Preference-Applied`.
    pub preferences: Vec<String>,
}

impl Limits {
    /// Whether the request has a control.
    pub fn any(&self) -> bool {
        self.dry_run.is_some() || self.max_affected.is_some()
    }

    /// These controls, and further ones of the same request. They must not contradict each other.
    pub fn and(mut self, more: &Limits) -> Result<Limits, Fault> {
        more.dry_run.map_or(Ok(()), |value| set(&mut self.dry_run, value))?;
        more.max_affected.map_or(Ok(()), |value| set(&mut self.max_affected, value))?;
        Ok(self)
    }
}

/// Reads the controls from a request's headers. Their names are in lower case.
pub fn read<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Limits, Fault> {
    let mut limits = Limits::default();
    for (name, value) in headers {
        let text = || std::str::from_utf8(value).map(str::trim).map_err(|_| wrong(name, "its value is no text"));
        match name {
            "x-dry-run" => set(&mut limits.dry_run, flag(text()?)?)?,
            "x-max-affected" => set(&mut limits.max_affected, number(MAX_AFFECTED, text()?)?)?,
            "prefer" => {
                let preferences = preferences(text()?).ok_or_else(|| wrong("Prefer", "a quoted text has no end"))?;
                for (preference, value) in preferences {
                    match (&*preference, &*value) {
                        ("tx", "rollback") => set(&mut limits.dry_run, true)?,
                        ("tx", "commit") => set(&mut limits.dry_run, false)?,
                        ("tx", _) => return Err(wrong("Prefer: tx", "it takes rollback or commit")),
                        ("max-affected", value) => {
                            set(&mut limits.max_affected, number("Prefer: max-affected", value)?)?
                        }
                        _ => continue,
                    }
                    limits.preferences.push(format!("{preference}={value}"));
                }
            }
            name => {
                if let Some(right) = nearly(name) {
                    return Err(Fault::Refused {
                        code: "unknown_control",
                        message: format!("There is no header \"{name}\"."),
                        hint: Some(format!("Did you mean {right}? Nothing was done.")),
                    });
                }
            }
        }
    }
    Ok(limits)
}

/// Takes the controls out of the arguments of a tool.
pub fn of_arguments(arguments: &mut Map<String, Value>) -> Result<Limits, Fault> {
    let dry_run = match arguments.remove(DRY_RUN_ARGUMENT) {
        None | Some(Value::Null) => None,
        Some(Value::Bool(is_dry)) => Some(is_dry),
        Some(_) => return Err(wrong_argument(DRY_RUN_ARGUMENT, "true or false")),
    };
    let max_affected = match arguments.remove(MAX_AFFECTED_ARGUMENT) {
        None | Some(Value::Null) => None,
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= MOST);
            let wrong = || wrong_argument(MAX_AFFECTED_ARGUMENT, &format!("a whole number from 0 to {MOST}"));
            Some(number.ok_or_else(wrong)?)
        }
    };
    Ok(Limits { dry_run, max_affected, ..Limits::default() })
}

fn wrong_argument(name: &str, takes: &str) -> Fault {
    let message = format!("\"{name}\" must be {takes}. Nothing was done.");
    Fault::Refused { code: "unknown_control", message, hint: None }
}

/// Refuses controls of a request that can't have any. A request that only reads ignores them.
pub fn none(limits: &Limits, is_read: bool) -> Result<(), Fault> {
    if is_read || !limits.any() {
        return Ok(());
    }
    Err(Fault::Refused {
        code: "control_not_supported",
        message: format!(
            "{DRY_RUN}, {MAX_AFFECTED} and their Prefer spellings are for the workspace's data, not for this path."
        ),
        hint: Some("Leave the header out. Nothing was done.".into()),
    })
}

fn set<T: PartialEq>(control: &mut Option<T>, value: T) -> Result<(), Fault> {
    if control.as_ref().is_some_and(|known| *known != value) {
        return Err(wrong("Controls", "they contradict each other"));
    }
    *control = Some(value);
    Ok(())
}

fn flag(text: &str) -> Result<bool, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(DRY_RUN, "it takes true or false")),
    }
}

fn number(name: &str, text: &str) -> Result<u32, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= MOST);
    number.ok_or_else(|| wrong(name, "it takes a whole number from 0 to 1000000"))
}

fn wrong(name: &str, why: &str) -> Fault {
    Fault::Refused {
        code: "unknown_control",
        message: format!("{name}: {why}. Nothing was done."),
        hint: Some(format!("Send {DRY_RUN}: true, or {MAX_AFFECTED}: 20.")),
    }
}

/// The preferences of a `Prefer` header, their names in lower case, without their parameters (RFC 7240, section 2). `None` if a
/// quoted text has no end.
fn preferences(text: &str) -> Option<Vec<(String, String)>> {
    let read = |preference: &str| {
        let preference = apart(preference, ';')?.first().copied().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        Some((name.trim().to_ascii_lowercase(), unquoted(value.trim())))
    };
    let all: Option<Vec<_>> = apart(text, ',')?.into_iter().map(read).collect();
    all.map(|all| all.into_iter().filter(|(name, _)| !name.is_empty()).collect())
}

/// Splits a header's value where the separator is not in a quoted text. `None` if a quoted text has no end.
fn apart(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, it) in text.char_indices() {
        match it {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            it if it == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + it.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

/// The text in quotes, without its escapes (RFC 9110, section 5.6.4). Any other word stays as it is.
fn unquoted(word: &str) -> String {
    let Some(inner) = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return word.to_owned() };
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(it) = rest.next() {
        text.extend(if it == '\\' { rest.next() } else { Some(it) });
    }
    text
}

/// The control that a header's name nearly is. Each header of each request comes here, so most are let through at a glance.
fn nearly(name: &str) -> Option<&'static str> {
    let may_be = |part: &[u8]| matches!(part, b"dry" | b"aff" | b"max");
    if !name.starts_with('x') && !name.as_bytes().windows(3).any(may_be) {
        return None;
    }
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_near = |control: &str| strsim::levenshtein(&bare, control) <= 2;
    if bare.starts_with("xdry") || bare.contains("dryrun") || is_near("xdryrun") {
        return Some(DRY_RUN);
    }
    let counts_rows = bare == "xmax" || bare.contains("affected") || bare.contains("maxrows");
    (counts_rows || is_near("xmaxaffected")).then_some(MAX_AFFECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Result<Limits, Fault> {
        read(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], dry_run: Option<bool>, max_affected: Option<u32>) {
        let limits = of(headers).expect("controls");
        assert_eq!((limits.dry_run, limits.max_affected), (dry_run, max_affected));
    }

    #[track_caller]
    fn refused(headers: &[(&str, &str)], says: &str) {
        let fault = of(headers).expect_err("a refusal");
        assert_eq!(fault.code(), "unknown_control");
        let text = format!("{} {}", fault.message(), fault.hint().unwrap_or_default());
        assert!(text.contains(says), "{text}");
    }

    #[test]
    fn controls_have_two_spellings() {
        check(&[("accept", "application/json"), ("x-agent", "dry run")], None, None);
        check(&[("x-dry-run", "true"), ("x-max-affected", "0")], Some(true), Some(0));
        check(&[("x-dry-run", "false")], Some(false), None);
        check(
            &[("prefer", "return=representation, tx=rollback; a=b, max-affected=1000000")],
            Some(true),
            Some(1_000_000),
        );
        check(&[("prefer", "handling=strict, respond-async")], None, None);
        // What is in a quoted text is no preference, and no separator.
        check(&[("prefer", "foo=\"bar, tx=rollback\"")], None, None);
        check(&[("prefer", "foo=\"a\\\", tx=rollback\", max-affected=3")], None, Some(3));
        check(&[("prefer", "foo; p=\"; , tx=rollback\", tx=\"roll\\back\" ; q=1")], Some(true), None);
        check(&[("prefer", "foo=a\\, tx = rollback")], Some(true), None);
        check(&[("prefer", "tx=rollback"), ("x-dry-run", "true")], Some(true), None);
        assert_eq!(
            of(&[("prefer", "a=b, TX=rollback,max-affected=2")]).unwrap().preferences,
            ["tx=rollback", "max-affected=2"]
        );
    }

    #[test]
    fn no_control_is_ignored_silently() {
        for name in
            ["x-dryrun", "x-dry-runs", "dry-run", "x-dry_run", "x-kith-dry-run", "x-dri-run", "x-dry", "x-dry-mode"]
        {
            refused(&[(name, "true")], DRY_RUN);
        }
        for name in ["x-max-rows-affected", "x-maxaffected", "x-max-affect", "max-affected", "x-max-rows", "x-max"] {
            refused(&[(name, "1")], MAX_AFFECTED);
        }
        for value in ["yes", "1", "", "truee"] {
            refused(&[("x-dry-run", value)], "true or false");
        }
        for value in ["-1", "", "1.5", "1000001", "ten", "+5"] {
            refused(&[("x-max-affected", value)], "1000000");
        }
        refused(&[("prefer", "tx=maybe")], "rollback");
        refused(&[("prefer", "tx=\"rollback\"x")], "rollback");
        refused(&[("prefer", "foo=\"bar, tx=rollback")], "no end");
        refused(&[("prefer", "max-affected=x")], "1000000");
        refused(&[("prefer", "tx=commit"), ("x-dry-run", "true")], "contradict");
        refused(&[("x-max-affected", "1"), ("prefer", "max-affected=2")], "contradict");
    }
}
