//! Default colours of phases, chosen to be told apart by colour-blind people.

/// The eight-colour qualitative palette of Okabe and Ito ("Color Universal Design", 2002) without its black,
/// which pictures use for pixels without a phase.
const OKABE_ITO: [[u8; 3]; 7] = [
    [0x00, 0x72, 0xb2],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0x56, 0xb4, 0xe9],
    [0xd5, 0x5e, 0x00],
    [0xf0, 0xe4, 0x42],
];

/// All default colours, without end: the palette, then hues a golden angle apart in two lightnesses (nobody
/// tells that many colours apart; they only have to differ).
pub(super) fn colours() -> impl Iterator<Item = [u8; 3]> {
    let more = (0_u32..).map(|index| {
        let hue = (f64::from(index) * 137.507_764) % 360.0;
        from_hsl(hue, 0.65, if index % 2 == 0 { 0.35 } else { 0.7 })
    });
    OKABE_ITO.into_iter().chain(more)
}

/// The usual conversion from hue (degrees), saturation and lightness (0 to 1) to sRGB.
fn from_hsl(hue: f64, saturation: f64, lightness: f64) -> [u8; 3] {
    let reach = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|offset| {
        let k = (offset + hue / 30.0) % 12.0;
        let value = lightness - reach * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_64_colours_differ() {
        let mut first: Vec<_> = colours().take(64).collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 64);
    }

    #[test]
    fn hsl_gives_the_primaries() {
        assert_eq!(from_hsl(0.0, 1.0, 0.5), [255, 0, 0]);
        assert_eq!(from_hsl(120.0, 1.0, 0.5), [0, 255, 0]);
        assert_eq!(from_hsl(240.0, 1.0, 0.5), [0, 0, 255]);
    }
}
