//! Tails and quantiles of the standard normal distribution.

/// Probability that a standard normal variable exceeds `z`; relative error below 1e-7 (Numerical approximation of erfc by
/// W. J. Cody's scheme as a Chebyshev series, after Press et al., *Numerical Recipes*, 6.2).
#[must_use]
pub(super) fn upper_tail(z: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (-x * x + series).exp();
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// The `z` that a standard normal variable exceeds with probability `tail`, 0 < `tail` < 1, by bisection.
#[must_use]
pub(super) fn exceeded_with(tail: f64) -> f64 {
    let (mut low, mut high) = (-39.0, 39.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > tail { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_and_quantiles_are_those_of_the_tables() {
        for (z, tail) in
            [(0.0, 0.5), (1.0, 0.158_655_25), (1.96, 0.024_997_9), (3.0, 0.001_349_9), (5.0, 2.866_5e-7)]
        {
            assert!((upper_tail(z) / tail - 1.0).abs() < 1e-4, "{z}: {}", upper_tail(z));
            assert!((upper_tail(-z) - (1.0 - tail)).abs() < 1e-6);
            assert!((exceeded_with(tail) - z).abs() < 1e-4);
        }
    }
}
