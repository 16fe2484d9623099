//! A value of a file and its location.

use std::ops::Range;

use ::toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use crate::toml::read::mistake::{Mistake, What, Words, quoted};

/// Alias of the key whose value may replace a whole struct.
pub(super) const SHORT: &str = "$short";

/// A value with its span in the text.
#[derive(Clone)]
pub(super) struct Value<'a, 'i> {
    pub content: Content<'a, 'i>,
    pub span: Range<usize>,
}

/// A value, or a part of one.
#[derive(Clone, Copy)]
pub(super) enum Content<'a, 'i> {
    Of(&'a DeValue<'i>),
    /// A table without the entry that selects its kind.
    Rest(&'a DeTable<'i>, &'a str),
    /// The (empty) settings of a kind given by its name alone.
    Alone(&'a str),
}

pub(super) type Found<T> = Result<T, Mistake>;

impl<'a, 'i> Value<'a, 'i> {
    pub fn new(value: &'a DeValue<'i>, span: Range<usize>) -> Self {
        Self { content: Content::Of(value), span }
    }

    pub fn at<T>(&self, found: Found<T>) -> Found<T> {
        found.map_err(|e| e.at(&self.span))
    }

    /// Error for a value of the wrong kind.
    pub fn wrong<T>(&self, one: impl Into<String>, many: impl Into<String>) -> Found<T> {
        self.wrong_with(Words::new(one, many), String::new())
    }

    pub fn wrong_with<T>(&self, wanted: Words, hint: String) -> Found<T> {
        let mistake = match self.content {
            Content::Alone(name) => Mistake::new(format!(
                "\"{name}\" alone is incomplete; write {{ {name} = … }} with {}",
                wanted.one
            )),
            _ => What::Wanted(wanted, self.found(), hint).into(),
        };
        Err(mistake.at(&self.span))
    }

    fn found(&self) -> String {
        match self.content {
            Content::Alone(name) => quoted(name),
            Content::Rest(..) => "a table".into(),
            Content::Of(value) => match value {
                DeValue::String(text) => quoted(text),
                DeValue::Integer(n) => n.to_string(),
                DeValue::Float(x) => x.to_string(),
                DeValue::Boolean(x) => x.to_string(),
                DeValue::Datetime(date) => format!("the date {date}"),
                DeValue::Array(list) if list.is_empty() => "an empty list".into(),
                DeValue::Array(_) => "a list".into(),
                DeValue::Table(table) if table.is_empty() => "an empty table".into(),
                DeValue::Table(_) => "a table".into(),
            },
        }
    }

    pub fn integer(&self) -> Option<i128> {
        match self.content {
            Content::Of(DeValue::Integer(n)) => whole(n),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self.content {
            Content::Of(DeValue::Integer(n)) => whole(n).map(|n| n as f64),
            Content::Of(DeValue::Float(x)) => float(x),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&'a str> {
        match self.content {
            Content::Of(DeValue::String(text)) => Some(text),
            _ => None,
        }
    }
}

fn whole(n: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(n.as_str(), n.radix()).ok()
}

fn float(x: &DeFloat<'_>) -> Option<f64> {
    let number: f64 = x.as_str().parse().ok()?;
    (number.is_finite() || x.as_str().contains("inf") || number.is_nan()).then_some(number)
}
