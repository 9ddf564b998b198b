use hdf5_reader::Hdf5File as Reader;

use super::*;

fn written(make: impl FnOnce(&mut Hdf5File) -> Vec<(&'static str, Address)>) -> Vec<u8> {
    let mut file = Hdf5File::new();
    let members = make(&mut file);
    let attributes = [
        ("NX_class", Attribute::Text("NXroot")),
        ("axes", Attribute::Texts(&["energy", "y"])),
        ("n", Attribute::Integer(-7)),
    ];
    let root = file.group(&attributes, &members).unwrap();
    let mut bytes = Vec::new();
    file.finish(root, &mut bytes).unwrap();
    bytes
}

#[test]
fn short_datasets_and_attributes_read_back() {
    let bytes = written(|file| {
        let unit = [("units", Attribute::Text("eV"))];
        vec![
            ("numbers", file.dataset(&Data::Numbers(&[1.5, -2.0, f64::NAN]), &unit).unwrap()),
            ("number", file.dataset(&Data::Number(0.25), &[]).unwrap()),
            ("integer", file.dataset(&Data::Integer(-3), &unit).unwrap()),
            ("text", file.dataset(&Data::Text("Größe µm"), &[]).unwrap()),
            ("empty", file.dataset(&Data::Text(""), &[]).unwrap()),
            ("texts", file.dataset(&Data::Texts(&["NXstxm", "b"]), &[]).unwrap()),
        ]
    });
    let file = Reader::from_vec(bytes).unwrap();
    let numbers = file.dataset("/numbers").unwrap();
    let values = numbers.read_array::<f64>().unwrap();
    assert_eq!((values[[0]], values[[1]], values[[2]].is_nan()), (1.5, -2.0, true));
    assert_eq!(numbers.attribute("units").unwrap().read_string().unwrap(), "eV");
    let number = file.dataset("/number").unwrap();
    assert_eq!((number.shape().len(), number.read_array::<f64>().unwrap().sum()), (0, 0.25));
    assert_eq!(file.dataset("/integer").unwrap().read_array::<i64>().unwrap().sum(), -3);
    let texts = |name: &str| file.dataset(name).unwrap().read_strings().unwrap();
    assert_eq!((texts("/text"), texts("/empty")), (vec!["Größe µm".to_owned()], vec![String::new()]));
    assert_eq!(texts("/texts"), ["NXstxm", "b"]);
    let root = file.root_group().unwrap();
    assert_eq!(root.attribute("NX_class").unwrap().read_string().unwrap(), "NXroot");
    assert_eq!(root.attribute("axes").unwrap().read_strings().unwrap(), ["energy", "y"]);
    assert_eq!(root.attribute("n").unwrap().read_scalar::<i64>().unwrap(), -7);
}

#[test]
fn cubes_of_any_number_of_chunks_read_back() {
    // One chunk; several rows of chunks the last of which is not full; a B-tree of two levels, and of three.
    for shape in [[1, 1, 1], [3, 5, 150_000], [70, 2, 3], [4100, 1, 2]] {
        let [energies, ny, nx] = shape;
        let value = |energy: usize, pixel: usize| {
            if (energy + pixel) % 11 == 10 { f32::NAN } else { (energy * ny * nx + pixel) as f32 }
        };
        let bytes = written(|file| {
            let cube = file.cube(&Cube { shape, value: &value }, 2, &[]).unwrap();
            vec![("one", cube), ("two", cube)]
        });
        let file = Reader::from_vec(bytes).unwrap();
        for name in ["/one", "/two"] {
            let read = file.dataset(name).unwrap().read_array::<f32>().unwrap();
            assert_eq!(read.shape(), shape);
            let read = read.as_slice().unwrap();
            for energy in 0..energies {
                for pixel in 0..ny * nx {
                    let (found, wanted) = (read[energy * ny * nx + pixel], value(energy, pixel));
                    assert!(
                        found == wanted || (found.is_nan() && wanted.is_nan()),
                        "{shape:?} {energy} {pixel}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_holds_nothing_takes_no_room() {
    let nothing = |_: usize, _: usize| f32::NAN;
    let cube = |value: &(dyn Fn(usize, usize) -> f32 + Sync)| {
        written(|file| vec![("cube", file.cube(&Cube { shape: [9, 300, 200], value }, 1, &[]).unwrap())])
    };
    let empty = cube(&nothing);
    assert!(empty.len() < 6000, "{}", empty.len());
    let read = Reader::from_vec(empty).unwrap().dataset("/cube").unwrap().read_array::<f32>().unwrap();
    assert!(read.len() == 540_000 && read.iter().all(|value| value.is_nan()));
    let one = cube(&|energy, pixel| if (energy, pixel) == (4, 59_999) { 1.0 } else { f32::NAN });
    let read = Reader::from_vec(one).unwrap().dataset("/cube").unwrap().read_array::<f32>().unwrap();
    assert_eq!(read.iter().filter(|value| !value.is_nan()).count(), 1);
    assert_eq!(read[[4, 299, 199]], 1.0);
}

#[test]
fn what_does_not_fit_is_said() {
    let long = "x".repeat(70_000);
    let mut file = Hdf5File::new();
    let refused = file.dataset(&Data::Number(1.0), &[("units", Attribute::Text(&long))]);
    assert!(matches!(refused, Err(Hdf5Error::Unfit("an attribute"))));
    // A long text is no trouble as a dataset, and a middling one not for an attribute when the heap is full.
    let text = file.dataset(&Data::Text(&long), &[("units", Attribute::Text(&long[..9000]))]).unwrap();
    assert!(matches!(file.group(&[], &[(&long[..300], text)]), Err(Hdf5Error::Unfit("a name"))));
    let root = file.group(&[], &[("text", text)]).unwrap();
    let mut bytes = Vec::new();
    file.finish(root, &mut bytes).unwrap();
    let text = Reader::from_vec(bytes).unwrap().dataset("/text").unwrap();
    assert_eq!(text.read_string().unwrap(), long);
    assert_eq!(text.attribute("units").unwrap().read_string().unwrap().len(), 9000);
}
