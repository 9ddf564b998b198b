//! Pickles of plain values and arrays, as Python and numpy write them: for the simulator, and for tests.

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Pickled {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Pickled>),
    /// A dictionary.
    Dict(Vec<(String, Pickled)>),
    /// An array of `float64`, last index fastest.
    Array(Vec<usize>, Vec<f64>),
    /// An object of a class without arguments, which only Python could make.
    Object(&'static str, &'static str),
}

impl Pickled {
    /// A dictionary.
    pub fn dict<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The pickle of it, protocol 4.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write(self, &mut body);
        body.push(b'.');
        let mut bytes = vec![0x80, 4, 0x95];
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend(body);
        bytes
    }
}

fn write(value: &Pickled, out: &mut Vec<u8>) {
    match value {
        Pickled::None => out.push(b'N'),
        Pickled::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        Pickled::Int(value) => int(*value, out),
        Pickled::Float(value) => {
            out.push(b'G');
            out.extend(value.to_be_bytes());
        }
        Pickled::Text(text) => write_text(text, out),
        Pickled::List(items) => {
            out.extend(b"]\x94(");
            items.iter().for_each(|item| write(item, out));
            out.push(b'e');
        }
        Pickled::Dict(entries) => {
            out.extend(b"}\x94(");
            for (key, value) in entries {
                write_text(key, out);
                write(value, out);
            }
            out.push(b'u');
        }
        Pickled::Array(shape, numbers) => array(shape, numbers, out),
        Pickled::Object(module, name) => {
            global(module, name, out);
            // Made without arguments, with an empty state.
            out.extend(b")\x81\x94}\x94b");
        }
    }
}

fn int(value: i64, out: &mut Vec<u8>) {
    match (u8::try_from(value), u16::try_from(value), i32::try_from(value)) {
        (Ok(value), ..) => out.extend([b'K', value]),
        (_, Ok(value), _) => {
            out.push(b'M');
            out.extend(value.to_le_bytes());
        }
        (.., Ok(value)) => {
            out.push(b'J');
            out.extend(value.to_le_bytes());
        }
        _ => {
            out.extend([0x8a, 8]);
            out.extend(value.to_le_bytes());
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length) => out.extend([0x8c, length]),
        Err(_) => {
            out.push(0x8d);
            out.extend((text.len() as u64).to_le_bytes());
        }
    }
    out.extend(text.as_bytes());
    out.push(0x94);
}

fn global(module: &str, name: &str, out: &mut Vec<u8>) {
    write_text(module, out);
    write_text(name, out);
    out.extend(b"\x93\x94");
}

fn array(shape: &[usize], numbers: &[f64], out: &mut Vec<u8>) {
    let tuple = |shape: &[usize], out: &mut Vec<u8>| {
        out.push(b'(');
        shape.iter().for_each(|n| int(*n as i64, out));
        out.extend(b"t\x94");
    };
    global("numpy._core.multiarray", "_reconstruct", out);
    global("numpy", "ndarray", out);
    tuple(&[0], out);
    out.extend(b"C\x01b\x94\x87\x94R\x94(K\x01");
    tuple(shape, out);
    global("numpy", "dtype", out);
    write_text("f8", out);
    out.extend(b"\x89\x88\x87\x94R\x94(K\x03");
    write_text("<", out);
    out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89");
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend([b'C', length]),
        Err(_) => {
            out.push(0x8e);
            out.extend((bytes.len() as u64).to_le_bytes());
        }
    }
    out.extend(bytes);
    out.extend(b"\x94t\x94b");
}
