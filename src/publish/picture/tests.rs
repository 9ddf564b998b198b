use super::*;
use crate::classify::{NO_PHASE, Status};
use crate::publish::table::tests::map;

struct Decoded {
    width: usize,
    rgb: Vec<u8>,
    texts: Vec<(String, String)>,
}

fn decode(bytes: &[u8]) -> Decoded {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut rgb).unwrap();
    let info = reader.info();
    let texts = info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone())).collect();
    Decoded { width: info.width as usize, rgb, texts }
}

impl Decoded {
    fn at(&self, [x, y]: [usize; 2]) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }
}

#[test]
fn each_corner_shows_its_pixel() {
    let mut map = map(2, 2, &[]);
    map.status.fill(Status::Classified);
    map.phase.copy_from_slice(&[0, 1, 2, 3]);
    let field = Field::of(&map.plan.grid);
    let picture = decode(&png(&map).unwrap());
    let colour = |p: usize| map.phases[p].colour;
    let (right, lower) = (MARGIN + field.width() - 1, HEADER + field.height() - 1);
    // The step of y is negative here: row 0 is the upper one.
    assert_eq!(picture.at([MARGIN, HEADER]), colour(0));
    assert_eq!(picture.at([right, HEADER]), colour(1));
    assert_eq!(picture.at([MARGIN, lower]), colour(2));
    assert_eq!(picture.at([right, lower]), colour(3));
    assert_ne!(picture.at([right + 1, lower]), colour(3), "the frame is outside the map");
}

#[test]
fn says_what_it_is_and_is_the_same_each_time() {
    let map = map(8, 8, &[]);
    let bytes = png(&map).unwrap();
    assert_eq!(bytes, png(&map).unwrap());
    let texts = decode(&bytes).texts;
    assert!(texts.contains(&("phasewatch.scan_id".into(), "NVPF_0042".into())));
    assert!(texts.contains(&("phasewatch.simulated".into(), "true".into())));
}

#[test]
fn draws_whatever_comes() {
    let mut map = map(1, 3, &[]);
    map.status.fill(Status::Mixture);
    map.phase.fill(NO_PHASE);
    map.runner_up.fill(200);
    let plan = std::sync::Arc::make_mut(&mut map.plan);
    plan.sample = Some("Naₓ — α\n".repeat(60));
    plan.grid.unit = "furlong".into();
    png(&map).unwrap();
    map.status.pop();
    assert!(matches!(png(&map), Err(PublishError::Length { column: "status", .. })));
}

/// Something like cathode particles on a support, for the eye: set `PHASEWATCH_PICTURE` to a path to have it.
#[test]
fn draws_particles() {
    let (ny, nx) = (180, 220);
    let mut map = map(ny, nx, &[]);
    map.origin.calibrated_on.clear();
    let particles = [(60.0, 55.0, 38.0, 0_u8, 1_u8), (120.0, 130.0, 46.0, 1, 2), (55.0, 160.0, 30.0, 3, 2)];
    for p in 0..map.len() {
        let (y, x) = ((p / nx) as f64, (p % nx) as f64);
        map.status[p] = if y > 165.0 { Status::Unmeasured } else { Status::Background };
        map.phase[p] = NO_PHASE;
        for (cy, cx, radius, core, shell) in particles {
            let angle = (y - cy).atan2(x - cx);
            let r = (y - cy).hypot(x - cx) / (radius * (1.0 + 0.12 * (3.0 * angle).sin()));
            if r < 1.0 && y <= 165.0 {
                let noise = (p * 7919 % 97) as f64 / 97.0;
                (map.phase[p], map.runner_up[p]) = if r < 0.6 { (core, shell) } else { (shell, core) };
                map.status[p] = match r {
                    r if (0.56..0.66).contains(&r) => Status::Mixture,
                    r if r > 0.93 && noise < 0.5 => Status::Ambiguous,
                    _ if noise > 0.995 => Status::Unknown,
                    r if r < 0.1 => Status::Saturated,
                    _ => Status::Classified,
                };
            }
        }
    }
    let start = std::time::Instant::now();
    let bytes = png(&map).unwrap();
    eprintln!("{} bytes in {:?}", bytes.len(), start.elapsed());
    if let Some(path) = std::env::var_os("PHASEWATCH_PICTURE") {
        std::fs::write(path, &bytes).unwrap();
    }
    assert!(bytes.len() < 500_000);
}

#[test]
fn what_was_not_measured_is_filled_and_marked() {
    let mut map = map(2, 2, &[]);
    map.status.fill(Status::Classified);
    map.phase.copy_from_slice(&[0, 0, 2, 3]);
    map.status[1] = Status::Unmeasured;
    map.phase[1] = NO_PHASE;
    let field = Field::of(&map.plan.grid);
    let (plain, filled) = (decode(&png(&map).unwrap()), decode(&inpainted_png(&map).unwrap()));
    let size = field.width() / 2;
    let colours = |picture: &Decoded, left: usize| -> std::collections::BTreeSet<[u8; 3]> {
        (0..size)
            .flat_map(|y| (0..size).map(move |x| [MARGIN + left + x, HEADER + y]))
            .map(|at| picture.at(at))
            .collect()
    };
    assert_eq!(colours(&plain, 0), colours(&filled, 0), "what was measured looks as it did");
    let [before, now] = [colours(&plain, size), colours(&filled, size)];
    assert!(now != before && !now.contains(&map.phases[0].colour), "paler than what was measured");
    assert_eq!(now.len(), 2, "a pale colour and the hatching");
    assert!(filled.texts.contains(&("phasewatch.inpainted".into(), "true".into())));
    assert!(!plain.texts.iter().any(|(key, _)| key == "phasewatch.inpainted"));
}

#[test]
fn a_thumbnail_is_small_and_upright() {
    let map = map(6, 7, &[]);
    let size = |bytes: &[u8]| {
        let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        (reader.info().width, reader.info().height)
    };
    assert_eq!(size(&thumbnail(&map, 160).unwrap()), (7, 6), "one for one");
    assert_eq!(size(&thumbnail(&map, 3).unwrap()), (3, 2));
}
