//! Arithmetic expressions of the dimensions of a point, or of time.

/// An expression, in postfix order for a stack machine.
#[derive(Clone)]
pub(super) struct Expression(Vec<Part>);

#[derive(Clone, Copy)]
enum Part {
    Number(f64),
    Input(usize),
    One(One),
    Two(Two),
    Where,
}

/// Variables that an expression may use, in addition to functions and `pi`.
#[derive(Clone, Copy)]
pub(super) enum Variables {
    /// The dimensions of a point: `x0`, `x1`, … and `x`.
    Dimensions,
    /// The time `t` alone.
    Time,
}

impl Variables {
    /// Index of the input with this name.
    fn input(self, name: &str) -> Option<usize> {
        match (self, name) {
            (Self::Dimensions, "x") | (Self::Time, "t") => Some(0),
            (Self::Dimensions, _) => name.strip_prefix('x')?.parse::<u32>().ok().map(|i| i as usize),
            (Self::Time, _) => None,
        }
    }

    fn known(self) -> &'static str {
        match self {
            Self::Dimensions => "x0, x1, …",
            Self::Time => "t",
        }
    }
}

/// A value that expressions are evaluated with: numbers, or signals in a graph.
pub(super) trait Value: Copy {
    /// Applies a function of one value.
    fn one(self, f: One) -> Self;
    /// Applies a function of two values.
    fn two(self, f: Two, other: Self) -> Self;
    /// `yes` where this value is not zero, else `no`.
    fn choose(self, yes: Self, no: Self) -> Self;
}

/// A function of one number.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum One {
    Neg,
    Abs,
    Sqrt,
    Exp,
    Log,
    Sin,
    Cos,
    Tan,
    Tanh,
    Sign,
    Floor,
    Ceil,
}

/// A function of two numbers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Two {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

const OF_ONE: [(&str, One); 11] = [
    ("abs", One::Abs),
    ("sqrt", One::Sqrt),
    ("exp", One::Exp),
    ("log", One::Log),
    ("sin", One::Sin),
    ("cos", One::Cos),
    ("tan", One::Tan),
    ("tanh", One::Tanh),
    ("sign", One::Sign),
    ("floor", One::Floor),
    ("ceil", One::Ceil),
];

const OF_TWO: [(&str, Two); 2] = [("min", Two::Min), ("max", Two::Max)];

/// Operators, longer ones before their prefixes.
const COMPARISONS: [(&str, Two); 6] = [
    ("<=", Two::LessEqual),
    (">=", Two::GreaterEqual),
    ("==", Two::Equal),
    ("!=", Two::NotEqual),
    ("<", Two::Less),
    (">", Two::Greater),
];

const WHERE: &str = "where";

impl Value for f64 {
    fn one(self, f: One) -> f64 {
        match f {
            One::Neg => -self,
            One::Abs => self.abs(),
            One::Sqrt => self.sqrt(),
            One::Exp => self.exp(),
            One::Log => self.ln(),
            One::Sin => self.sin(),
            One::Cos => self.cos(),
            One::Tan => self.tan(),
            One::Tanh => self.tanh(),
            One::Sign => f64::from(self > 0.0) - f64::from(self < 0.0),
            One::Floor => self.floor(),
            One::Ceil => self.ceil(),
        }
    }

    fn two(self, f: Two, other: f64) -> f64 {
        match f {
            Two::Add => self + other,
            Two::Sub => self - other,
            Two::Mul => self * other,
            Two::Div => self / other,
            Two::Pow => self.powf(other),
            // As on devices, the first number is kept if one of the two is NaN.
            Two::Min if other < self => other,
            Two::Max if self < other => other,
            Two::Min | Two::Max => self,
            Two::Less => f64::from(self < other),
            Two::LessEqual => f64::from(self <= other),
            Two::Greater => f64::from(self > other),
            Two::GreaterEqual => f64::from(self >= other),
            Two::Equal => f64::from(self == other),
            Two::NotEqual => f64::from(self != other),
        }
    }

    fn choose(self, yes: f64, no: f64) -> f64 {
        if self == 0.0 { no } else { yes }
    }
}

/// Deepest nesting of parentheses, signs and powers; the parser is recursive.
const MAX_DEPTH: usize = 64;

impl Expression {
    /// Parses expressions separated by semicolons, one per value; errors name the column.
    pub fn parse_all(text: &str, variables: Variables) -> Result<Vec<Self>, String> {
        let mut start = 0;
        let mut all = Vec::new();
        for part in text.split(';') {
            all.push(Self::parse(part, start, variables)?);
            start += part.chars().count() + 1;
        }
        Ok(all)
    }

    /// Parses an expression that begins `before` columns after the start of the user's text.
    fn parse(text: &str, before: usize, variables: Variables) -> Result<Self, String> {
        let chars = text.chars().collect();
        let mut parser = Parser { chars, at: 0, before, variables, depth: 0, parts: Vec::new() };
        parser.comparison()?;
        match parser.peek() {
            None => Ok(Self(parser.parts)),
            Some(c) => Err(format!("unexpected '{c}' in column {}", parser.column(parser.at))),
        }
    }

