//! The log of requests.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crm::model::answer::Answer;
use crm::model::call::Method;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;

use crate::hall::control::ControlCall;
use crate::store::control::request_log::REQUEST_LOG;

/// The statuses of HTTP.
const STATUSES: RangeInclusive<u16> = 100..=599;

impl ControlCall<'_> {
    pub(super) async fn logs(&self, filters: &Map<String, Value>, page: &PageAsk) -> Result<Answer, Fault> {
        let given = |name: &str| filters.get(name).and_then(Value::as_str).unwrap_or_default();
        let (lowest, highest) = statuses(given("status"))?.into_inner();
        let (lowest, highest) = (lowest.to_string(), highest.to_string());
        let (method, since) = (method(given("method"))?, time(given("since"))?);
        let holder = self.holder();
        let arguments = [holder.mode, &lowest, &highest, &method, &since];
        self.app.store.control.page(&REQUEST_LOG, holder.workspace_id, &arguments, page).await
    }
}

/// The statuses of a filter: `404`, or `4xx` for a class.
fn statuses(text: &str) -> Result<RangeInclusive<u16>, Fault> {
    if text.is_empty() {
        return Ok(STATUSES);
    }
    let class = text
        .strip_suffix("xx")
        .and_then(|digit| digit.parse::<u16>().ok())
        .map(|it| it.saturating_mul(100))
        .map(|it| it..=it.saturating_add(99));
    let one = || text.parse::<u16>().ok().map(|it| it..=it);
    class.or_else(one).filter(|it| STATUSES.contains(it.start())).ok_or_else(|| {
        Fault::invalid_with_hint(
            format!("status takes a status of HTTP, not \"{text}\"."),
            "Send 404, or 4xx for all from 400 to 499.",
        )
    })
}

fn method(text: &str) -> Result<String, Fault> {
    let method = text.to_ascii_uppercase();
    match method.is_empty() || method == "HEAD" || Method::parse(&method).is_some() {
        true => Ok(method),
        false => Err(Fault::invalid(format!("method takes GET, POST, PATCH or DELETE, not \"{text}\"."))),
    }
}

/// A time, or a day for its beginning in UTC.
fn time(text: &str) -> Result<String, Fault> {
    // A space where the offset has its sign is an unescaped `+`.
    let time = text.replace(' ', "+");
    let day =
        || time.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|it| it.timestamp());
    match time.parse::<jiff::Timestamp>().ok().or_else(day) {
        Some(time) if !text.is_empty() && time.as_second() >= 0 => Ok(time.to_string()),
        _ if text.is_empty() => Ok(String::new()),
        _ => Err(Fault::invalid_with_hint(
            format!("since takes a time, not \"{text}\"."),
            "Send ISO 8601: 2026-11-28T09:00:00Z.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{method, statuses, time};

    #[test]
    fn filters_are_checked() {
        assert_eq!(statuses("").unwrap(), 100..=599);
        assert_eq!(statuses("404").unwrap(), 404..=404);
        assert_eq!(statuses("4xx").unwrap(), 400..=499);
        for bad in ["xx", "9xx", "99", "600", "4x", "ok", "99999xx"] {
            assert!(statuses(bad).is_err(), "{bad}");
        }
        assert_eq!(method("post").unwrap(), "POST");
        assert!(method("x").is_err());
        assert_eq!(time("2026-11-28").unwrap(), "2026-11-28T00:00:00Z");
        assert_eq!(time("2026-11-28T02:00:00 01:00").unwrap(), "2026-11-28T01:00:00Z");
        for bad in ["yesterday", "infinity", "0001-01-01T00:00:00Z"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
