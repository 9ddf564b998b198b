//! Pickles that CPython wrote, with numpy 1 and 2: `tests/python/write_pickles.py`.

use super::{Node, View, load};

const GOLDEN: [(&str, &[u8]); 8] = [
    ("numpy1-protocol2", include_bytes!("../../../tests/fixtures/pickle/numpy1-protocol2.pickle")),
    ("numpy1-protocol3", include_bytes!("../../../tests/fixtures/pickle/numpy1-protocol3.pickle")),
    ("numpy1-protocol4", include_bytes!("../../../tests/fixtures/pickle/numpy1-protocol4.pickle")),
    ("numpy1-protocol5", include_bytes!("../../../tests/fixtures/pickle/numpy1-protocol5.pickle")),
    ("numpy2-protocol2", include_bytes!("../../../tests/fixtures/pickle/numpy2-protocol2.pickle")),
    ("numpy2-protocol3", include_bytes!("../../../tests/fixtures/pickle/numpy2-protocol3.pickle")),
    ("numpy2-protocol4", include_bytes!("../../../tests/fixtures/pickle/numpy2-protocol4.pickle")),
    ("numpy2-protocol5", include_bytes!("../../../tests/fixtures/pickle/numpy2-protocol5.pickle")),
];

/// All of them.
pub(super) fn golden() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    GOLDEN.into_iter()
}

fn numbers(range: std::ops::Range<u16>) -> Vec<f32> {
    range.map(f32::from).collect()
}

fn array(value: View<'_, '_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let array = value.get(name).unwrap();
    (array.shape().unwrap(), array.numbers().unwrap())
}

#[test]
fn what_cpython_and_numpy_write_is_read() {
    for (name, bytes) in golden() {
        let pickle = load(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let root = pickle.root();
        let get = |key: &str| root.get(key).unwrap_or_else(|| panic!("{name}: {key}"));
        assert_eq!(*get("none").node(), Node::None, "{name}");
        assert!(get("yes").is_true() && !get("no").is_true(), "{name}");
        assert_eq!(get("float").number(), Some(515.25));
        assert_eq!(get("text").text(), Some("Na₃V₂ \u{1f52c}"));
        assert_eq!(get("long").text().map(str::len), Some(300));
        assert!(matches!(get("bytes").node(), Node::Bytes(bytes) if **bytes == [0, 0xff]), "{name}");
        let ints = get("ints").to_json().unwrap();
        let wanted = [0, 255, 65535, -1, (1 << 31) - 1, -(1 << 31), 1 << 40, i64::MIN];
        assert!(wanted.iter().enumerate().all(|(index, wanted)| ints[index] == *wanted), "{name}: {ints}");
        assert!(ints[8].as_f64().unwrap() > 1e24, "beyond 64 bits");
        assert_eq!(get("tuple").to_json().unwrap().to_string(), "[1,[2,3],[4,5,6],[7,8,9,10],[]]");
        assert_eq!(get("ordered").get("a").and_then(View::index), Some(1));
        for opaque in ["synch_event", "deque", "objects"] {
            assert!(
                matches!(get(opaque).node(), Node::Opaque(_)),
                "{name}: {opaque} {:?}",
                get(opaque).node()
            );
        }
        assert_eq!(get("complex").numbers(), None);
        let image = (vec![4, 6], numbers(0..24));
        for same in ["image", "fortran", "big", "small", "single", "half"] {
            assert_eq!(array(root, same), image, "{name}: {same}");
        }
        assert_eq!(array(root, "line").1, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]);
        assert_eq!(array(root, "bits").1.iter().sum::<f32>(), 12.0);
        assert_eq!(array(root, "strided"), (vec![2, 2], vec![0.0, 3.0, 12.0, 15.0]));
        assert_eq!(array(root, "empty"), (vec![0, 6], vec![]));
        assert_eq!(array(root, "cube"), (vec![2, 3, 4], numbers(0..24)));
        assert_eq!(get("zero_dimensional").number(), Some(3.0));
        assert_eq!(get("scalar").number(), Some(2.5));
        assert_eq!(get("scalar_int").number(), Some(-7.0));
        assert!(get("scalar_bool").is_true());
        let json = root.to_json().unwrap();
        assert_eq!((&json["cube"][1][2][3], &json["same"][1][5]), (&23.0.into(), &5.5.into()));
    }
}