    /// Number of dimensions that it needs: one more than the highest used.
    pub fn inputs(&self) -> usize {
        let input = |p: &Part| if let Part::Input(i) = p { i + 1 } else { 0 };
        self.0.iter().map(input).max().unwrap_or(0)
    }

    /// Evaluates the expression; `input` supplies its dimensions, and `number` its constants.
    pub fn value<V: Value>(&self, input: impl Fn(usize) -> V, number: impl Fn(f64) -> V) -> V {
        let mut stack = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            let mut pop = || stack.pop().unwrap_or_else(|| number(f64::NAN));
            let value = match *part {
                Part::Number(x) => number(x),
                Part::Input(i) => input(i),
                Part::One(f) => pop().one(f),
                Part::Two(f) => {
                    let b = pop();
                    pop().two(f, b)
                }
                Part::Where => {
                    let (no, yes) = (pop(), pop());
                    pop().choose(yes, no)
                }
            };
            stack.push(value);
        }
        stack.pop().unwrap_or_else(|| number(f64::NAN))
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    before: usize,
    variables: Variables,
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

    /// A sum, or two sums with a comparison between them.
    fn comparison(&mut self) -> Result<(), String> {
        self.sum()?;
        let Some(f) = self.compares() else { return Ok(()) };
        self.sum()?;
        self.parts.push(Part::Two(f));
        let from = self.at;
        if self.compares().is_some() {
            let column = self.column(from);
            return Err(format!(
                "there is a second comparison in column {column}; write both in brackets, as (0 < x) * (x < 1)"
            ));
        }
        Ok(())
    }

    fn compares(&mut self) -> Option<Two> {
        self.peek();
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let starts = |word: &str| word.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
        let (word, f) = COMPARISONS.iter().find(|(word, _)| starts(word))?;
        self.at += word.len();
        Some(*f)
    }

    /// Arguments in parentheses.
    fn arguments(&mut self, n: usize) -> Result<(), String> {
        for i in 0..n {
            self.expect(if i == 0 { '(' } else { ',' })?;
            self.comparison()?;
        }
        self.expect(')')
    }

    fn sum(&mut self) -> Result<(), String> {
        self.product()?;
        loop {
            let f = match self.peek() {
                Some('+') => Two::Add,
                Some('-') => Two::Sub,
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
            let f = match self.peek() {
                Some('*') => Two::Mul,
                Some('/') => Two::Div,
                _ => return Ok(()),
            };
            self.at += 1;
            self.signed()?;
            self.parts.push(Part::Two(f));
        }
    }

    /// A signed factor. A sign binds weaker than a power: `-x^2` is `-(x^2)`.
    fn signed(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "it is nested too deeply in column {}; at most {MAX_DEPTH} levels",
                self.column(self.at)
            ));
        }
        if self.take('-') {
            self.signed()?;
            self.parts.push(Part::One(One::Neg));
        } else {
            self.atom()?;
            if self.take('^') {
                self.signed()?;
                self.parts.push(Part::Two(Two::Pow));
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
                self.comparison()?;
                self.expect(')')
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(from),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(from),
            Some(c) => Err(format!("'{c}' in column {} is not a number, name or bracket", self.column(from))),
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
            text.parse().map_err(|_| format!("'{text}' in column {} is not a number", self.column(from)))?;
        self.parts.push(Part::Number(number));
        Ok(())
    }

    fn name(&mut self, from: usize) -> Result<(), String> {
        while self.chars.get(self.at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        let name: String = self.chars[from..self.at].iter().collect();
        if let Some((_, f)) = OF_ONE.iter().find(|(known, _)| *known == name) {
            self.arguments(1)?;
            self.parts.push(Part::One(*f));
        } else if let Some((_, f)) = OF_TWO.iter().find(|(known, _)| *known == name) {
            self.arguments(2)?;
            self.parts.push(Part::Two(*f));
        } else if name == WHERE {
            self.arguments(3)?;
            self.parts.push(Part::Where);
        } else if name == "pi" {
            self.parts.push(Part::Number(std::f64::consts::PI));
        } else if let Some(i) = self.variables.input(&name) {
            self.parts.push(Part::Input(i));
        } else {
            let known = OF_ONE.iter().map(|f| f.0).chain(OF_TWO.iter().map(|f| f.0)).chain([WHERE]);
            let known: Vec<&str> = [self.variables.known(), "pi"].into_iter().chain(known).collect();
            let (column, hint) = (self.column(from), crate::error::near::hint(&name, known.iter().copied()));
            return Err(format!(
                "there is no '{name}' in column {column}{hint}; there is: {}",
                known.join(", ")
            ));
        }
        Ok(())
    }
}
