//! The rights of a connected app.

use std::fmt;

use crate::people::apps::OauthError;

/// A right, its name on the wire, and the words of the consent page.
#[derive(Debug, PartialEq, Eq)]
pub struct Scope {
    /// `crm:read` …
    pub name: &'static str,
    /// What it allows.
    pub words: &'static str,
}

/// All rights. Reading comes with each of them.
pub const SCOPES: &[Scope] = &[
    Scope { name: "crm:read", words: "Read all records" },
    Scope { name: "crm:write", words: "Create, change and delete records" },
    Scope { name: "crm:sql", words: "Run SQL, within the rights above" },
];

/// Some rights, in the order of [`SCOPES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    has: [bool; 3],
}

impl Scopes {
    /// All rights.
    pub const ALL: Scopes = Scopes { has: [true; 3] };
    /// What the challenge names, for clients that ask for that. SQL is for those that name it, or whose person adds it.
    pub const USUAL: Scopes = Scopes { has: [true, true, false] };

    /// Parses a list with spaces. A client that names none asks for the least, which is reading. Its person can add the others.
    pub fn parse(text: Option<&str>) -> Result<Scopes, OauthError> {
        let text = text.unwrap_or_default();
        let mut scopes = Scopes::default();
        for name in text.split_ascii_whitespace() {
            // Some clients ask for it wherever there are refresh tokens.
            if name == "offline_access" {
                continue;
            }
            let at = SCOPES.iter().position(|scope| scope.name == name);
            let at = at.ok_or_else(|| {
                OauthError::new("invalid_scope", format!("There is no scope {name:?}. There are: {}.", Scopes::ALL))
            })?;
            scopes.has[at] = true;
        }
        scopes.has[0] = true;
        Ok(scopes)
    }

    /// Whether a right is among them.
    pub fn has(self, name: &str) -> bool {
        SCOPES.iter().zip(self.has).any(|(scope, has)| has && scope.name == name)
    }

    /// The rights that are in both.
    pub fn and(self, other: Scopes) -> Scopes {
        Scopes { has: std::array::from_fn(|at| self.has[at] && other.has[at]) }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = SCOPES.iter().zip(self.has).filter(|(_, has)| *has).map(|(scope, _)| scope.name).collect();
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::Scopes;

    #[test]
    fn scopes_are_read_in_any_order_and_reading_comes_with_each() {
        assert_eq!(Scopes::parse(Some("crm:sql crm:write")).unwrap().to_string(), "crm:read crm:write crm:sql");
        assert_eq!(Scopes::parse(Some(" ")).unwrap().to_string(), "crm:read");
        assert_eq!(Scopes::parse(Some("offline_access crm:read")).unwrap().to_string(), "crm:read");
        assert_eq!(Scopes::parse(Some("admin")).unwrap_err().code, "invalid_scope");
        assert_eq!(Scopes::ALL.and(Scopes::parse(None).unwrap()).to_string(), "crm:read");
        assert_eq!(Scopes::ALL.and(Scopes::USUAL).to_string(), "crm:read crm:write");
    }
}
