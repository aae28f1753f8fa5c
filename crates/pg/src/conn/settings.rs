//! The settings that the server reports, and whether those that answers depend on have the values they had at log-in.

/// Settings that change what a statement means or how its result is written. A tenant's function can set any of them for the
/// session.
const WATCHED: &[&str] = &[
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "IntervalStyle",
    "is_superuser",
    "search_path",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

#[derive(Default)]
pub(super) struct Settings {
    watched: Vec<Setting>,
    logged_in: bool,
    are_altered: bool,
}

struct Setting {
    name: String,
    at_login: String,
    now: String,
}

impl Settings {
    /// Stores a ParameterStatus.
    pub(super) fn report(&mut self, name: &str, value: String) {
        if !WATCHED.contains(&name) {
            return;
        }
        match self.watched.iter_mut().find(|setting| setting.name == name) {
            Some(setting) if self.logged_in => setting.now = value,
            Some(setting) => (setting.at_login, setting.now) = (value.clone(), value),
            None => {
                let (name, at_login) = (name.into(), value.clone());
                self.watched.push(Setting { name, at_login, now: value });
            }
        }
        self.are_altered = self.watched.iter().any(|setting| setting.now != setting.at_login);
    }

    /// Every later report is a change.
    pub(super) fn log_in(&mut self) {
        self.logged_in = true;
    }

    pub(super) fn are_altered(&self) -> bool {
        self.are_altered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_until_it_is_undone() {
        let mut settings = Settings::default();
        settings.report("TimeZone", "UTC".into());
        settings.report("server_version", "18.1".into());
        settings.log_in();
        assert!(!settings.are_altered());
        settings.report("application_name", "x".into());
        assert!(!settings.are_altered());
        settings.report("TimeZone", "Asia/Tokyo".into());
        assert!(settings.are_altered());
        settings.report("TimeZone", "UTC".into());
        assert!(!settings.are_altered());
    }
}
