//! Sums and whole frames against values read one by one, and what broken streams do.

use proptest::collection::vec;
use proptest::prelude::*;

use super::kernel::{OneByOne, Spread};
use super::walk::{SLACK, walk};
use super::*;

const ELEMENTS: [Element; 3] = [Element::U8, Element::U16, Element::U32];

/// A frame of some statistics: what is looked at is chosen by `kind`.
fn frame(element: Element, pixels: usize, kind: u8, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut value = |pixel: usize| {
        let bits = random();
        let value = match kind {
            // A few counts; many; anything at all.
            0 => (bits & bits >> 8 & bits >> 16 & 1) + (bits >> 24 & bits >> 32 & bits >> 40 & 2),
            1 => 40 + bits % 50,
            2 => bits >> (bits % 64),
            // A few counts between gaps of no data, and some pixels saturated.
            3 if pixel / 16 % 5 == 4 => u64::MAX,
            3 if bits.is_multiple_of(101) => u64::MAX - 1,
            3 => bits & 3,
            // Nothing but a pixel here and there.
            4 if bits.is_multiple_of(997) => bits >> 40,
            4 => 0,
            // Stripes of a long period.
            _ => (pixel % 321 / 100) as u64 * 77,
        };
        value.to_le_bytes()
    };
    (0..pixels).flat_map(|pixel| value(pixel).into_iter().take(element.size()).collect::<Vec<_>>()).collect()
}

/// What sums have to be.
fn naive(regions: &Regions, frame: &[u8]) -> Vec<RegionSum> {
    let mut sums = vec![RegionSum::default(); regions.count()];
    regions.begin(&mut sums);
    regions.add_values(&mut sums, 0, frame);
    sums
}

fn regions(shape: [usize; 2], element: Element, saturation: Option<f64>, seed: u64) -> Regions {
    let centre = [shape[0] as f64 / 2.0, shape[1] as f64 / 3.0];
    let radius = shape[0].min(shape[1]) as f64 / 4.0;
    let list = vec![
        Region { mask: PixelMask::everything(shape), moments: true },
        Region { mask: PixelMask::annulus(shape, centre, 0.0, radius), moments: true },
        Region { mask: PixelMask::annulus(shape, centre, radius, f64::INFINITY), moments: false },
        Region {
            mask: PixelMask::from_fn(shape, |[y, x]| seed.rotate_left((y * 7 + x) as u32 % 64) & 1 == 1),
            moments: false,
        },
    ];
    let pixels = shape[0] * shape[1];
    Regions::new(shape, element, saturation, list, &[0, pixels / 2, pixels - 1, pixels + 5]).unwrap()
}

