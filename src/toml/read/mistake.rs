//! Errors of a value in a file, in terms of the file.

use std::fmt::{self, Display};
use std::ops::Range;

use serde::de::{Error, Expected, Unexpected};

/// Description of an expected value, in singular and plural.
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

/// A step of the path from a value to one inside it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    /// Index in a list, from 0.
    Place(usize),
}

#[derive(Debug)]
pub(super) enum What {
    /// Wrong kind of value: the expected kind, the found value, and a hint, if any.
    Wanted(Words, String, String),
    /// Missing required key.
    Missing(&'static str),
    /// A key with two names, both of which are given.
    Twice(&'static str),
    /// Recursive table, as met by the schema.
    Within,
    Other(String),
}

/// An error with its location in the text and its path of keys.
#[derive(Debug)]
pub(super) struct Mistake {
    pub span: Option<Range<usize>>,
    /// Path from the inside out.
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

    /// Sets the location, unless an inner value has set one.
    pub fn at(mut self, span: &Range<usize>) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }

    /// Prepends a step to the path.
    pub fn below(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// True if this very value has the wrong kind.
    pub fn is_of(&self, span: &Range<usize>) -> bool {
        self.path.is_empty() && self.span.as_ref().is_none_or(|s| s == span)
    }

    /// Adds another kind that would be accepted for this very value.
    pub fn or(mut self, span: &Range<usize>, other: &str) -> Self {
        if self.is_of(span)
            && let What::Wanted(wanted, ..) = &mut self.what
            && !wanted.one.contains(other)
        {
            *wanted = Words::new(format!("{}, or {other}", wanted.one), "such values");
        }
        self
    }

    /// The table, and the keys in it: `[[node]] process.times, value 2`.
    fn place(&self) -> String {
        let mut path = self.path.iter().rev().peekable();
        let mut table: Vec<&str> = Vec::new();
        let mut rest: Vec<Step> = Vec::new();
        let mut listed = false;
        while let Some(step) = path.next() {
            match (step, path.peek()) {
                // Arrays of tables are part of the table's name, as in its header.
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
                // For errors other than a wrong kind, the last key names a table.
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
            What::Within => f.write_str("it contains itself"),
            What::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Mistake {}

/// A text of the file as messages show it, shortened.
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
