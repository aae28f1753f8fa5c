//! The signatures of a webhook's payload: Relm's header, and the three of Standard Webhooks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// The prefix of a secret. What follows is base64.
const PREFIX: &str = "whsec_";

/// The headers of a payload. With several secrets it is signed with each of them, in this order.
pub fn headers(secrets: &[String], event_id: &str, unix_seconds: i64, body: &str) -> Vec<(&'static str, String)> {
    let relm = |secret: &String| {
        format!("v1={}", hex::encode(sign(secret.as_bytes(), &format!("{unix_seconds}.{body}")).as_ref()))
    };
    let standard = |secret: &String| {
        let key = STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).unwrap_or_default();
        format!("v1,{}", STANDARD.encode(sign(&key, &format!("{event_id}.{unix_seconds}.{body}"))))
    };
    let all =
        |one: &dyn Fn(&String) -> String, between: &str| secrets.iter().map(one).collect::<Vec<_>>().join(between);
    vec![
        ("relm-signature", format!("t={unix_seconds},{}", all(&relm, ","))),
        ("webhook-id", event_id.to_owned()),
        ("webhook-timestamp", unix_seconds.to_string()),
        ("webhook-signature", all(&standard, " ")),
    ]
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn a_payload_is_signed_as_the_standard_says() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let found = headers(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(found[3].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(found[1].1, "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(found[2].1, "1614265330");
    }

    #[test]
    fn both_secrets_sign_after_a_rotation() {
        let secrets = ["whsec_AAAA".to_owned(), "whsec_BBBB".to_owned()];
        let both = headers(&secrets, "evt_1", 7, "{}");
        let [new, old] = secrets.map(|secret| headers(&[secret], "evt_1", 7, "{}"));
        let of = |headers: &[(&str, String)], at: usize| headers[at].1.clone();
        assert_eq!(of(&both, 0), format!("{},{}", of(&new, 0), of(&old, 0).trim_start_matches("t=7,")));
        assert_eq!(of(&both, 3), format!("{} {}", of(&new, 3), of(&old, 3)));
        assert!(of(&new, 0).starts_with("t=7,v1="));
    }
}
