use proptest::prelude::*;

use super::golden::golden;
use super::write::Pickled;
use super::{Node, View, load};

fn refusal(bytes: &[u8]) -> String {
    load(bytes).map(|pickle| format!("{:?} is read", pickle.root().node())).unwrap_err().to_string()
}

#[test]
fn a_call_is_not_made() {
    // What `os.system("touch /tmp/owned")` would be.
    let bytes = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x10touch /tmp/owned\x85R.";
    let pickle = load(bytes).unwrap();
    assert_eq!(*pickle.root().node(), Node::Opaque("posix.system".to_owned()));
    // Nor one through what a call made, or through a dictionary of attributes.
    let bytes =
        b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x01\x00\x00\x00a\x86R)R}X\x01\x00\x00\x00xK\x01sb.";
    assert!(matches!(load(bytes).unwrap().root().node(), Node::Opaque(_)));
}

#[test]
fn what_lies_outside_the_pickle_is_refused_by_name() {
    for (bytes, reason) in [
        (&b""[..], "does not begin"),
        (b"I1\n.", "does not begin"),
        (b"\x80\x01N.", "protocol 1"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x80\x04", "breaks off"),
        (b"\x80\x04.", "the stack is empty"),
        (b"\x80\x04N.N", "bytes follow"),
        (b"\x80\x02Pid\n.", "persistent id"),
        (b"\x80\x02NQ.", "persistent id"),
        (b"\x80\x02\x82\x01.", "extension code"),
        (b"\x80\x05\x97.", "outside the pickle"),
        (b"\x80\x02I1\n.", "protocol 0"),
        (b"\x80\x02(cos\nsystem\no.", "protocol 0 and 1"),
        (b"\x80\x04\xff.", "no opcode"),
        (b"\x80\x04h\x07.", "nothing is memoised as 7"),
        (b"\x80\x04(K\x01K\x02K\x03d.", "a key without a value"),
        (b"\x80\x04u.", "no mark"),
        (b"\x80\x04NNa.", "no list"),
    ] {
        let found = refusal(bytes);
        assert!(found.contains(reason), "{bytes:?}: {found}");
    }
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    let huge = u64::MAX.to_le_bytes();
    for opcode in [0x8d_u8, 0x8e, 0x96, 0x95] {
        let bytes = [&[0x80, 5, opcode][..], &huge, b"."].concat();
        assert!(refusal(&bytes).contains(if opcode == 0x95 { "frame" } else { "breaks off" }));
    }
    for opcode in [b'X', b'B', b'T', 0x8b] {
        let bytes = [&[0x80, 5, opcode][..], &u32::MAX.to_le_bytes(), b"."].concat();
        assert!(refusal(&bytes).contains("breaks off"));
    }
    // A memo index is no length of a table.
    let bytes = [b"\x80\x04Nr".as_slice(), &u32::MAX.to_le_bytes(), b"."].concat();
    load(&bytes).unwrap();
}

#[test]
fn lists_of_lists_of_lists_are_shared_and_bounded() {
    // Each list holds the one before twenty times: twenty to the hundredth values, were they copied.
    let mut bytes = b"\x80\x04]\x94".to_vec();
    for level in 0..100_u8 {
        bytes.extend(b"](");
        (0..20).for_each(|_| bytes.extend([b'h', level]));
        bytes.extend(b"e\x94");
    }
    bytes.push(b'.');
    let pickle = load(&bytes).unwrap();
    assert_eq!(pickle.root().to_json(), None);
    // A list that holds itself.
    let pickle = load(b"\x80\x04]\x94h\x00a.").unwrap();
    assert_eq!(pickle.root().to_json(), None);
    // A deep one.
    let deep = [b"\x80\x04".to_vec(), vec![b']'; 100_000], vec![b'a'; 99_999], b".".to_vec()].concat();
    assert_eq!(load(&deep).unwrap().root().to_json(), None);
    // More than there may be.
    let many = [b"\x80\x04".to_vec(), vec![b'N'; super::MAX_NODES + 1], b".".to_vec()].concat();
    assert!(refusal(&many).contains("values"));
    let stack = [b"\x80\x04N".to_vec(), vec![b'2'; super::MAX_ITEMS + 1], b".".to_vec()].concat();
    assert!(refusal(&stack).contains("on the stack"));
}

#[test]
fn an_array_has_as_many_bytes_as_it_says() {
    let array = Pickled::Array(vec![2, 3], vec![1.0; 6]).to_bytes();
    assert_eq!(load(&array).unwrap().root().numbers(), Some(vec![1.0; 6]));
    let at = array.windows(4).position(|bytes| bytes == b"K\x02K\x03").unwrap();
    let mut other = array;
    other[at + 1] = 200;
    assert!(refusal(&other).contains("an array of shape [200, 3] with 48 bytes"));
}

fn value() -> impl Strategy<Value = Pickled> {
    let leaf = prop_oneof![
        Just(Pickled::None),
        any::<bool>().prop_map(Pickled::Bool),
        any::<i64>().prop_map(Pickled::Int),
        (-1e9..1e9_f64).prop_map(Pickled::Float),
        ".{0,300}".prop_map(Pickled::Text),
        (0..5_usize, 0..7_usize).prop_map(|(ny, nx)| {
            Pickled::Array(vec![ny, nx], (0..ny * nx).map(|index| index as f64).collect())
        }),
        Just(Pickled::Object("asyncio.locks", "Event")),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Pickled::List),
            proptest::collection::btree_map("[a-z]{1,9}", inner, 0..8)
                .prop_map(|entries| Pickled::Dict(entries.into_iter().collect())),
        ]
    })
}

