//! Billing plans: the features that a workspace has, and its requests per month. Without a file of plans all features are
//! open, and nothing is counted.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crm::model::fault::Fault;
use crm::model::who::Features;

use crate::config::SetPlan;
use crate::store::Store;
use crate::store::cell::server;
use crate::store::control::billing::MonthlyRequests;
use crate::store::control::grants::GrantedWorkspace;

/// The most workspaces whose requests are counted. Beyond that, counters without new requests are dropped.
const COUNTED: usize = 100_000;

/// The plans of this installation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingPlans {
    /// The plan of workspaces that have no plan of their own.
    default: String,
    plans: HashMap<String, BillingPlan>,
}

/// A plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingPlan {
    /// Requests per month (UTC) with all keys of a workspace. If it is left out, there is no limit.
    monthly_requests: Option<u64>,
    /// The plan's features. A feature that is left out is open.
    #[serde(default)]
    features: PlanFeatures,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFeatures {
    associations: Option<bool>,
}

impl BillingPlans {
    /// Reads a file of plans: `{"default": "free", "plans": {"free": {"monthly_requests": 1000, "features":
    /// {"associations": false}}, "team": {}}}`.
    pub fn read(path: &Path) -> Result<BillingPlans, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        BillingPlans::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<BillingPlans, String> {
        let plans: BillingPlans = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !plans.plans.contains_key(&plans.default) {
            return Err(format!("the default plan \"{}\" is not among the plans", plans.default));
        }
        Ok(plans)
    }

    /// The plan with this name. If the plan is no longer in the file, the default.
    fn of(&self, name: Option<&str>) -> &BillingPlan {
        let named = name.and_then(|name| self.plans.get(name));
        // The default exists: this was checked when the plans were read.
        named.unwrap_or_else(|| &self.plans[&self.default])
    }
}

/// `kith plan`: gives a workspace a plan. Every process applies it within a second.
pub async fn set(ask: SetPlan) -> Result<(), String> {
    let path = ask.config.plans.as_deref().ok_or("--plans or KITH_PLANS must name the file of plans")?;
    let plans = BillingPlans::read(path)?;
    if !plans.plans.contains_key(&ask.plan) {
        let mut names: Vec<&str> = plans.plans.keys().map(String::as_str).collect();
        names.sort_unstable();
        return Err(format!("there is no plan \"{}\"; there are: {}", ask.plan, names.join(", ")));
    }
    let store = server::reach(&ask.config)?;
    let done = store.control.set_plan(&ask.workspace, &ask.plan).await;
    store.close().await;
    match done {
        Ok(true) => {
            println!("{} has the plan {} from now on", ask.workspace, ask.plan);
            Ok(())
        }
        Ok(false) => Err(format!("there is no workspace {}", ask.workspace)),
        Err(fault) => Err(described(&fault)),
    }
}

/// A fault as text for the operator, with its cause.
fn described(fault: &Fault) -> String {
    match fault {
        Fault::Internal { cause, .. } => cause.clone(),
        fault => fault.message(),
    }
}

/// A plan as people read it.
#[derive(Debug)]
pub struct PlanTerms {
    /// The plan's name.
    pub name: String,
    /// Requests per month; `None` if there is no limit.
    pub monthly_requests: Option<u64>,
    /// Whether associations are open.
    pub associations: bool,
}

impl Subscriptions {
    /// The terms of the plan with this name, or of the default one; `None` if this Kith has no plans.
    pub fn terms(&self, name: Option<&str>) -> Option<PlanTerms> {
        let plans = self.plans.as_ref()?;
        let (plan, default) = (plans.of(name), &plans.default);
        let name = name.filter(|name| plans.plans.contains_key(*name)).unwrap_or(default);
        let associations = plan.features.associations.unwrap_or(true);
        Some(PlanTerms { name: name.to_owned(), monthly_requests: plan.monthly_requests, associations })
    }
}

/// What a workspace's plan allows.
#[derive(Clone, Debug, Default)]
pub struct Entitlements {
    /// The features that the workspace may use.
    pub features: Features,
    quota: Option<MonthlyQuota>,
}

#[derive(Clone, Debug)]
struct MonthlyQuota {
    requests: u64,
    meter: Arc<Meter>,
}

/// The plans, and the counts of workspaces that have a quota.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    plans: Option<Arc<BillingPlans>>,
    meters: Arc<Mutex<HashMap<String, Arc<Meter>>>>,
}

/// The requests of one workspace.
#[derive(Debug, Default)]
struct Meter(Mutex<Count>);

/// The requests of a month. Counts of a past month are kept until they are saved.
#[derive(Debug, Default)]
struct Count {
    month: Option<Month>,
    /// By all processes, as far as they were saved.
    noted: u64,
    /// By this process, not saved yet.
    fresh: u64,
    before: Vec<(Month, u64)>,
}

/// A month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Month {
    first: Date,
    /// The first second of this month and of the next one, in Unix time.
    begins: i64,
    ends: i64,
}

impl Month {
    fn of(unix_seconds: i64) -> Month {
        let date = Timestamp::from_second(unix_seconds).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        let second = |date: Date| date.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_second());
        let next = date.last_of_month().tomorrow().unwrap_or(Date::MAX);
        Month { first: date.first_of_month(), begins: second(date.first_of_month()), ends: second(next) }
    }
}

impl Meter {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// Moves on to the month of this second.
    fn turn(&mut self, now: i64) -> Month {
        match self.month {
            Some(month) if (month.begins..month.ends).contains(&now) => month,
            former => {
                let fresh = std::mem::take(&mut self.fresh);
                self.before.extend(former.filter(|_| fresh > 0).map(|month| (month, fresh)));
                let month = Month::of(now);
                (self.month, self.noted) = (Some(month), 0);
                month
            }
        }
    }
}

