//! Seeded draws for tests: `SplitMix64` (Steele, Lea, Flood 2014).

pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Strictly between 0 and 1.
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Successes of n trials, by the gaps between them.
    pub(super) fn binomial(&mut self, n: f64, p: f64) -> f64 {
        let (mut at, mut successes) = (0.0, 0.0);
        loop {
            at += (self.uniform().ln() / (-p).ln_1p()).floor() + 1.0;
            if at > n {
                return successes;
            }
            successes += 1.0;
        }
    }

    pub(super) fn poisson(&mut self, mean: f64) -> f64 {
        let (mut product, mut events) = (self.uniform(), 0.0);
        while product > (-mean).exp() {
            product *= self.uniform();
            events += 1.0;
        }
        events
    }

    /// Events that come in geometric clusters of this mean size.
    pub(super) fn clusters(&mut self, mean: f64, size: f64) -> f64 {
        let clusters = self.poisson(mean / size) as u64;
        let gap = |dice: &mut Self| (dice.uniform().ln() / (-1.0 / size).ln_1p()).floor() + 1.0;
        (0..clusters).map(|_| if size > 1.0 { gap(self) } else { 1.0 }).sum()
    }
}
