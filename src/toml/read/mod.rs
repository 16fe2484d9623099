//! Reading of TOML files: a layer between the text and the types that describe networks, training and data.
//!
//! The types define their keys by serde's derived code alone. This layer defines their notation:
//!
//! - A struct is a table, never a list by position. If one of its fields has the alias `$short`, the value of that field may
//!   replace the table.
//! - An enum is its name, `"lif"`; a table with one entry, `{ lif = { tau-rc = 0.02 } }`; or a table with its `kind` among the
//!   settings, `{ kind = "lif", tau-rc = 0.02 }`. A variant with the alias `$tag:format` uses the key `format` instead of
//!   `kind`. A variant with the alias `$none` is selected by a table of settings without a kind.
//! - An enum with variants named `$number`, `$whole`, `$text`, `$list`, `$table` or `$name` (a text or a table) is selected by
//!   the shape of the value. `$word:a,b` is one of the texts `a` and `b`. For the others, words after a colon describe the
//!   value in messages.
//! - A number may lack a decimal point, and a single value may replace a list of one.
//!
//! Errors name keys, tables, lists, texts and numbers, with line and column of the value.

// At most one error per file, so its size does not matter.
#![allow(clippy::result_large_err)]

mod access;
mod deserializer;
mod mistake;
mod probe;
mod schema;
mod value;

use std::path::Path;

use ::toml::de::{DeTable, DeValue};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
pub use schema::{Key, Kind, Schema, Variant};
use value::Value;

/// Parses `text` as a table of type `T`; `path` is used in messages.
///
/// ```
/// use nengo_wgpu::network::Distribution;
/// use nengo_wgpu::internals::read;
///
/// #[derive(serde::Deserialize)]
/// struct Drawn {
///     from: Distribution,
/// }
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let drawn: Drawn = read::toml("from = { uniform = [-1, 1] }", "a.toml".as_ref())?;
/// assert_eq!(drawn.from, Distribution::Uniform(-1.0, 1.0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Toml`] with line and column of the value that does not match.
pub fn toml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    let wrong = |start: usize, message: String| {
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Error::Toml { path: path.into(), line, column, message }
    };
    let parsed = DeTable::parse(text).map_err(|e| {
        let span = e.span().unwrap_or_default();
        wrong(span.start, said_of(e.message(), text.get(span.clone()).unwrap_or_default()))
    })?;
    let table = DeValue::Table(parsed.into_inner());
    T::deserialize(Value::new(&table, 0..0))
        .map_err(|e| wrong(e.span.as_ref().map_or(0, |span| span.start), e.to_string()))
}

/// Message of the TOML parser for a piece of text, reworded where it is unclear.
fn said_of(message: &str, piece: &str) -> String {
    if message == "duplicate key" {
        return format!("'{piece}' is given twice; keep one of them");
    }
    if message.contains("recurs") {
        return "lists, tables or dotted keys are nested too deeply here; use fewer levels".into();
    }
    message.replace('`', "'")
}

/// Reads the text of a file.
///
/// # Errors
/// A file that cannot be read, or that is not UTF-8.
pub(crate) fn text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let wide = [&[0xff, 0xfe], &[0xfe, 0xff]].iter().any(|mark| bytes.starts_with(*mark));
    String::from_utf8(bytes).map_err(|e| {
        let found = if wide {
            "it is a text in UTF-16".into()
        } else {
            format!("it is not a text: byte {} is not UTF-8", e.utf8_error().valid_up_to() + 1)
        };
        Error::file(path, format!("{found}; save it as UTF-8"))
    })
}

/// The value of type `T` with this name and default settings.
///
/// # Errors
/// An unknown name, or one that needs settings; `what` names its purpose.
pub fn name<T: DeserializeOwned>(name: &str, what: &str) -> Result<T> {
    let value = DeValue::String(name.into());
    T::deserialize(Value::new(&value, 0..0)).map_err(|e| Error::invalid(what, e.to_string()))
}

/// Message for an unknown key or kind.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    const MANY: usize = 12;
    let known: Vec<&str> = known.iter().copied().filter(|name| !name.starts_with('$')).collect();
    let hint = crate::error::near::hint(name, known.iter().copied());
    let said = match what {
        "" => format!("{} is not known", mistake::quoted(name)),
        what => format!("there is no {what} '{name}' here"),
    };
    match known.len() {
        0 => format!("{said}; it has none"),
        n if n > MANY && !hint.is_empty() => said + &hint,
        _ => format!("{said}{hint}; there is: {}", known.join(", ")),
    }
}

/// Names joined as in a sentence.
fn listed(names: &[&str], quote: &str, last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("{quote}{n}{quote}")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((one, [])) => one.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}
