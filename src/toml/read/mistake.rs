//! What is wrong with a value of a file, in the file's words.

use std::fmt::{self, Display};
use std::ops::Range;

use serde::de::{Error, Expected, Unexpected};

/// What a value should be: one of it, and several.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub one: String,
    pub many: String,
}

impl Words {
    pub fn new(one: impl Into<String>, many: impl Into<String>) -> Self {
        Self { one: one.into(), many: many.into() }
    }
}

/// A step from a value to one in it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    /// From 0.
    Place(usize),
}

#[derive(Debug)]
pub(super) enum What {
    /// Another kind of value is wanted than was found; then what to do, if it is known.
    Wanted(Words, String, String),
    /// A key that must be given.
    Missing(&'static str),
    /// A key that has two names, and both are given.
    Twice(&'static str),
    /// A table in itself, as the schema finds it.
    Within,
    Other(String),
}

/// What is wrong, where in the text, and under which keys.
#[derive(Debug)]
pub(super) struct Mistake {
    pub span: Option<Range<usize>>,
    /// From the inside out.
    path: Vec<Step>,
    pub what: What,
}

impl From<What> for Mistake {
    fn from(what: What) -> Self {
        Self { span: None, path: Vec::new(), what }
    }
}

impl Mistake {
    pub fn new(problem: impl Into<String>) -> Self {
        What::Other(problem.into()).into()
    }

    /// Its place, if nothing inside said one.
    pub fn at(mut self, span: &Range<usize>) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }

    /// The same below a key or in a list.
    pub fn below(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// Whether another kind of value is wanted in this very place.
    pub fn is_of(&self, span: &Range<usize>) -> bool {
        self.path.is_empty() && self.span.as_ref().is_none_or(|s| s == span)
    }

    /// Another kind of value would do as well in this very place.
    pub fn or(mut self, span: &Range<usize>, other: &str) -> Self {
        if self.is_of(span)
            && let What::Wanted(wanted, ..) = &mut self.what
            && !wanted.one.contains(other)
        {
            *wanted = Words::new(format!("{}, or {other}", wanted.one), "such values");
        }
        self
    }

    /// The table, and the keys below it: `[[node]] process.times, value 2`.
    fn place(&self) -> String {
        let mut path = self.path.iter().rev().peekable();
        let mut table: Vec<&str> = Vec::new();
        let mut rest: Vec<Step> = Vec::new();
        let mut listed = false;
        while let Some(step) = path.next() {
            match (step, path.peek()) {
                // Lists of tables belong to the table's name, as in its header.
                (Step::Key(key), Some(Step::Place(_))) if rest.is_empty() => {
                    let mut after = path.clone().skip(1);
                    let is_table = matches!(after.next(), Some(Step::Key(_)))
                        || (table.is_empty() && after.next().is_none());
                    if is_table {
                        table.push(key);
                        listed = true;
                        path.next();
                    } else {
                        rest.push(step.clone());
                    }
                }
                // Where no other value is wanted, something in a table is wrong.
                (Step::Key(key), next)
                    if table.is_empty() && (next.is_some() || !matches!(self.what, What::Wanted(..))) =>
                {
                    table.push(key);
                }
                _ => rest.push(step.clone()),
            }
        }
        let mut out = match (table.is_empty(), listed) {
            (true, _) => String::new(),
            (_, true) => format!("[[{}]]", table.join(".")),
            (_, false) => format!("[{}]", table.join(".")),
        };
        let mut inside = false;
        for step in rest {
            match step {
                Step::Key(key) => {
                    let between = if inside {
                        "."
                    } else if out.is_empty() {
                        ""
                    } else {
                        " "
                    };
                    out += &format!("{between}{key}");
                }
                Step::Place(i) => out += &format!(", value {}", i + 1),
            }
            inside = true;
        }
        out
    }
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        match &self.what {
            What::Wanted(wanted, found, hint) => write!(f, "it must be {}, but is {found}{hint}", wanted.one),
            What::Missing(key) => write!(f, "the key '{key}' is missing"),
            What::Twice(key) => write!(f, "'{key}' is given twice; keep one of them"),
            What::Within => f.write_str("it is within itself"),
            What::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Mistake {}

/// How messages show a text of the file.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        None => format!("\"{}\"", text.escape_debug()),
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
    }
}

impl Error for Mistake {
    fn custom<T: Display>(problem: T) -> Self {
        Self::new(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(x) => x.to_string(),
            Unexpected::Unsigned(x) => x.to_string(),
            Unexpected::Signed(x) => x.to_string(),
            Unexpected::Float(x) => x.to_string(),
            Unexpected::Str(x) => quoted(x),
            Unexpected::Seq => "a list".into(),
            _ => "a table".into(),
        };
        What::Wanted(Words::new(wanted.to_string(), "such values"), found, String::new()).into()
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }

    fn invalid_length(n: usize, wanted: &dyn Expected) -> Self {
        let wanted = Words::new(wanted.to_string(), "such lists");
        What::Wanted(wanted, format!("a list of {n}"), String::new()).into()
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(crate::toml::read::unknown("", name, known))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(crate::toml::read::unknown("key", name, known))
    }

    fn missing_field(key: &'static str) -> Self {
        What::Missing(key).into()
    }

    fn duplicate_field(key: &'static str) -> Self {
        What::Twice(key).into()
    }
}
