//! E-mail addresses of accounts: their validation, and the form in which they are compared.

use crm::model::fault::Fault;

/// The longest address that mail servers accept (RFC 5321, a path without its brackets).
const MAX_BYTES: usize = 254;
/// The longest part before the @, in bytes.
const MAX_LOCAL_BYTES: usize = 64;
/// The longest part of a domain between dots, in bytes.
const MAX_LABEL_BYTES: usize = 63;
/// The domain in which no address exists.
const NOBODYS: &str = ".invalid";
/// Characters allowed before the @ besides letters and digits (RFC 5322, atext).
const SIGNS: &str = "!#$%&'*+-/=?^_`{|}~";

/// An address in the form in which it is stored and compared: trimmed, in lower case.
pub fn normal(text: &str) -> Result<String, Fault> {
    let address = text.trim();
    if !address.is_ascii() {
        return Err(Fault::invalid_with_hint(
            "\"email\" takes an address in ASCII characters.",
            "Write a domain with other letters in its xn-- form.",
        ));
    }
    match address.split_once('@') {
        Some((local, domain)) if address.len() <= MAX_BYTES && is_local(local) && is_domain(domain) => {
            Ok(address.to_ascii_lowercase())
        }
        _ => Err(Fault::invalid("\"email\" is not an e-mail address like name@example.com.")),
    }
}

fn is_local(text: &str) -> bool {
    let is_atom =
        |atom: &str| !atom.is_empty() && atom.chars().all(|sign| sign.is_ascii_alphanumeric() || SIGNS.contains(sign));
    text.len() <= MAX_LOCAL_BYTES && text.split('.').all(is_atom)
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.contains('.') && text.split('.').all(is_label) && !is_nobodys(text)
}

/// Whether an address is a placeholder. No mail is delivered to `.invalid` (RFC 6761, section 6.4), and nobody may sign up
/// with it.
pub fn is_nobodys(address: &str) -> bool {
    address.len() >= NOBODYS.len() && address[address.len() - NOBODYS.len()..].eq_ignore_ascii_case(NOBODYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_spaces_around_make_no_other_address() {
        for text in ["ada@example.com", " Ada@Example.COM ", "ADA@EXAMPLE.COM\n"] {
            assert_eq!(normal(text).as_deref(), Ok("ada@example.com"));
        }
        assert_eq!(normal("o'Neil+kith@mail.example.co.uk").as_deref(), Ok("o'neil+kith@mail.example.co.uk"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let texts = [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@@example.com",
            ".ada@example.com",
            "a..b@example.com",
            "ada@-x.com",
            "ada@x-.com",
            "ada@example..com",
            "ada@example.com.",
            "ada@example.com\r\nBcc: eve@example.com",
            "\"ada\"@example.com",
            "ada@bücher.example",
            "<ada@example.com>",
            "ada@somewhere.INVALID",
            "' OR 1=1 --@example.com",
            &long,
        ];
        for text in texts {
            assert!(normal(text).is_err(), "{text}");
        }
    }
}