impl Entitlements {
    /// Counts a request. A refused request does not count.
    pub fn take(&self, now: i64) -> Result<(), Fault> {
        let Some(MonthlyQuota { requests, meter }) = &self.quota else { return Ok(()) };
        let mut count = meter.count();
        let month = count.turn(now);
        if count.noted + count.fresh < *requests {
            count.fresh += 1;
            return Ok(());
        }
        let message = format!("The workspace has made the {requests} requests that its plan has for this month.");
        Err(Fault::QuotaExceeded { retry_after: (month.ends - now).max(1) as u64, message })
    }
}

impl Subscriptions {
    /// Creates subscriptions with these plans.
    pub fn new(plans: Option<BillingPlans>) -> Subscriptions {
        Subscriptions { plans: plans.map(Arc::new), meters: Arc::default() }
    }

    /// What the plan of a workspace allows. If the plan has a quota, the earlier count is looked up.
    pub async fn entitlements(
        &self,
        store: &Store,
        workspace: &GrantedWorkspace,
        now: i64,
    ) -> Result<Entitlements, Fault> {
        let Some(plans) = &self.plans else { return Ok(Entitlements::default()) };
        let plan = plans.of(workspace.plan.as_deref());
        let features = Features { associations: plan.features.associations.unwrap_or(true) };
        let Some(requests) = plan.monthly_requests else { return Ok(Entitlements { features, quota: None }) };
        let meter = self.meter(&workspace.id);
        let month = Month::of(now);
        let noted = store.control.monthly_requests(&workspace.id, &month.first.to_string()).await?;
        let mut count = meter.count();
        if count.turn(now) == month {
            count.noted = count.noted.max(noted);
        }
        drop(count);
        Ok(Entitlements { features, quota: Some(MonthlyQuota { requests, meter }) })
    }

    fn meter(&self, workspace_id: &str) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= COUNTED {
            meters.retain(|_, meter| {
                let count = meter.count();
                count.fresh > 0 || !count.before.is_empty()
            });
        }
        meters.entry(workspace_id.to_owned()).or_default().clone()
    }

    /// Saves the new counts, and reads the counts that other processes have saved.
    pub async fn note(&self, store: &Store) -> Result<(), Fault> {
        let mut news: Vec<(Arc<Meter>, Month, MonthlyRequests)> = Vec::new();
        {
            let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
            for (workspace_id, meter) in meters.iter() {
                let mut count = meter.count();
                let mut all = std::mem::take(&mut count.before);
                all.extend(count.month.filter(|_| count.fresh > 0).map(|month| (month, count.fresh)));
                let used = |month: Month, requests| MonthlyRequests {
                    workspace_id: workspace_id.clone(),
                    month: month.first.to_string(),
                    requests,
                };
                news.extend(all.into_iter().map(|(month, requests)| (meter.clone(), month, used(month, requests))));
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        let used: Vec<&MonthlyRequests> = news.iter().map(|(_, _, used)| used).collect();
        let totals = store.control.add_requests(&used).await;
        for (meter, month, used) in &news {
            let mut count = meter.count();
            match (&totals, count.month == Some(*month)) {
                (Ok(totals), true) => {
                    count.fresh -= used.requests;
                    let total = totals.get(&(used.workspace_id.clone(), used.month.clone()));
                    count.noted = total.copied().unwrap_or(count.noted + used.requests);
                }
                (Ok(_), false) => {
                    // The month ended meanwhile, and its old count includes what was just saved.
                    if let Some((_, left)) = count.before.iter_mut().find(|(before, _)| before == month) {
                        *left = left.saturating_sub(used.requests);
                    }
                    count.before.retain(|(_, left)| *left > 0);
                }
                (Err(_), true) => {}
                (Err(_), false) => {
                    if !count.before.iter().any(|(before, _)| before == month) {
                        count.before.push((*month, used.requests));
                    }
                }
            }
        }
        totals.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_plans_says_what_each_has() {
        let plans = BillingPlans::parse(r#"{"default": "free", "plans": {"free": {"monthly_requests": 5, "features": {"associations": false}}, "team": {}}}"#).unwrap();
        assert_eq!(plans.of(None).monthly_requests, Some(5));
        assert_eq!(plans.of(Some("gone")).features.associations, Some(false));
        assert_eq!(plans.of(Some("team")).features.associations, None);
        for bad in [
            r#"{"default": "free", "plans": {}}"#,
            r#"{"default": "free", "plans": {"free": {"requests": 5}}}"#,
            r#"{"default": "free", "plans": {"free": {"features": {"associatons": false}}}}"#,
            "{}",
            "free",
        ] {
            assert!(BillingPlans::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_month_is_counted_to_its_end() {
        // 2026-12-31T23:59:58Z
        let now = 1_798_761_598;
        let entitlements = Entitlements {
            quota: Some(MonthlyQuota { requests: 2, meter: Arc::default() }),
            ..Entitlements::default()
        };
        assert_eq!(entitlements.take(now), Ok(()));
        assert_eq!(entitlements.take(now), Ok(()));
        assert_eq!(entitlements.take(now).unwrap_err().retry_after(), Some(2));
        assert_eq!(entitlements.take(now + 2), Ok(()));
        let count = entitlements.quota.as_ref().unwrap().meter.count();
        assert_eq!((count.fresh, count.before.len(), count.before[0].1), (1, 1, 2));
        assert_eq!(count.month.unwrap().first.to_string(), "2027-01-01");
    }
}
