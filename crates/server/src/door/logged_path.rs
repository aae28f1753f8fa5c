//! A path as logs may show it: without tokens, and not too long.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crm::dialect::DIALECTS;

/// The most characters of a path in a log.
const MOST_CHARACTERS: usize = 500;

/// The beginnings of Kith's other tokens: of sessions, e-mails, invitations and webhooks.
const TOKENS: &[&str] = &["kst_", "kmt_", "inv_", "kin_", "whsec_"];

/// The paths whose next segment is a token, whatever it looks like: invitations, and addresses that receive e-mail.
const BEFORE_TOKENS: &[&str] = &["/v1/members/accept/", "/v1/inbound/", "/inbound/", "/invite/"];

/// What stands in the place of a token.
const MASK: &str = "***";

/// A path with its tokens masked.
pub fn shown(path: &str) -> Cow<'_, str> {
    let below = path.strip_prefix("/app").unwrap_or(path);
    if let Some(before) = BEFORE_TOKENS.iter().find(|before| below.starts_with(**before) && below.len() > before.len())
    {
        return Cow::Owned(format!("{before}{MASK}"));
    }
    if path.len() <= MOST_CHARACTERS && !path.split('/').any(is_token) {
        return Cow::Borrowed(path);
    }
    let masked = path.split('/').map(|segment| if is_token(segment) { MASK } else { segment }).collect::<Vec<_>>();
    let whole = masked.join("/");
    let mut cut: String = whole.chars().take(MOST_CHARACTERS).collect();
    if cut.len() < whole.len() {
        cut.push('…');
    }
    Cow::Owned(cut)
}

/// Whether a segment holds a token, an API key for example.
fn is_token(segment: &str) -> bool {
    match segment.contains('%') {
        true => holds_token(&percent_decode_str(segment).decode_utf8_lossy()),
        false => holds_token(segment),
    }
}

/// Every token begins with a word and an underscore, so only underscores are looked at: every request comes here.
fn holds_token(text: &str) -> bool {
    let ends_in_prefix = |head: &[u8]| beginnings().any(|prefix| head.ends_with(prefix.as_bytes()));
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| *byte == b'_' && ends_in_prefix(&bytes[..=at]))
}

/// The beginnings of all tokens.
fn beginnings() -> impl Iterator<Item = &'static str> {
    DIALECTS.iter().flat_map(|dialect| dialect.key_prefixes).chain(TOKENS).copied()
}

#[cfg(test)]
mod tests {
    use super::{beginnings, shown};

    #[test]
    fn every_beginning_ends_with_an_underscore() {
        assert!(beginnings().all(|prefix| prefix.ends_with('_')));
    }

    #[test]
    fn tokens_are_not_logged() {
        let check = |path: &str, expected: &str| assert_eq!(shown(path), expected);
        check("/v1/members/accept/inv_0123456789", "/v1/members/accept/***");
        check("/v1/members/accept/anything/else", "/v1/members/accept/***");
        check("/v1/contacts/c_1", "/v1/contacts/c_1");
        check("/app/v1/contacts/c_1", "/app/v1/contacts/c_1");
        check("/v1/keys/acrm_live_abc/x", "/v1/keys/***/x");
        check("/v1/contacts/sk%5Flive_abc", "/v1/contacts/***");
        check("/v1/contacts/a_b_acrm_dev_c", "/v1/contacts/***");
        check("/v1/auth/sessions/kst_abc", "/v1/auth/sessions/***");
        check("/mcp", "/mcp");
        let long = shown(&format!("/v1/{}", "ä".repeat(1000))).into_owned();
        assert_eq!((long.chars().count(), long.ends_with('…')), (501, true));
    }
}
