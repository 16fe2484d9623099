//! Arithmetic on the dimensions of a point, as text.

/// An expression, its parts in the order in which a stack of numbers computes them.
pub(super) struct Expression(Vec<Part>);

#[derive(Clone, Copy)]
enum Part {
    Number(f64),
    Input(usize),
    One(One),
    Two(Two),
}

type One = fn(f64) -> f64;
type Two = fn(f64, f64) -> f64;

const OF_ONE: [(&str, One); 11] = [
    ("abs", f64::abs),
    ("sqrt", f64::sqrt),
    ("exp", f64::exp),
    ("log", f64::ln),
    ("sin", f64::sin),
    ("cos", f64::cos),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("sign", |x| if x == 0.0 { 0.0 } else { x.signum() }),
    ("floor", f64::floor),
    ("ceil", f64::ceil),
];

const OF_TWO: [(&str, Two); 2] = [("min", f64::min), ("max", f64::max)];

/// Brackets within brackets, and signs or powers in a row: the parser calls itself for each.
const DEEPEST: usize = 64;

impl Expression {
    /// Understands text that begins `before` columns after the start of the user's; what is wrong has the column.
    pub fn parse(text: &str, before: usize) -> Result<Self, String> {
        let chars = text.chars().collect();
        let mut parser = Parser { chars, at: 0, before, depth: 0, parts: Vec::new() };
        parser.sum()?;
        match parser.peek() {
            None => Ok(Self(parser.parts)),
            Some(c) => Err(format!("'{c}' in column {} does not belong there", parser.column(parser.at))),
        }
    }

    /// One more than the highest dimension it takes.
    pub fn inputs(&self) -> usize {
        let input = |p: &Part| if let Part::Input(i) = p { i + 1 } else { 0 };
        self.0.iter().map(input).max().unwrap_or(0)
    }

    /// Its value at `x`, which has as many dimensions as it takes.
    pub fn value(&self, x: &[f64]) -> f64 {
        let mut stack = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            let value = match *part {
                Part::Number(number) => number,
                Part::Input(i) => x[i],
                Part::One(f) => f(stack.pop().unwrap_or(f64::NAN)),
                Part::Two(f) => {
                    let b = stack.pop().unwrap_or(f64::NAN);
                    f(stack.pop().unwrap_or(f64::NAN), b)
                }
            };
            stack.push(value);
        }
        stack.pop().unwrap_or(f64::NAN)
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    before: usize,
    depth: usize,
    parts: Vec<Part>,
}

impl Parser {
    fn column(&self, at: usize) -> usize {
        self.before + at + 1
    }

    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(format!("'{wanted}' is missing in column {}", self.column(self.at)))
    }

    fn sum(&mut self) -> Result<(), String> {
        self.product()?;
        loop {
            let f: Two = match self.peek() {
                Some('+') => |a, b| a + b,
                Some('-') => |a, b| a - b,
                _ => return Ok(()),
            };
            self.at += 1;
            self.product()?;
            self.parts.push(Part::Two(f));
        }
    }

    fn product(&mut self) -> Result<(), String> {
        self.signed()?;
        loop {
            let f: Two = match self.peek() {
                Some('*') => |a, b| a * b,
                Some('/') => |a, b| a / b,
                _ => return Ok(()),
            };
            self.at += 1;
            self.signed()?;
            self.parts.push(Part::Two(f));
        }
    }

    /// A sign binds weaker than a power: `-x^2` is below zero.
    fn signed(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!(
                "it is too deep in column {}; at most {DEEPEST} levels",
                self.column(self.at)
            ));
        }
        if self.take('-') {
            self.signed()?;
            self.parts.push(Part::One(|x| -x));
        } else {
            self.atom()?;
            if self.take('^') {
                self.signed()?;
                self.parts.push(Part::Two(f64::powf));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn atom(&mut self) -> Result<(), String> {
        let start = self.peek();
        let from = self.at;
        match start {
            Some('(') => {
                self.at += 1;
                self.sum()?;
                self.expect(')')
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(from),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(from),
            Some(c) => Err(format!("'{c}' in column {} is no number, name or bracket", self.column(from))),
            None => Err(format!("a number or name is missing in column {}", self.column(from))),
        }
    }

    fn number(&mut self, from: usize) -> Result<(), String> {
        while let Some(&c) = self.chars.get(self.at) {
            let exponent = matches!(c, 'e' | 'E');
            if !(c.is_ascii_digit() || c == '.' || exponent) {
                break;
            }
            self.at += 1;
            if exponent && matches!(self.chars.get(self.at), Some('+' | '-')) {
                self.at += 1;
            }
        }
        let text: String = self.chars[from..self.at].iter().collect();
        let number =
            text.parse().map_err(|_| format!("'{text}' in column {} is no number", self.column(from)))?;
        self.parts.push(Part::Number(number));
        Ok(())
    }

    fn name(&mut self, from: usize) -> Result<(), String> {
        while self.chars.get(self.at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        let name: String = self.chars[from..self.at].iter().collect();
        if let Some((_, f)) = OF_ONE.iter().find(|(known, _)| *known == name) {
            self.expect('(')?;
            self.sum()?;
            self.expect(')')?;
            self.parts.push(Part::One(*f));
        } else if let Some((_, f)) = OF_TWO.iter().find(|(known, _)| *known == name) {
            self.expect('(')?;
            self.sum()?;
            self.expect(',')?;
            self.sum()?;
            self.expect(')')?;
            self.parts.push(Part::Two(*f));
        } else if name == "pi" {
            self.parts.push(Part::Number(std::f64::consts::PI));
        } else if name == "x" {
            self.parts.push(Part::Input(0));
        } else if let Some(i) = name.strip_prefix('x').and_then(|i| i.parse::<u32>().ok()) {
            self.parts.push(Part::Input(i as usize));
        } else {
            let known = OF_ONE.iter().map(|f| f.0).chain(OF_TWO.iter().map(|f| f.0));
            let known: Vec<&str> = ["x0, x1, …", "pi"].into_iter().chain(known).collect();
            let column = self.column(from);
            return Err(format!("there is no '{name}' in column {column}; there is: {}", known.join(", ")));
        }
        Ok(())
    }
}
