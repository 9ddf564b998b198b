//! The stack machine.

use std::borrow::Cow;
use std::collections::HashMap;

use super::array::{Array, DType};
use super::opcode as op;
use super::{Id, MAX_ITEMS, MAX_NODES, Node, Pickle, PickleError};

type Result<T> = std::result::Result<T, String>;

/// Reads a pickle. What follows its end is refused.
///
/// # Errors
/// What is wrong with it, and where.
pub fn load(bytes: &[u8]) -> std::result::Result<Pickle<'_>, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        items: 0,
    };
    let result = machine.run();
    let offset = machine.at;
    let root = result.map_err(|what| PickleError { offset, what })?;
    if offset != bytes.len() {
        return Err(PickleError { offset, what: "bytes follow its end".to_owned() });
    }
    Ok(Pickle { nodes: machine.nodes, root })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Items of containers so far.
    items: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id> {
        if self.bytes.first() != Some(&op::PROTO) {
            return Err("it does not begin with its protocol".to_owned());
        }
        loop {
            let opcode = self.byte()?;
            if opcode == op::STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::PROTO => match self.byte()? {
                2..=5 => Ok(()),
                other => Err(format!("protocol {other} is not 2 to 5")),
            },
            op::FRAME => {
                let length = self.length8()?;
                if length > self.bytes.len() - self.at {
                    return Err(format!("a frame of {length} bytes that are not there"));
                }
                Ok(())
            }
            op::NONE => self.push(Node::None),
            op::NEWTRUE => self.push(Node::Bool(true)),
            op::NEWFALSE => self.push(Node::Bool(false)),
            op::BININT => {
                let value = i64::from(i32::from_le_bytes(self.array()?));
                self.push(Node::Int(value))
            }
            op::BININT1 => {
                let value = i64::from(self.byte()?);
                self.push(Node::Int(value))
            }
            op::BININT2 => {
                let value = i64::from(u16::from_le_bytes(self.array()?));
                self.push(Node::Int(value))
            }
            op::LONG1 => {
                let length = usize::from(self.byte()?);
                self.long(length)
            }
            op::LONG4 => {
                let length = self.length4()?;
                self.long(length)
            }
            op::BINFLOAT => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value))
            }
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                let bytes = self.sized(opcode == op::SHORT_BINUNICODE, opcode == op::BINUNICODE8)?;
                self.push(Node::Text(String::from_utf8_lossy(bytes)))
            }
            op::SHORT_BINBYTES
            | op::SHORT_BINSTRING
            | op::BINBYTES
            | op::BINSTRING
            | op::BINBYTES8
            | op::BYTEARRAY8 => {
                let short = matches!(opcode, op::SHORT_BINBYTES | op::SHORT_BINSTRING);
                let bytes = self.sized(short, matches!(opcode, op::BINBYTES8 | op::BYTEARRAY8))?;
                self.push(Node::Bytes(Cow::Borrowed(bytes)))
            }
            _ => self.build(opcode),
        }
    }

    fn build(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::MARK => {
                self.room(1)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => match self.marks.last() {
                // As Python has it: with nothing above the mark, the mark goes.
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(drop),
            },
            op::POP_MARK => self.take_marked().map(drop),
            op::DUP => {
                let top = self.top()?;
                self.push_id(top)
            }
            op::EMPTY_LIST => self.push(Node::List(Vec::new())),
            op::EMPTY_TUPLE => self.push(Node::Tuple(Vec::new())),
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            op::EMPTY_SET => self.push(Node::Set(Vec::new())),
            op::LIST | op::TUPLE | op::FROZENSET => {
                let items = self.take_marked()?;
                self.push(match opcode {
                    op::LIST => Node::List(items),
                    op::TUPLE => Node::Tuple(items),
                    _ => Node::Set(items),
                })
            }
            op::DICT => {
                let items = self.take_marked()?;
                self.push(Node::Dict(pairs(&items)?))
            }
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let count = usize::from(opcode - op::TUPLE1) + 1;
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.room(count)?;
                self.push(Node::Tuple(items))
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.take_marked()?;
                self.extend(&items)
            }
            op::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            op::SETITEMS => {
                let items = self.take_marked()?;
                self.set_items(&items)
            }
            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => {
                let index = match opcode {
                    op::BINPUT => u32::from(self.byte()?),
                    op::LONG_BINPUT => u32::from_le_bytes(self.array()?),
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                self.room(1)?;
                self.memo.insert(index, top);
                Ok(())
            }
            op::BINGET | op::LONG_BINGET => {
                let index = if opcode == op::BINGET {
                    u32::from(self.byte()?)
                } else {
                    u32::from_le_bytes(self.array()?)
                };
                let id = self
                    .memo
                    .get(&index)
                    .copied()
                    .ok_or_else(|| format!("nothing is memoised as {index}"))?;
                self.push_id(id)
            }
            _ => self.call(opcode),
        }
    }

    fn call(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::GLOBAL => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.push(Node::Global(module, name))
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match &self.nodes[id as usize] {
                    Node::Text(text) => Ok(text.clone()),
                    _ => Err("the name of a class is no text".to_owned()),
                };
                let global = Node::Global(text(module)?, text(name)?);
                self.push(global)
            }
            op::REDUCE | op::NEWOBJ => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let made = self.reduce(callable, arguments)?;
                self.push(made)
            }
            op::NEWOBJ_EX => {
                let (_, _, class) = (self.pop()?, self.pop()?, self.pop()?);
                let made = Node::Opaque(self.name(class));
                self.push(made)
            }
            op::BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                self.set_state(object, state)
            }
            other => Err(op::refused(other)),
        }
    }

    /// What a call makes, where that is plain data; else the name of what would have been called.
    fn reduce(&self, callable: Id, arguments: Id) -> Result<Node<'a>> {
        let Node::Global(module, name) = self.node(callable) else {
            return Ok(Node::Opaque(self.name(callable)));
        };
        let Node::Tuple(arguments) = self.node(arguments) else {
            return Err("the arguments of a call are no tuple".to_owned());
        };
        let argument = |index: usize| arguments.get(index).map(|id| self.node(*id));
        let made = match (&**module, &**name) {
            ("numpy", "dtype") => match argument(0) {
                Some(Node::Text(name)) => Some(Node::DType(DType::parse(name))),
                _ => None,
            },
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Some(Node::Array(Array::default()))
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => {
                match (argument(0), argument(1)) {
                    (Some(Node::DType(dtype)), Some(Node::Bytes(bytes))) if bytes.len() == dtype.size => {
                        dtype.read(bytes).map(|value| number(*dtype, value))
                    }
                    _ => None,
                }
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(self.buffer_of(arguments)?),
            ("_codecs", "encode") => match (argument(0), argument(1)) {
                (Some(Node::Text(text)), Some(Node::Text(codec))) if &**codec == "latin1" => {
                    let byte = |c: char| {
                        u8::try_from(u32::from(c)).map_err(|_| "a text that is no latin1".to_owned())
                    };
                    Some(Node::Bytes(Cow::Owned(text.chars().map(byte).collect::<Result<_>>()?)))
                }
                _ => None,
            },
            ("collections", "OrderedDict" | "defaultdict") => Some(Node::Dict(Vec::new())),
            // Protocol 2 has no empty bytes of its own.
            ("builtins" | "__builtin__", "bytes" | "bytearray") => match argument(0) {
                Some(Node::Bytes(bytes)) => Some(Node::Bytes(bytes.clone())),
                None => Some(Node::Bytes(Cow::Borrowed(&[]))),
                _ => None,
            },
            _ => None,
        };
        Ok(made.unwrap_or_else(|| Node::Opaque(format!("{module}.{name}"))))
    }

    /// numpy's array as protocol 5 writes it: buffer, dtype, shape, order.
    fn buffer_of(&self, arguments: &[Id]) -> Result<Node<'a>> {
        let [data, dtype, shape, order] = arguments else {
            return Err("an array from a buffer takes four arguments".to_owned());
        };
        let Node::DType(dtype) = self.node(*dtype) else {
            return Ok(Node::Opaque("numpy.ndarray".to_owned()));
        };
        let fortran = matches!(self.node(*order), Node::Text(order) if &**order == "F");
        self.filled(*dtype, *shape, fortran, *data)
    }

    fn filled(&self, dtype: DType, shape: Id, fortran: bool, data: Id) -> Result<Node<'a>> {
        let dimension = |id: &Id| match self.node(*id) {
            Node::Int(n) => usize::try_from(*n).map_err(|_| format!("a shape with {n}")),
            _ => Err("a shape that is no list of whole numbers".to_owned()),
        };
        let Node::Tuple(shape) = self.node(shape) else { return Err("a shape that is no tuple".to_owned()) };
        let shape = shape.iter().map(dimension).collect::<Result<Vec<_>>>()?;
        let Node::Bytes(bytes) = self.node(data) else {
            // Of objects: a list of them.
            return Ok(Node::Opaque("numpy.ndarray".to_owned()));
        };
        if !dtype.is_number() {
            return Ok(Node::Opaque("numpy.ndarray".to_owned()));
        }
        let wanted = Array::len(&shape).and_then(|n| n.checked_mul(dtype.size));
        if wanted != Some(bytes.len()) {
            return Err(format!("an array of shape {shape:?} with {} bytes", bytes.len()));
        }
        Ok(Node::Array(Array { dtype, shape, fortran, data: Some(data) }))
    }

    fn set_state(&mut self, object: Id, state: Id) -> Result<()> {
        let Node::Tuple(state) = self.node(state) else { return Ok(()) };
        let made = match (self.node(object), &state[..]) {
            (Node::DType(dtype), [_, order, ..]) => {
                let big_endian = matches!(self.node(*order), Node::Text(order) if &**order == ">");
                Node::DType(DType { big_endian, ..*dtype })
            }
            (Node::Array(_), [_, shape, dtype, fortran, data]) => {
                let fortran = matches!(self.node(*fortran), Node::Bool(true) | Node::Int(1));
                match self.node(*dtype) {
                    Node::DType(dtype) => self.filled(*dtype, *shape, fortran, *data)?,
                    _ => Node::Opaque("numpy.ndarray".to_owned()),
                }
            }
            _ => return Ok(()),
        };
        self.nodes[object as usize] = made;
        Ok(())
    }

    /// Puts items behind those of the container on top; an object of which only Python knows what it is swallows them.
    fn extend(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        self.room(items.len())?;
        match &mut self.nodes[top as usize] {
            Node::List(list) | Node::Set(list) => list.extend(items),
            Node::Opaque(_) => {}
            _ => return Err("items for something that is no list".to_owned()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let pairs = pairs(items)?;
        let top = self.top()?;
        self.room(items.len())?;
        match &mut self.nodes[top as usize] {
            Node::Dict(dict) => dict.extend(pairs),
            Node::Opaque(_) => {}
            _ => return Err("keys and values for something that is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn name(&self, id: Id) -> String {
        match self.node(id) {
            Node::Global(module, name) => format!("{module}.{name}"),
            Node::Opaque(name) => name.clone(),
            _ => "a value".to_owned(),
        }
    }

    fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    /// Counts items, so that a loop over the memo cannot fill the memory.
    fn room(&mut self, items: usize) -> Result<()> {
        self.items = self.items.saturating_add(items);
        if self.items > MAX_ITEMS { Err(format!("more than {MAX_ITEMS} items")) } else { Ok(()) }
    }

    fn push(&mut self, node: Node<'a>) -> Result<()> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        self.nodes.push(node);
        self.push_id((self.nodes.len() - 1) as Id)
    }

    fn push_id(&mut self, id: Id) -> Result<()> {
        if self.stack.len() >= MAX_ITEMS {
            return Err(format!("more than {MAX_ITEMS} values on the stack"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id> {
        let above_mark = self.stack.len() > self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| above_mark).ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn take_marked(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| "no mark".to_owned())?;
        let items = self.stack.split_off(mark.min(self.stack.len()));
        self.room(items.len())?;
        Ok(items)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "it breaks off".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest
            .get(..length)
            .ok_or_else(|| format!("it breaks off: {length} bytes where {} are left", rest.len()))?;
        self.at += length;
        Ok(taken)
    }

    fn length4(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Result<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?))
            .map_err(|_| "a length beyond any memory".to_owned())
    }

    fn sized(&mut self, short: bool, long: bool) -> Result<&'a [u8]> {
        let length = match (short, long) {
            (true, _) => usize::from(self.byte()?),
            (_, true) => self.length8()?,
            _ => self.length4()?,
        };
        self.take(length)
    }

    /// A whole number of any length, low byte first, in two's complement.
    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let (low, high) = bytes.split_at(bytes.len().min(8));
        let mut word = [fill; 8];
        word[..low.len()].copy_from_slice(low);
        let value = i64::from_le_bytes(word);
        let fits = high.iter().all(|byte| *byte == fill) && (value < 0) == negative;
        // Beyond 64 bits only its size matters.
        self.push(if fits {
            Node::Int(value)
        } else {
            Node::Float(if negative { f64::MIN } else { f64::MAX })
        })
    }

    fn text_line(&mut self) -> Result<Cow<'a, str>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| "it breaks off".to_owned())?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]))
    }
}

/// A number of numpy as a plain one.
fn number<'a>(dtype: DType, value: f64) -> Node<'a> {
    match dtype.kind {
        b'b' => Node::Bool(value != 0.0),
        b'i' | b'u' if value.abs() < 9e15 => Node::Int(value as i64),
        _ => Node::Float(value),
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}