fn same(found: View<'_, '_>, wanted: &Pickled) -> bool {
    match wanted {
        Pickled::None => *found.node() == Node::None,
        Pickled::Bool(value) => *found.node() == Node::Bool(*value),
        Pickled::Int(value) => *found.node() == Node::Int(*value),
        Pickled::Float(value) => *found.node() == Node::Float(*value),
        Pickled::Text(text) => found.text() == Some(text),
        Pickled::Object(module, name) => *found.node() == Node::Opaque(format!("{module}.{name}")),
        Pickled::Array(shape, numbers) => {
            let numbers: Vec<f32> = numbers.iter().map(|number| *number as f32).collect();
            found.shape().as_ref() == Some(shape) && found.numbers() == Some(numbers)
        }
        Pickled::List(items) => match found.node() {
            Node::List(ids) => {
                ids.len() == items.len()
                    && ids.iter().zip(items).all(|(id, item)| same(View::new(found.pickle(), *id), item))
            }
            _ => false,
        },
        Pickled::Dict(entries) => {
            found.entries().count() == entries.len()
                && entries.iter().all(|(key, value)| found.get(key).is_some_and(|found| same(found, value)))
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in value()) {
        let bytes = value.to_bytes();
        let pickle = load(&bytes).unwrap();
        prop_assert!(same(pickle.root(), &value));
    }

    #[test]
    fn damage_is_refused_or_read_and_nothing_breaks(
        which in 0..8_usize,
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = golden().nth(which).unwrap().1.to_vec();
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(pickle) = load(&bytes) {
            let root = pickle.root();
            for (_, value) in root.entries() {
                let (shape, numbers) = (value.shape(), value.numbers());
                if let (Some(shape), Some(numbers)) = (shape, numbers) {
                    prop_assert_eq!(shape.iter().product::<usize>(), numbers.len());
                }
            }
            drop(root.to_json());
        }
    }

    #[test]
    fn programs_of_known_opcodes_are_refused_or_read(
        words in proptest::collection::vec(
            prop::sample::select(b"(.012JKMNRUTXabcd}ehjl]qrst)uGBC\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x00\x01\n".to_vec()),
            0..200,
        ),
    ) {
        let bytes = [b"\x80\x04".to_vec(), words].concat();
        if let Ok(pickle) = load(&bytes) {
            drop(pickle.root().to_json());
        }
    }
}
