//! Numbers for random tests.

/// A generator of numbers. The same seed gives the same ones, so that a failure can be repeated.
pub struct Numbers(pub u64);

impl Numbers {
    /// A number from 0 to before `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
