//! Numbers in the form that `numeric` has in jsonb: no exponent, no negative zero, the scale unchanged.

use super::{Stop, Writer};

/// Digits before and after the point that the server's `numeric` can hold (NUMERIC_WEIGHT_MAX,
/// NUMERIC_DSCALE_MAX).
const MAX_WHOLE: i64 = 131_072;
const MAX_SCALE: i64 = 16_383;

/// A number in JSON's grammar.
pub(super) struct Literal<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    /// `None` if there is no exponent. Clamped to a range far beyond what `numeric` holds.
    exponent: Option<i64>,
}

impl<'t> Literal<'t> {
    /// Parses a number at the beginning of `text`. Returns it and its length.
    pub(super) fn read(text: &'t [u8]) -> Option<(Literal<'t>, usize)> {
        let digits = |from: usize| {
            let rest = text.get(from..).unwrap_or_default();
            let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &rest[..len]
        };
        let negative = text.first() == Some(&b'-');
        let mut at = usize::from(negative);
        let whole = digits(at);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return None;
        }
        at += whole.len();

        let mut fraction = &text[..0];
        if text.get(at) == Some(&b'.') {
            fraction = digits(at + 1);
            if fraction.is_empty() {
                return None;
            }
            at += 1 + fraction.len();
        }

        let mut exponent = None;
        if let Some(b'e' | b'E') = text.get(at) {
            let sign = text.get(at + 1).filter(|byte| matches!(byte, b'+' | b'-'));
            let from = at + 1 + usize::from(sign.is_some());
            let power = digits(from);
            if power.is_empty() {
                return None;
            }
            at = from + power.len();
            let size =
                power.iter().fold(0_i64, |size, digit| (size * 10 + i64::from(digit - b'0')).min(i64::from(i32::MAX)));
            exponent = Some(if sign == Some(&b'-') { -size } else { size });
        }
        Some((Literal { negative, whole, fraction, exponent }, at))
    }

    fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|digit| *digit == b'0')
    }

    /// True if jsonb writes it unchanged.
    pub(super) fn is_plain(&self) -> bool {
        self.exponent.is_none() && !(self.negative && self.is_zero())
    }

    /// The number of digits before and after the point, with the exponent applied. `None` if the server returns "value
    /// overflows numeric format".
    fn extent(&self) -> Option<(i64, i64)> {
        let exponent = self.exponent.unwrap_or(0);
        if exponent.abs() >= i64::from(i32::MAX / 2) {
            return None;
        }
        let scale = (self.fraction.len() as i64 - exponent).max(0);
        let whole = match self.digits().position(|digit| digit != b'0') {
            Some(leading) => self.whole.len() as i64 + exponent - leading as i64,
            None => 0,
        };
        (scale <= MAX_SCALE && whole <= MAX_WHOLE).then_some((whole, scale))
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied()
    }
}

impl Writer<'_> {
    /// A complete value that is a number. NaN and the infinities are not.
    pub(super) fn number(&mut self, text: &[u8]) -> Result<(), Stop> {
        match Literal::read(text) {
            Some((literal, len)) if len == text.len() => self.literal(&literal, text),
            _ => Err(Stop::Malformed),
        }
    }

    /// A number that was parsed from `text`. One that the server's `numeric` cannot hold is written unchanged.
    pub(super) fn literal(&mut self, literal: &Literal<'_>, text: &[u8]) -> Result<(), Stop> {
        if literal.is_plain() {
            return self.verbatim(text);
        }
        let Some((whole, scale)) = literal.extent() else {
            return self.verbatim(text);
        };
        self.room(whole.max(1) as usize + scale as usize + 2)?;
        if literal.negative && !literal.is_zero() {
            self.out.push(b'-');
        }
        // The digits from the first that is not 0, padded with zeros where there are none.
        let shift = literal.whole.len() as i64 + literal.exponent.unwrap_or(0);
        let digit = |place: i64| -> u8 {
            let index = usize::try_from(place + shift).ok();
            let at = |index: usize| {
                let fraction = || literal.fraction.get(index - literal.whole.len());
                literal.whole.get(index).or_else(fraction).copied()
            };
            index.and_then(at).unwrap_or(b'0')
        };
        if whole <= 0 {
            self.out.push(b'0');
        }
        self.out.extend((-whole..0).map(digit));
        if scale > 0 {
            self.out.push(b'.');
            self.out.extend((0..scale).map(digit));
        }
        Ok(())
    }
}
