//! The addresses of pages, and of what other programs open.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is encoded in a segment of a path, and in a value of a query.
const IN_ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The tables that have an entry of their own in the navigation.
const WITH_PAGES: &[&str] = &["contacts", "companies", "deals", "activities", "emails", "lists"];

/// The page of a table.
pub fn table_address(table: &str) -> String {
    if WITH_PAGES.contains(&table) { format!("/{table}") } else { format!("/tables/{}", encoded(table)) }
}

/// The page of a record.
pub fn address(table: &str, id: &str) -> String {
    format!("{}/{}", table_address(table), encoded(id))
}

/// A text as a segment of a path or a value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_ADDRESS).to_string()
}

/// An address that an e-mail program or a telephone opens.
pub fn contact_address(scheme: &str, text: &str) -> String {
    const PLAIN: &AsciiSet = &IN_ADDRESS.remove(b'@').remove(b'+').remove(b'(').remove(b')');
    let text: String = text.split_whitespace().collect();
    format!("{scheme}:{}", utf8_percent_encode(&text, PLAIN))
}

#[cfg(test)]
mod tests {
    use super::{address, contact_address};

    #[test]
    fn addresses_are_encoded_where_they_need_it() {
        assert_eq!(address("deals", "d_1"), "/deals/d_1");
        assert_eq!(address("my table", "a/b"), "/tables/my%20table/a%2Fb");
        assert_eq!(contact_address("mailto", "ada+crm@x.example"), "mailto:ada+crm@x.example");
        assert_eq!(contact_address("mailto", "a?subject=x@y.example"), "mailto:a%3Fsubject%3Dx@y.example");
        assert_eq!(contact_address("tel", "+47 22 (0) 5"), "tel:+4722(0)5");
    }
}
