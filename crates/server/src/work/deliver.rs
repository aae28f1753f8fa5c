//! Sends queued events to webhook endpoints. An attempt has three stages, each a type: a taken delivery is prepared, sent and
//! recorded. A crash between two stages repeats the attempt; the receiver knows the event by its `webhook-id`.
//!
//! Outcomes are recorded together, so that many deliveries cost few commits. `places.rs` decides how many are sent at once.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crm::model::fault::Fault;

use crate::app::App;
use crate::clock::{iso_ms, random};
use crate::store::control::deliveries::{Capacity, Next, Recorded, TakenDelivery};
use crate::targets::{Answered, Attempted, Outgoing};
use crate::work::insist::insist;
use crate::work::places::{Places, RunningAttempt};
use crate::work::{Failed, Worker, signature};

/// After this time another process may send a taken delivery. It is longer than an attempt takes.
const LEASE_SECONDS: u64 = 25;
/// How often the queue is looked at when nothing wakes the worker.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most attempts for a delivery.
const ATTEMPTS: u32 = 8;
/// The longest wait after each attempt, in seconds. The wait is a random part of it.
const WAITS_SECONDS: [u64; ATTEMPTS as usize - 1] = [5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 3600, 8 * 3600];
/// An endpoint that has failed for so long is disabled, in seconds.
const DISABLED_AFTER_SECONDS: i64 = 5 * 24 * 3600;
/// Why a delivery without a secret fails.
const LOST_SECRET: &str = "The webhook's secret can't be decrypted: it was encrypted with another KITH_SECRET_KEY. Rotate it: POST /v1/webhooks/:id/rotate-secret.";

/// Sends queued events.
pub struct Deliver;

impl Worker for Deliver {
    const NAME: &'static str = "deliver";

    fn every(&self) -> Duration {
        LOOK_EVERY
    }

    async fn woken(&self, app: &App) {
        app.wakes.deliveries.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        deliver_due(app).await.map_err(Failed::from)
    }
}

/// Sends all deliveries that are due, and those that become due meanwhile. Returns when there is nothing to send.
async fn deliver_due(app: &App) -> Result<(), Fault> {
    let (mut places, mut sending) = (Places::default(), JoinSet::new());
    loop {
        let taken = take(app, &places.capacity(Instant::now())).await;
        // After a failure, what is being sent is still sent and recorded.
        let (taken, failed) = taken.map_or_else(|fault| (Vec::new(), Err(fault)), |taken| (taken, Ok(())));
        for taken in taken {
            let running = RunningAttempt::new(&taken, Instant::now());
            places.begin(sending.spawn(attempt(app.clone(), taken)).id(), running);
        }
        let ended = tokio::select! {
            ended = sending.join_next_with_id() => match ended {
                Some(ended) => Some(ended),
                None => return failed,
            },
            () = app.wakes.deliveries.notified() => None,
            () = tokio::time::sleep(LOOK_EVERY) => None,
        };
        let mut sent = Vec::new();
        let more = std::iter::from_fn(|| sending.try_join_next_with_id());
        for ended in ended.into_iter().chain(more) {
            match ended {
                Ok((id, one)) => {
                    places.end(id, Instant::now());
                    sent.push(one);
                }
                Err(error) => {
                    tracing::error!(%error, "an attempt to deliver an event panicked");
                    places.end(error.id(), Instant::now());
                }
            }
        }
        record(app, sent).await;
    }
}

/// Takes deliveries that are due. If the answer is lost, those that were taken are let go.
async fn take(app: &App, capacity: &Capacity) -> Result<Vec<TakenDelivery>, Fault> {
    if capacity.total == 0 {
        return Ok(Vec::new());
    }
    let (control, taken_by, now) = (&app.store.control, app.clock.id("try"), iso_ms(app.clock.unix_ms()));
    let taken = control.take_deliveries(capacity, &taken_by, &now, LEASE_SECONDS).await;
    if taken.is_err() {
        insist(|| control.free_deliveries(Some(&taken_by), &now)).await?;
    }
    taken
}

/// Makes one attempt.
async fn attempt(app: App, taken: TakenDelivery) -> Sent {
    let endpoint_id = taken.endpoint_id.clone();
    match PreparedDelivery::new(&app, taken) {
        Ok(prepared) => prepared.send(&app).await,
        Err((taken, fault)) => {
            tracing::error!(fault = fault.in_log(), endpoint_id, "the secret of a webhook can't be opened");
            Sent { taken: *taken, attempted: Attempted { answer: Err(LOST_SECRET.into()), duration_ms: 0 } }
        }
    }
}

