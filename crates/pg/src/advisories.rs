//! Known vulnerabilities of PostgreSQL, and the minor releases that fixed them. The table lists those that a workspace's
//! SQL, or a client that is not logged in, can use. It omits those of client programs, of replication, and of extensions
//! that a workspace can't have.
//!
//! The versions are those of PostgreSQL's own CVE records ("Versions before … are affected").

/// A known vulnerability.
#[derive(Debug, PartialEq, Eq)]
pub struct Advisory {
    /// The number of its CVE record.
    pub cve: &'static str,
    /// What it allows.
    pub effect: &'static str,
    /// For each affected major version, the first release without it, as major and minor version.
    closed_in: &'static [(u32, u32)],
}

const ADVISORIES: &[Advisory] = &[
    Advisory {
        cve: "CVE-2026-2005",
        effect: "a message to pgcrypto's pgp functions can run code as the server's user",
        closed_in: &[(16, 12), (17, 8), (18, 2)],
    },
    Advisory {
        cve: "CVE-2026-2006",
        effect: "text functions can run a role's code as the server's user",
        closed_in: &[(16, 12), (17, 8), (18, 2)],
    },
    Advisory { cve: "CVE-2026-2007", effect: "pg_trgm writes past its memory", closed_in: &[(18, 2)] },
    Advisory {
        cve: "CVE-2026-6473",
        effect: "large values can run a role's code as the server's user",
        closed_in: &[(16, 14), (17, 10), (18, 4)],
    },
    Advisory {
        cve: "CVE-2026-6479",
        effect: "the server can be crashed before a log-in",
        closed_in: &[(16, 14), (17, 10), (18, 4)],
    },
    Advisory {
        cve: "CVE-2026-14664",
        effect: "regular expressions can run a role's code as the server's user",
        closed_in: &[(16, 15), (17, 11), (18, 6)],
    },
    Advisory {
        cve: "CVE-2026-14669",
        effect: "to_char() can run a role's code as the server's user",
        closed_in: &[(16, 15), (17, 11), (18, 6)],
    },
    Advisory {
        cve: "CVE-2026-14680",
        effect: "arguments of the type internal can run a role's code as the server's user",
        closed_in: &[(16, 15), (17, 11), (18, 6)],
    },
    Advisory {
        cve: "CVE-2026-16239",
        effect: "cursors can run a role's code as the server's user",
        closed_in: &[(16, 15), (17, 11), (18, 6)],
    },
    Advisory {
        cve: "CVE-2026-6460",
        effect: "ALTER … SET DATA TYPE can run a role's code as the server's user",
        closed_in: &[(16, 16), (17, 12), (18, 7)],
    },
    Advisory {
        cve: "CVE-2026-120141",
        effect: "functions that return records can run a role's code as the server's user",
        closed_in: &[(16, 16), (17, 12), (18, 7)],
    },
];

impl Advisory {
    /// The release of a major version that fixed it. `None` if that version was never affected.
    pub fn closed_in(&self, major: u32) -> Option<(u32, u32)> {
        self.closed_in.iter().copied().find(|release| release.0 == major)
    }
}

/// The vulnerabilities that a release, given as major and minor version, still has.
pub fn open_in(release: (u32, u32)) -> Vec<&'static Advisory> {
    let is_open = |advisory: &&Advisory| advisory.closed_in(release.0).is_some_and(|closed| release < closed);
    ADVISORIES.iter().filter(is_open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_the_holes_that_later_ones_closed() {
        let check = |release, expected: &[&str]| {
            let found: Vec<&str> = open_in(release).iter().map(|advisory| &advisory.cve["CVE-2026-".len()..]).collect();
            assert_eq!(found, expected, "{release:?}");
        };
        let newest = ["14664", "14669", "14680", "16239", "6460", "120141"];
        check((18, 1), &[&["2005", "2006", "2007", "6473", "6479"], &newest[..]].concat());
        check((18, 2), &[&["6473", "6479"], &newest[..]].concat());
        check((18, 4), &newest);
        check((18, 6), &["6460", "120141"]);
        check((17, 7), &[&["2005", "2006", "6473", "6479"], &newest[..]].concat());
        check((17, 11), &["6460", "120141"]);
        check((16, 14), &newest);
        for sound in [(18, 7), (18, 10), (17, 12), (16, 16), (19, 0)] {
            check(sound, &[]);
        }
    }

    /// `bin/setup` makes the same decision about a system's PostgreSQL, without Kith.
    #[test]
    fn the_scripts_know_the_same_releases() {
        let sound: Vec<String> = (16..=18)
            .map(|major| {
                let closed = ADVISORIES.iter().filter_map(|advisory| advisory.closed_in(major)).max();
                closed.map(|(major, minor)| format!("{major}.{minor}")).expect("a release")
            })
            .collect();
        let line = format!("\nsound_postgres=\"{}\"\n", sound.join(" "));
        assert!(include_str!("../../../bin/setup").contains(&line), "bin/setup lacks {line}");
    }
}
