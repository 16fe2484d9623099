//! Schema of the file format, derived from the types that read it.

use std::collections::BTreeMap;

/// Keys and kinds of a file format. It is derived from the readers, so it always agrees with them.
///
/// ```
/// use nengo_wgpu::internals::read::{Kind, Schema};
/// use nengo_wgpu::toml::NetworkSpec;
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let schema = Schema::of::<NetworkSpec>()?;
/// let keys = schema.keys(&schema.root);
/// let seed = keys.iter().find(|key| key.name == "seed").unwrap();
/// assert!(!seed.required && matches!(seed.kind, Kind::Whole { .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Schema {
    /// The file itself.
    pub root: Kind,
    /// Keys of each table, by the table's name in this schema.
    pub tables: BTreeMap<String, Vec<Key>>,
    /// Variants of each choice, by the choice's name in this schema.
    pub choices: BTreeMap<String, Vec<Variant>>,
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Name as written in a file. The key `$short` is an alias of the key whose value may replace the table.
    pub name: &'static str,
    /// True if the key is required.
    pub required: bool,
    /// Kind of its value.
    pub kind: Kind,
}

/// A variant of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// As it is written, or with `$` the shape that is read as this variant, as `read` says.
    pub name: &'static str,
    /// Its settings; [`Kind::Nothing`] if it has none.
    pub kind: Kind,
}

/// Kind of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Kind {
    /// No settings.
    #[default]
    Nothing,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole {
        /// True if it may be negative.
        signed: bool,
    },
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list, or a single value instead of it.
    List(Box<Kind>),
    /// A list of this many values.
    Tuple(Vec<Kind>),
    /// A table with arbitrary keys.
    Map(Box<Kind>),
    /// The table of this name in [`Schema::tables`].
    Table(String),
    /// The choice of this name in [`Schema::choices`].
    Choice(String),
}

impl Schema {
    /// Keys of a table; empty for other kinds.
    pub fn keys(&self, kind: &Kind) -> &[Key] {
        match kind {
            Kind::Table(name) => self.tables.get(name).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// Variants of a choice; empty for other kinds.
    pub fn variants(&self, kind: &Kind) -> &[Variant] {
        match kind {
            Kind::Choice(name) => self.choices.get(name).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }
}
