//! The syntax of an ALS `.hdr`: `name = value;` pairs, where a value is a number, a quoted text, a block
//! `{ … }` of pairs, or a list `( … )` of values.
//!
//! Lists usually start with the number of what follows. Semicolons may be missing. Nesting beyond
//! [`MAX_DEPTH`] and anything else that does not fit is an error that names the line.

/// Deepest nesting of blocks and lists.
const MAX_DEPTH: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Text(String),
    Block(Vec<(String, Value)>),
    List(Vec<Value>),
}

impl Value {
    /// The first value of this name in a block.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let Self::Block(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The first value of this name in this block or in any block or list below, in the order of the file.
    pub(super) fn find(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Block(pairs) => {
                self.get(name).or_else(|| pairs.iter().find_map(|(_, value)| value.find(name)))
            }
            Self::List(values) => values.iter().find_map(|value| value.find(name)),
            Self::Number(_) | Self::Text(_) => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The members of a list that starts with their number; `None` where the number is wrong.
    pub(super) fn counted(&self) -> Option<&[Value]> {
        let Self::List(values) = self else { return None };
        let (count, members) = values.split_first()?;
        (count.number()? == members.len() as f64).then_some(members)
    }
}

/// Parses a whole header into one block; the error is the line, from 1, and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Value, (usize, String)> {
    let mut parser = Parser { rest: text, line: 1 };
    let pairs = parser.pairs(0)?;
    match parser.peek() {
        None => Ok(Value::Block(pairs)),
        Some(found) => Err(parser.error(format_args!("{found:?} closes nothing"))),
    }
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

type Parsed<T> = Result<T, (usize, String)>;

impl<'a> Parser<'a> {
    fn error(&self, problem: impl std::fmt::Display) -> (usize, String) {
        (self.line, problem.to_string())
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|&b| b == b'\n').count();
        self.rest = rest;
        taken
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let white = self.rest.len() - self.rest.trim_start().len();
        self.advance(white);
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance(wanted.len_utf8());
        }
        found
    }

    /// Everything up to white space or a character with a meaning.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "={}();,\"".contains(c));
        self.advance(end.unwrap_or(self.rest.len()))
    }

    fn pairs(&mut self, depth: usize) -> Parsed<Vec<(String, Value)>> {
        let mut pairs = Vec::new();
        loop {
            while self.take(';') {}
            match self.peek() {
                None | Some('}' | ')') => return Ok(pairs),
                Some(found) => {
                    let name = self.word();
                    if name.is_empty() || !self.take('=') {
                        return Err(self.error(format_args!("expected `name = value`, found {found:?}")));
                    }
                    pairs.push((name.to_owned(), self.value(depth)?));
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Parsed<Value> {
        if depth >= MAX_DEPTH {
            return Err(self.error(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        if self.take('{') {
            let pairs = self.pairs(depth + 1)?;
            return if self.take('}') {
                Ok(Value::Block(pairs))
            } else {
                Err(self.error("a { is not closed"))
            };
        }
        if self.take('(') {
            return self.list(depth + 1);
        }
        if self.take('"') {
            let end = self.rest.find('"').ok_or_else(|| self.error("a \" is not closed"))?;
            let text = self.advance(end).to_owned();
            self.advance(1);
            return Ok(Value::Text(text));
        }
        match self.word() {
            "" => Err(self.error("a value is missing")),
            word => Ok(word.parse().map_or_else(|_| Value::Text(word.to_owned()), Value::Number)),
        }
    }

    fn list(&mut self, depth: usize) -> Parsed<Value> {
        let mut values = Vec::new();
        loop {
            if self.take(')') {
                return Ok(Value::List(values));
            }
            values.push(self.value(depth)?);
            while self.take(',') || self.take(';') {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_blocks_lists_texts_and_numbers() {
        let header =
            parse("A = { B = 1.5; C = \"x; y\"; D = (2,\n{ E = 3;},\n{ F = true;});\n};\n G = -1e3;")
                .unwrap();
        assert_eq!(header.get("A").and_then(|a| a.get("B")).and_then(Value::number), Some(1.5));
        assert_eq!(header.find("C").and_then(Value::text), Some("x; y"));
        assert_eq!(header.find("D").and_then(Value::counted).map(<[_]>::len), Some(2));
        assert_eq!(header.find("E").and_then(Value::number), Some(3.0));
        assert_eq!(header.get("G").and_then(Value::number), Some(-1000.0));
        assert_eq!(
            parse("P = (3, 1, 2);").unwrap().find("P").unwrap().counted(),
            None,
            "3 declared, 2 there"
        );
    }

    #[test]
    fn names_the_line_of_an_error() {
        assert_eq!(parse("A = 1;\nB = {\nC = 2;").unwrap_err().0, 3);
        assert_eq!(parse("A = 1;\n}").unwrap_err().0, 2);
        assert!(parse("A = \"x").is_err() && parse("= 3").is_err() && parse("A").is_err());
        let deep = format!("A = {}", "(".repeat(100_000));
        assert!(parse(&deep).unwrap_err().1.contains("nested"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-B={}();,\" 1\\n.é-]{0,60}") {
            _ = parse(&text);
        }
    }
}
