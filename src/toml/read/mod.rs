//! Reading of TOML files: one layer between the text and all that describes networks, trainings and data.
//!
//! Types say what they hold by serde's derived code alone; how it is written, this layer decides for all of them:
//!
//! - A struct is a table. It is never a list by position. Where one of its fields is also called `$short`, the value of that
//!   field may stand for the table.
//! - An enum is its name, `"lif"`; a table with one entry, `{ lif = { tau-rc = 0.02 } }`; or a table with its `kind` among
//!   the settings, `{ kind = "lif", tau-rc = 0.02 }`. A variant that is also called `$tag:format` has `format` in place of
//!   `kind`, one that is also called `$none` is meant by a table of settings without a kind.
//! - An enum whose variants are called `$number`, `$whole`, `$text`, `$list`, `$table` or `$name` (a text or a table) is read
//!   by what stands there. `$word:a,b` is one of these texts. After a colon, others may say in words what it means.
//! - A number may be written without a point, and one value may stand for a list of one.
//!
//! Errors speak of keys, tables, lists, texts and numbers, with line and column of the value.

// A file has one mistake at most, so that its size is of no weight.
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

/// Reads `text` as a table of this type; `path` is for messages.
///
/// ```
/// use nengo_wgpu::network::Distribution;
/// use nengo_wgpu::toml::read;
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
/// [`Error::Toml`] with line and column of what does not fit.
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

/// What the parser of TOML says of a piece of text, in our words where its own do not tell enough.
fn said_of(message: &str, piece: &str) -> String {
    if message == "duplicate key" {
        return format!("'{piece}' is given twice; keep one of them");
    }
    if message.contains("recurs") {
        return "lists, tables or keys with dots lie too deep within each other here; write it with fewer levels".into();
    }
    message.replace('`', "'")
}

/// The text of a file.
///
/// # Errors
/// A file that cannot be read, or that is no text in UTF-8.
pub(crate) fn text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let wide = [&[0xff, 0xfe], &[0xfe, 0xff]].iter().any(|mark| bytes.starts_with(*mark));
    String::from_utf8(bytes).map_err(|e| {
        let found = if wide {
            "it is a text in UTF-16".into()
        } else {
            format!("it is no text: byte {} is not UTF-8", e.utf8_error().valid_up_to() + 1)
        };
        Error::file(path, format!("{found}; save it as UTF-8"))
    })
}

/// The value of this type that is called so, with all settings as they are by default.
///
/// # Errors
/// A name that is not known, or that says too little alone; `what` is what it was given for.
pub fn name<T: DeserializeOwned>(name: &str, what: &str) -> Result<T> {
    let value = DeValue::String(name.into());
    T::deserialize(Value::new(&value, 0..0)).map_err(|e| Error::invalid(what, e.to_string()))
}

/// What to say of an unknown key or kind.
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

/// Names as a sentence lists them.
fn listed(names: &[&str], quote: &str, last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("{quote}{n}{quote}")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((one, [])) => one.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}