/// Records attempts. One whose outcome can't be recorded is repeated when its lease has ended.
async fn record(app: &App, sent: Vec<Sent>) {
    let (mut delivered, mut failed) = (Vec::new(), Vec::new());
    for Sent { taken, attempted } in sent {
        let verdict = DeliveryVerdict::of(taken.attempts, &attempted.answer, u64::from_be_bytes(random()));
        metrics::counter!("kith_webhook_attempts_total", "outcome" => verdict.name()).increment(1);
        metrics::histogram!("kith_webhook_attempt_seconds").record(attempted.duration_ms as f64 / 1000.0);
        let recorded = recorded(attempted, &verdict);
        match verdict {
            DeliveryVerdict::Delivered => delivered.push((taken, recorded)),
            verdict => failed.push((taken, recorded, verdict)),
        }
    }
    let control = &app.store.control;
    let all_delivered = async {
        if !delivered.is_empty() {
            note(&delivered[0].0, insist(|| control.record_delivered(&delivered)).await);
        }
    };
    let each_failed = futures_util::future::join_all(failed.iter().map(|(taken, recorded, verdict)| async move {
        note(taken, record_failed(app, taken, recorded, *verdict).await);
    }));
    tokio::join!(all_delivered, each_failed);
}

fn note(taken: &TakenDelivery, recorded: Result<(), Fault>) {
    if let Err(fault) = recorded {
        tracing::error!(
            fault = fault.in_log(),
            endpoint_id = taken.endpoint_id,
            "the outcome of a delivery could not be recorded; it is repeated"
        );
    }
}

/// A delivery that is ready to be sent.
struct PreparedDelivery {
    taken: TakenDelivery,
    headers: Vec<(&'static str, String)>,
}

/// A delivery that was sent, and what came back.
struct Sent {
    taken: TakenDelivery,
    attempted: Attempted,
}

impl PreparedDelivery {
    /// The error is that of the secret, and the delivery comes back with it. Without the secret before the last rotation, payloads are signed
    /// with the new one only.
    fn new(app: &App, taken: TakenDelivery) -> Result<PreparedDelivery, (Box<TakenDelivery>, Fault)> {
        let open = |sealed: &[u8]| {
            let secret = app.store.sealer.open(&taken.endpoint_id, sealed)?;
            String::from_utf8(secret).map_err(Fault::internal)
        };
        let secret = match open(&taken.secret) {
            Ok(secret) => secret,
            Err(fault) => return Err((Box::new(taken), fault)),
        };
        let old = taken.old_secret.as_deref().and_then(|sealed| open(sealed).ok());
        let mut secrets: Vec<String> = [secret].into_iter().chain(old).collect();
        if !taken.new_first {
            secrets.reverse();
        }
        let headers = signature::headers(&secrets, &taken.event_id, app.clock.unix_seconds(), &taken.body);
        Ok(PreparedDelivery { taken, headers })
    }