fn reduced(
    regions: &Regions,
    kernel: Kernel,
    encoding: Encoding,
    bytes: &[u8],
) -> Result<Vec<RegionSum>, FrameError> {
    let mut sums = vec![RegionSum { sum: 77, ..RegionSum::default() }; regions.count()];
    FrameReducer::with_kernel(regions.clone(), kernel).reduce_one(encoding, bytes, &mut sums).map(|()| sums)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn sums_are_those_of_the_values(
        element in prop::sample::select(ELEMENTS.to_vec()),
        shape in prop_oneof![[1_usize..40, 1_usize..40], [1_usize..4, 1_usize..700], [60_usize..100, 60_usize..140]],
        block in prop_oneof![Just(8192_usize), 1_usize..3000, Just(1 << 20)],
        saturation in prop::option::of(prop_oneof![0.5_f64..300.0, 1e4..1e10]),
        (kind, seed) in (0_u8..6, any::<u64>()),
    ) {
        let frame = frame(element, shape[0] * shape[1], kind, seed);
        let regions = regions(shape, element, saturation, seed);
        let wanted = naive(&regions, &frame);
        let packed = bslz4(element, &frame, block);
        for kernel in Kernel::available() {
            prop_assert_eq!(&reduced(&regions, kernel, Encoding::Bslz4, &packed).unwrap(), &wanted, "{:?}", kernel);
        }
        let plain = lz4(&frame, block);
        let streams = [(Encoding::Lz4, &plain), (Encoding::Raw, &frame), (Encoding::Lz4Block, &encode::packed(&frame))];
        for (encoding, bytes) in streams {
            prop_assert_eq!(&reduced(&regions, Kernel::Portable, encoding, bytes).unwrap(), &wanted);
        }
        let mut back = Vec::new();
        for (encoding, bytes) in streams.into_iter().chain([(Encoding::Bslz4, &packed)]) {
            decode(encoding, element, bytes, frame.len(), &mut back).unwrap();
            prop_assert_eq!(&back, &frame);
        }
    }

    #[test]
    fn broken_streams_are_refused_or_read_as_the_library_reads_them(
        element in prop::sample::select(ELEMENTS.to_vec()),
        (kind, seed) in (0_u8..6, any::<u64>()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        more in vec(any::<u8>(), 0..3),
    ) {
        let shape = [50, 61];
        let frame = frame(element, shape[0] * shape[1], kind, seed);
        let regions = regions(shape, element, None, seed);
        let mut packed = bslz4(element, &frame, 1024);
        changes.iter().for_each(|(at, byte)| { let at = at.index(packed.len()); packed[at] = *byte; });
        if let Some(cut) = cut {
            packed.truncate(cut.index(packed.len()));
        }
        packed.extend(more);
        let mut back = Vec::new();
        let library = decode(Encoding::Bslz4, element, &packed, frame.len(), &mut back);
        for kernel in Kernel::available() {
            let found = reduced(&regions, kernel, Encoding::Bslz4, &packed);
            match &library {
                // The library reads matches of no distance, which the format forbids; here such a block is refused.
                // So it may go on to what is wrong further on.
                Ok(()) | Err(_) if matches!(found, Err(FrameError::Corrupt(_))) => {},
                Ok(()) => prop_assert_eq!(found.ok(), Some(naive(&regions, &back))),
                // The library insists on literals at the end of a block; any block that is whole is read here.
                Err(FrameError::Corrupt(_)) => {},
                Err(error) => prop_assert_eq!(found.unwrap_err(), error.clone()),
            }
        }
    }

    #[test]
    fn anything_at_all_does_not_panic(bytes in vec(any::<u8>(), 0..600), head in any::<bool>(), seed in any::<u64>()) {
        let regions = regions([9, 30], Element::U16, None, seed);
        let mut bytes = bytes;
        if head {
            bytes.splice(0..0, [0, 0, 0, 0, 0, 0, 2, 28, 0, 0, 1, 0, 0, 0, 0, (bytes.len() / 2) as u8]);
        }
        for kernel in Kernel::available() {
            for encoding in [Encoding::Raw, Encoding::Bslz4, Encoding::Lz4, Encoding::Lz4Block] {
                let _sums = reduced(&regions, kernel, encoding, &bytes);
            }
        }
    }

    #[test]
    fn planes_that_were_not_written_are_when_a_match_refers_to_them(
        pieces in vec((0_usize..5, prop_oneof![4_usize..300, 300_usize..2500], any::<u8>()), 1..12),
        plane in prop::sample::select(vec![1_usize, 8, 31, 64, 128]),
    ) {
        // Matches into runs of zeros, near and far, as no compressor would choose them; then literals.
        let more = |length: usize| std::iter::repeat_n(255, length / 255).chain([(length % 255) as u8]);
        let size = plane * 16;
        let (mut stream, mut done) = (Vec::new(), 0);
        for (kind, length, byte) in pieces {
            let length = length.min(size.saturating_sub(done + 6));
            if length < 4 {
                break;
            }
            done += 1;
            let offset: usize = [1, 2.min(done), done, done.div_ceil(2), 17.min(done)][kind];
            stream.extend([0x10 | (length - 4).min(15) as u8, if byte < 128 { 0 } else { byte }]);
            stream.extend((offset as u16).to_le_bytes());
            stream.extend((length - 4).checked_sub(15).into_iter().flat_map(more));
            done += length;
        }
        let rest = size - done;
        stream.push((rest.min(15) as u8) << 4);
        stream.extend(rest.checked_sub(15).into_iter().flat_map(more));
        stream.extend(std::iter::repeat_n(9, rest));
        let mut wanted = vec![0; size];
        // The library insists on a literal end of its own length.
        prop_assume!(decode::unpack_block(&stream, &mut wanted).is_some());
        let mut out = vec![0xee; size + SLACK];
        let zero = walk(&stream, stream.len(), &mut out, size, plane, OneByOne).unwrap();
        for index in 0..16 {
            let found = &out[index * plane..(index + 1) * plane];
            let wanted = &wanted[index * plane..(index + 1) * plane];
            if zero.known >> index & 1 == 1 {
                prop_assert!(wanted.iter().all(|byte| *byte == 0));
            } else {
                prop_assert_eq!(found, wanted);
            }
        }
    }
}

#[test]
fn headers_are_checked_before_room_is_made() {
    let regions = regions([4, 8], Element::U16, None, 3);
    let found = |bytes: &[u8]| reduced(&regions, Kernel::best(), Encoding::Bslz4, bytes).unwrap_err();
    let good = bslz4(Element::U16, &frame(Element::U16, 32, 1, 5), 64);
    assert_eq!(found(&good[..11]), FrameError::Header(11));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(found(&with(0, 1)), FrameError::Size { found: (1 << 56) + 64, wanted: 64 });
    assert_eq!(found(&with(11, 0)), FrameError::BlockSize(0));
    assert_eq!(found(&with(11, 63)), FrameError::BlockSize(63));
    assert_eq!(found(&with(12, 1)), FrameError::Cut(0));
    assert_eq!(found(&good[..good.len() - 1]), FrameError::Cut(0));
    assert_eq!(found(&[good.as_slice(), &[0]].concat()), FrameError::Trailing(1));
    // Blocks of up to 4 GB are announced; what is made room for is what the frame has.
    let mut scratch = reducer::Scratch::default();
    let mut sums = vec![RegionSum::default(); regions.count()];
    reducer::sum_shuffled(&regions, &mut scratch, &with(8, 0xf0), &mut sums, OneByOne).unwrap();
    assert!(scratch.block.capacity() <= 2 * (64 + SLACK));
}

#[test]
fn a_frame_of_zeros_writes_no_plane() {
    let frame = vec![0; 8192];
    let packed = bslz4(Element::U16, &frame, 8192);
    let mut out = vec![0xee; 8192 + SLACK];
    let length = packed.len() - 16;
    let zero = walk(&packed[16..], length, &mut out, 8192, 512, OneByOne).unwrap();
    assert_eq!(zero.known, 0x7ffe);
    assert!(out[512..15 * 512].iter().all(|byte| *byte == 0xee));
}

#[test]
fn a_match_is_repeated_with_any_period() {
    for offset in 1..40 {
        let mut out: Vec<u8> = (0..80).collect();
        OneByOne.spread(&mut out, 40, offset).unwrap();
        assert!((40..56).all(|at| out[at] == out[at - offset]), "{offset}");
    }
    assert_eq!(OneByOne.spread(&mut [0; 20], 10, 3), None);
}

#[test]
fn many_frames_give_what_each_of_them_gives() {
    let shape = [30, 37];
    let regions = regions(shape, Element::U32, Some(1000.0), 9);
    let mut frames: Vec<_> =
        (0..50).map(|seed| bslz4(Element::U32, &frame(Element::U32, 30 * 37, 0, seed + 1), 2048)).collect();
    frames[7].truncate(100);
    let reducer = FrameReducer::new(regions.clone());
    let mut all = Reduced::default();
    for _ in 0..2 {
        reducer.reduce(Encoding::Bslz4, &frames, &mut all);
        assert_eq!(all.frames().count(), 50);
        for (index, (found, bytes)) in all.frames().zip(&frames).enumerate() {
            match reduced(&regions, Kernel::Portable, Encoding::Bslz4, bytes) {
                Ok(sums) => assert_eq!(found.unwrap(), sums),
                Err(error) => assert!(index == 7 && found.unwrap_err() == &error),
            }
        }
    }
}

#[test]
fn the_centre_of_a_spot_is_where_it_is() {
    let shape = [20, 90];
    let regions = Regions::new(
        shape,
        Element::U16,
        None,
        vec![Region { mask: PixelMask::everything(shape), moments: true }],
        &[],
    )
    .unwrap();
    let mut values = vec![0_u16; 20 * 90];
    values[3 * 90 + 70] = 30;
    values[5 * 90 + 70] = 10;
    values[100] = u16::MAX;
    let frame: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let sums =
        reduced(&regions, Kernel::best(), Encoding::Bslz4, &bslz4(Element::U16, &frame, 8192)).unwrap();
    assert_eq!((sums[0].sum, sums[0].kept), (40, 1799));
    assert_eq!(sums[0].centre(), Some([3.5, 70.0]));
    assert_eq!(sums[0].intensity(1800, 2.0), 42.0);
}

#[test]
fn masks_and_shapes_have_to_fit() {
    let mask = PixelMask::everything([2, 3]);
    let region = Region { mask, moments: false };
    let wrong = Regions::new([3, 2], Element::U8, None, vec![region], &[]).unwrap_err();
    assert_eq!(wrong, RegionsError::Mask { found: [2, 3], wanted: [3, 2] });
    assert_eq!(Regions::new([0, 2], Element::U8, None, vec![], &[]).unwrap_err(), RegionsError::Shape(0, 2));
}

/// What Python's `bitshuffle` 0.5 made of 0, 3, … 54 as 16 bits, in blocks of 16 values.
#[test]
fn a_stream_of_the_filter_itself_is_read() {
    let stream = [
        0, 0, 0, 0, 0, 0, 0, 38, 0, 0, 0, 32, 0, 0, 0, 22, 218, 170, 170, 102, 102, 180, 180, 56, 199, 192,
        7, 0, 248, 0, 1, 0, 80, 0, 0, 0, 0, 0, 48, 0, 51, 0, 54, 0,
    ];
    let values: Vec<u8> = (0..19_u16).flat_map(|value| (3 * value).to_le_bytes()).collect();
    let mut frame = Vec::new();
    decode(Encoding::Bslz4, Element::U16, &stream, 38, &mut frame).unwrap();
    assert_eq!(frame, values);
    let everything = Region { mask: PixelMask::everything([1, 19]), moments: true };
    let regions = Regions::new([1, 19], Element::U16, None, vec![everything], &[]).unwrap();
    for kernel in Kernel::available() {
        let sums = reduced(&regions, kernel, Encoding::Bslz4, &stream).unwrap();
        assert_eq!((sums[0].sum, sums[0].moments), (3 * 171, [0, 3 * 2109]));
    }
    assert_eq!(bslz4(Element::U16, &values, 32), stream);
}
