//! Forwards the server's log from its standard error to Kith's log. Tenants can write any amount to it (`RAISE LOG`, failing
//! statements). It is read as fast as it arrives, so that no backend ever waits for it, and little of it is forwarded. Of a
//! session's message only the SQLSTATE is forwarded, because its text quotes tenants' values, unless it is about the
//! server's health. Lines from sessions have a limit of their own, so that a flood of them hides none of the server's own
//! lines.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `log_line_prefix`: the kind of process, the database, the SQLSTATE.
pub(crate) const PREFIX: &str = "%b|%d|%e|";

/// The kinds of process that run a tenant's code and may not name a database in their lines.
const SESSION_KINDS: &[&str] = &["client backend", "autovacuum worker", "parallel worker", "background worker"];

/// Classes of SQLSTATE that are about the server's health even if a session reports them: exhausted resources, a failing
/// disk, a damaged page.
const HEALTH: &[&str] = &["53", "58", "XX"];

/// Bytes of a line that are forwarded.
const LONGEST_LINE: usize = 1000;
/// Lines per second that are forwarded, for the server's own lines and for those of sessions.
const OWN_LINES: u32 = 100;
const SESSION_LINES: u32 = 10;

/// The last error that the server logged. It is included in the error if the server then ends.
#[derive(Clone, Default)]
pub(crate) struct Complaint(Arc<Mutex<Option<String>>>);

impl Complaint {
    fn note(&self, text: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    fn note_first(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| text.to_owned());
    }

    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads until the server's last process has closed its end.
pub(crate) fn relay(stderr: impl Read, complaint: &Complaint) {
    let mut reader = BufReader::with_capacity(64 * 1024, stderr);
    let (mut own, mut sessions) = (LineAllowance::new(OWN_LINES), LineAllowance::new(SESSION_LINES));
    let mut line = Vec::new();
    let mut early = true;
    while let Ok(true) = read_line(&mut reader, &mut line) {
        let line = LogLine::parse(&line);
        // Lines before the log is set up have no prefix, and always come from the server.
        early &= line.bare;
        if early {
            complaint.note_first(&line.text);
        }
        if line.from_session {
            if sessions.spend("PostgreSQL sessions") {
                line.pass_on();
            }
            continue;
        }
        if matches!(line.severity, Severity::Fatal) {
            complaint.note(&line.text);
        }
        if own.spend("PostgreSQL") {
            line.pass_on();
        }
    }
}

/// One line, of which at most [`LONGEST_LINE`] bytes are kept. False at the end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut read = false;
    loop {
        let part = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            part => part?,
        };
        if part.is_empty() {
            return Ok(read);
        }
        read = true;
        let end = part.iter().position(|byte| *byte == b'\n');
        let text = &part[..end.unwrap_or(part.len())];
        line.extend_from_slice(&text[..text.len().min(LONGEST_LINE - line.len())]);
        let used = end.map_or(part.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Fatal,
    Warning,
    Error,
    Note,
}

struct LogLine {
    /// Without a prefix.
    bare: bool,
    from_session: bool,
    severity: Severity,
    sqlstate: String,
    text: String,
}

impl LogLine {
    /// The other lines of a message begin with a tab, so no session can forge a prefix. Other lines without a prefix come
    /// from before the server has started.
    fn parse(line: &[u8]) -> LogLine {
        let line = String::from_utf8_lossy(line);
        // Control characters could overwrite parts of the operator's terminal.
        let clean = |text: &str| text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let parts: Vec<&str> = line.splitn(4, '|').collect();
        let [kind, database, sqlstate, rest] = parts[..] else {
            return LogLine {
                bare: true,
                from_session: line.starts_with('\t'),
                severity: Severity::Note,
                sqlstate: String::new(),
                text: clean(&line),
            };
        };
        let (severity, text) = rest.split_once(':').unwrap_or(("", rest));
        let severity = match severity {
            "FATAL" | "PANIC" => Severity::Fatal,
            "WARNING" => Severity::Warning,
            "ERROR" => Severity::Error,
            _ => Severity::Note,
        };
        LogLine {
            bare: false,
            from_session: line.starts_with('\t') || !database.is_empty() || SESSION_KINDS.contains(&kind),
            severity,
            sqlstate: clean(sqlstate),
            text: clean(text),
        }
    }

    /// Whether it is about the server's health.
    fn health(&self) -> bool {
        HEALTH.iter().any(|class| self.sqlstate.starts_with(class))
    }

    fn pass_on(&self) {
        let (sqlstate, severity) = (&self.sqlstate, self.severity);
        match (self.from_session, severity) {
            (true, _) if self.health() => {
                tracing::warn!(target: "postgres", session = true, sqlstate, "{}", self.text)
            }
            // It continues a session's line.
            (true, _) if self.bare => {}
            (true, _) => {
                tracing::debug!(target: "postgres", session = true, sqlstate, ?severity, "a line of a session")
            }
            (false, Severity::Fatal | Severity::Error) => {
                tracing::error!(target: "postgres", "{}", self.text)
            }
            (false, Severity::Warning) => tracing::warn!(target: "postgres", "{}", self.text),
            (false, Severity::Note) => tracing::info!(target: "postgres", "{}", self.text),
        }
    }
}

/// A limit of lines per second. Lines beyond it are counted and reported once.
struct LineAllowance {
    lines: u32,
    left: u32,
    dropped: u64,
    since: Instant,
}

impl LineAllowance {
    fn new(lines: u32) -> LineAllowance {
        LineAllowance { lines, left: lines, dropped: 0, since: Instant::now() }
    }

    fn spend(&mut self, whose: &str) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            if self.dropped > 0 {
                tracing::warn!(target: "postgres", lines = self.dropped, "log lines of {whose} left out");
            }
            *self = LineAllowance::new(self.lines);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.dropped += u64::from(!may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_whose_they_are_and_how_bad() {
        let check = |line: &str, session, severity, text: &str| {
            let read = LogLine::parse(line.as_bytes());
            assert_eq!((read.from_session, read.severity, read.text.as_str()), (session, severity, text), "{line}");
        };
        check("postmaster||00000|LOG:  ready", false, Severity::Note, "ready");
        check("client backend|w_1|P0001|ERROR:  a|b\u{1b}[2J", true, Severity::Error, "a|b [2J");
        check("autovacuum worker||P0001|WARNING:  from an index", true, Severity::Warning, "from an index");
        check("startup||53100|FATAL:  no space", false, Severity::Fatal, "no space");
        check("\tpostmaster||00000|FATAL:  forged", true, Severity::Fatal, "forged");
        check("\tcontinued", true, Severity::Note, "continued");
        check("postgres: loading failed", false, Severity::Note, "postgres: loading failed");
    }

    #[test]
    fn an_endless_line_is_kept_short_and_the_next_one_is_whole() {
        let text = [b"x".repeat(3_000_000), b"\nnext\nlast".to_vec()].concat();
        let mut reader = BufReader::new(text.as_slice());
        let mut line = Vec::new();
        assert!(read_line(&mut reader, &mut line).unwrap() && line.len() == LONGEST_LINE);
        assert!(read_line(&mut reader, &mut line).unwrap() && line == b"next");
        assert!(read_line(&mut reader, &mut line).unwrap() && line == b"last");
        assert!(!read_line(&mut reader, &mut line).unwrap());
    }

    #[test]
    fn a_flood_is_cut() {
        let mut allowance = LineAllowance::new(3);
        let passed = (0..100).filter(|_| allowance.spend("x")).count();
        assert_eq!((passed, allowance.dropped), (3, 97));
    }
}