    async fn send(mut self, app: &App) -> Sent {
        let body = std::mem::take(&mut self.taken.body);
        let attempted = app.targets.send(Outgoing { url: &self.taken.url, headers: self.headers, body }).await;
        Sent { taken: self.taken, attempted }
    }
}

/// Records a failed attempt, and disables an endpoint that is gone or has failed for too long.
async fn record_failed(
    app: &App,
    taken: &TakenDelivery,
    recorded: &Recorded,
    verdict: DeliveryVerdict,
) -> Result<(), Fault> {
    let (control, now_ms) = (&app.store.control, app.clock.unix_ms());
    let now = iso_ms(now_ms);
    let retry_at = match verdict {
        DeliveryVerdict::Retry { wait_ms } => Some(iso_ms(now_ms + wait_ms as i64)),
        DeliveryVerdict::Delivered | DeliveryVerdict::GiveUp | DeliveryVerdict::Gone => None,
    };
    let next = retry_at.as_deref().map_or(Next::GiveUp, Next::RetryAt);
    let Some(failing_since) = insist(|| control.record_failed(taken, recorded, next, &now)).await? else {
        return Ok(());
    };
    let reason = if verdict == DeliveryVerdict::Gone {
        "The endpoint answered 410 Gone."
    } else if now_ms / 1000 - failing_since >= DISABLED_AFTER_SECONDS {
        "No event could be delivered for five days."
    } else {
        return Ok(());
    };
    if control.disable_webhook(&taken.endpoint_id, reason, &now, &app.clock.id("mail")).await? {
        tracing::info!(endpoint_id = taken.endpoint_id, reason, "disabled a webhook");
        app.accounts.mail_queued.notify_one();
    }
    Ok(())
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeliveryVerdict {
    /// The event arrived.
    Delivered,
    /// It is tried again after this time.
    Retry { wait_ms: u64 },
    /// It is not tried again.
    GiveUp,
    /// The endpoint wants no more events.
    Gone,
}

impl DeliveryVerdict {
    /// `random` decides on the wait: a random part of the longest one for this attempt, so that the events of a receiver that
    /// comes back do not all arrive at once.
    fn of(attempts: u32, answer: &Result<Answered, String>, random: u64) -> DeliveryVerdict {
        let asked = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => return DeliveryVerdict::Delivered,
            Ok(answer) if answer.status == 410 => return DeliveryVerdict::Gone,
            Ok(answer) => answer.retry_after.unwrap_or_default(),
            Err(_) => 0,
        };
        match WAITS_SECONDS.get(attempts.saturating_sub(1) as usize) {
            Some(longest) => DeliveryVerdict::Retry { wait_ms: (random % (longest * 1000 + 1)).max(asked * 1000) },
            None => DeliveryVerdict::GiveUp,
        }
    }

    fn name(self) -> &'static str {
        match self {
            DeliveryVerdict::Delivered => "delivered",
            DeliveryVerdict::Retry { .. } => "retried",
            DeliveryVerdict::GiveUp => "given_up",
            DeliveryVerdict::Gone => "gone",
        }
    }
}

fn recorded(attempted: Attempted, verdict: &DeliveryVerdict) -> Recorded {
    let duration_ms = attempted.duration_ms;
    match attempted.answer {
        Ok(Answered { status, body, .. }) => {
            let error = (*verdict != DeliveryVerdict::Delivered).then(|| match status {
                300..400 => format!("The endpoint answered {status}. Redirects are not followed."),
                _ => format!("The endpoint answered {status}."),
            });
            Recorded { response_status: Some(status), response_body: Some(body), duration_ms, error }
        }
        Err(words) => Recorded { duration_ms, error: Some(words), ..Recorded::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> Result<Answered, String> {
        Ok(Answered { status, body: String::new(), retry_after })
    }

    #[test]
    fn the_wait_is_a_random_part_of_a_bound_that_grows_from_seconds_to_hours() {
        let mut longest = 0;
        for attempt in 1..ATTEMPTS {
            let DeliveryVerdict::Retry { wait_ms } =
                DeliveryVerdict::of(attempt, &Err("no".into()), WAITS_SECONDS[attempt as usize - 1] * 1000)
            else {
                panic!("{attempt} is the last")
            };
            assert!(wait_ms > longest, "{attempt}");
            longest = wait_ms;
            assert_eq!(DeliveryVerdict::of(attempt, &answered(500, None), 0), DeliveryVerdict::Retry { wait_ms: 0 });
        }
        assert_eq!(longest, 8 * 3600 * 1000);
        assert_eq!(DeliveryVerdict::of(ATTEMPTS, &answered(503, Some(9)), 0), DeliveryVerdict::GiveUp);
    }

    #[test]
    fn the_answer_decides() {
        for status in [200, 201, 204, 299] {
            assert_eq!(DeliveryVerdict::of(1, &answered(status, None), 0), DeliveryVerdict::Delivered, "{status}");
        }
        for status in [301, 302, 307, 400, 404, 429, 500] {
            assert_eq!(
                DeliveryVerdict::of(1, &answered(status, None), 0),
                DeliveryVerdict::Retry { wait_ms: 0 },
                "{status}"
            );
        }
        assert_eq!(DeliveryVerdict::of(1, &answered(410, None), 0), DeliveryVerdict::Gone);
        assert_eq!(DeliveryVerdict::of(1, &answered(429, Some(60)), 3000), DeliveryVerdict::Retry { wait_ms: 60_000 });
        assert_eq!(DeliveryVerdict::of(2, &answered(429, Some(1)), 3000), DeliveryVerdict::Retry { wait_ms: 3000 });
    }
}
