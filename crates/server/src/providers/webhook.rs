//! The signatures of a provider's webhook, as Svix makes them: <https://docs.svix.com/receiving/verifying-payloads/how-manual>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// How old a call may be, or how far ahead of Kith's clock, in seconds.
const TOLERANCE_SECONDS: i64 = 5 * 60;
/// The most signatures that are compared: that of each secret while one is replaced.
const MOST_SIGNATURES: usize = 8;

/// A call of a webhook.
#[derive(Clone, Copy, Debug)]
pub struct WebhookCall<'a> {
    /// `svix-id`
    pub id: &'a str,
    /// `svix-timestamp`: Unix seconds.
    pub timestamp: &'a str,
    /// `svix-signature`: `v1,BASE64`, several divided by spaces.
    pub signatures: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl WebhookCall<'_> {
    /// Whether the call has what a signed one has, and a time near the present.
    pub fn may_be_signed(&self, now: i64) -> bool {
        let at = self.timestamp.parse::<i64>().ok();
        let is_near = at.is_some_and(|at| at.checked_sub(now).is_some_and(|ahead| ahead.abs() <= TOLERANCE_SECONDS));
        is_near && !self.id.is_empty() && self.signatures.contains("v1,")
    }
}

/// Whether a call is signed with a secret, `whsec_…`, and near the present. The comparison takes the same time for all signatures.
pub fn is_signed(call: &WebhookCall<'_>, secret: &str, now: i64) -> bool {
    let Ok(key) = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [call.id.as_bytes(), b".", call.timestamp.as_bytes(), b".", call.body].concat();
    let signatures = call.signatures.split(' ').filter_map(|it| STANDARD.decode(it.strip_prefix("v1,")?).ok());
    let mut fitting = signatures.take(MOST_SIGNATURES).filter(|it| hmac::verify(&key, &signed, it).is_ok());
    call.may_be_signed(now) && fitting.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW: i64 = 1_614_265_330;

    /// The example of Svix's documentation.
    fn example() -> WebhookCall<'static> {
        WebhookCall {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signatures: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            body: b"{\"test\": 2432232314}",
        }
    }

    #[test]
    fn a_signature_is_of_its_secret_body_id_and_time() {
        let check = |call: WebhookCall<'_>, secret: &str, now: i64| is_signed(&call, secret, now);
        assert!(check(example(), SECRET, NOW));
        assert!(check(
            WebhookCall { signatures: "v1,AAAA v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", ..example() },
            SECRET,
            NOW
        ));
        assert!(check(example(), SECRET, NOW + TOLERANCE_SECONDS) && check(example(), SECRET, NOW - TOLERANCE_SECONDS));
        assert!(
            !check(example(), SECRET, NOW + TOLERANCE_SECONDS + 1)
                && !check(example(), SECRET, NOW - TOLERANCE_SECONDS - 1)
        );
        assert!(!check(example(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", NOW));
        assert!(!check(WebhookCall { body: b"{\"test\": 2432232315}", ..example() }, SECRET, NOW));
        assert!(!check(WebhookCall { id: "msg_other", ..example() }, SECRET, NOW));
        assert!(!check(WebhookCall { timestamp: "1614265331", ..example() }, SECRET, NOW));
        for signatures in [
            "",
            "v1,",
            "v1",
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ] {
            assert!(!check(WebhookCall { signatures, ..example() }, SECRET, NOW), "{signatures}");
        }
        for timestamp in ["", "x", "-9223372036854775808", "99999999999999999999"] {
            assert!(!WebhookCall { timestamp, ..example() }.may_be_signed(NOW), "{timestamp}");
        }
    }
}
