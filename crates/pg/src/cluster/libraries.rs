//! Says what to install when the dynamic loader refuses a PostgreSQL binary. A slim image lacks some of the libraries that
//! PostgreSQL links. The loader names only the first missing one, so it is called again to list them all.

use std::fmt::Write;
use std::process::Command;

/// Shared libraries that a PostgreSQL build may require, and the Debian package of each.
const PACKAGES: &[(&str, &str)] = &[
    ("libssl.so.3", "libssl3"),
    ("libcrypto.so.3", "libssl3"),
    ("libgssapi_krb5.so.2", "libgssapi-krb5-2"),
    ("libkrb5.so.3", "libkrb5-3"),
    ("libk5crypto.so.3", "libk5crypto3"),
    ("libkrb5support.so.0", "libkrb5support0"),
    ("libcom_err.so.2", "libcom-err2"),
    ("libkeyutils.so.1", "libkeyutils1"),
    ("liblz4.so.1", "liblz4-1"),
    ("libzstd.so.1", "libzstd1"),
    ("libz.so.1", "zlib1g"),
    ("liblzma.so.5", "liblzma5"),
    ("libreadline.so.8", "libreadline8"),
    ("libpam.so.0", "libpam0g"),
    ("libxml2.so.2", "libxml2"),
    ("libldap-2.5.so.0", "libldap-2.5-0"),
    ("libsystemd.so.0", "libsystemd0"),
    ("libuuid.so.1", "libuuid1"),
    ("liburing.so.2", "liburing2"),
    ("libnuma.so.1", "libnuma1"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libgcc_s.so.1", "libgcc-s1"),
];

/// One sentence that says why the binary did not run, with the packages to install if libraries are missing. `loader` is the
/// loader's output; `listing` makes it list everything that is missing.
pub(crate) fn explain(loader: &str, listing: &mut Command) -> String {
    let line = loader.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim();
    let listed = listing
        // As ldd does: the loader then lists the libraries instead of running the program.
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let missing = missing(line, &listed);
    if missing.is_empty() {
        return format!("does not run: {line}");
    }
    let mut packages: Vec<&str> = missing.iter().filter_map(|library| package(library)).collect();
    packages.dedup();
    let mut text = format!("lacks {}", missing.join(", "));
    if packages.is_empty() {
        text.push_str(", which should have come along: run bin/fetch-postgres again");
    } else {
        // Writing to a String cannot fail.
        let _ = write!(text, " (apt-get install {})", packages.join(" "));
    }
    text
}

fn package(library: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(name, _)| *name == library).map(|(_, package)| *package)
}

/// The libraries that the loader's line and its listing report as not found, each once.
fn missing(line: &str, listing: &str) -> Vec<String> {
    let named = line
        .split_once("error while loading shared libraries: ")
        .filter(|(_, rest)| rest.contains("cannot open shared object file"))
        .and_then(|(_, rest)| rest.split_once(':'))
        .map(|(library, _)| library.to_owned());
    let listed = listing.lines().filter_map(|line| line.trim().strip_suffix(" => not found").map(str::to_owned));
    let mut all: Vec<String> = Vec::new();
    for library in listed.chain(named) {
        if !all.contains(&library) {
            all.push(library);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "/x/bin/postgres: error while loading shared libraries: libssl.so.3: cannot open shared object file: No such file";

    #[test]
    fn every_missing_library_is_named_once_with_its_package() {
        let listing = "\tlibssl.so.3 => not found\n\tlibz.so.1 => /lib/libz.so.1 (0x0)\n\tliblz4.so.1 => not found\n";
        assert_eq!(missing(LINE, listing), ["libssl.so.3", "liblz4.so.1"]);
        assert_eq!(package("liblz4.so.1"), Some("liblz4-1"));
    }

    #[test]
    fn the_loaders_line_alone_is_enough() {
        assert_eq!(missing(LINE, ""), ["libssl.so.3"]);
        assert!(missing("Illegal instruction", "").is_empty());
    }
}
