//! What may be written in a file, as the types that read it ask for it.

use std::collections::BTreeMap;

/// The keys and kinds of a file format. It is not written by hand but asked of the readers, so that it is always what they
/// read.
///
/// ```
/// use nengo_wgpu::toml::NetworkSpec;
/// use nengo_wgpu::toml::read::{Kind, Schema};
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
    /// Keys of each table, by its name here.
    pub tables: BTreeMap<String, Vec<Key>>,
    /// Variants of each choice, by its name here.
    pub choices: BTreeMap<String, Vec<Variant>>,
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// As it is written. The key `$short` is another name of the one that may stand for the whole table.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What it holds.
    pub kind: Kind,
}

/// A variant of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// As it is written, or with `$` the shape that is read as this variant, as [`read`](crate::toml::read) says.
    pub name: &'static str,
    /// Its settings: [`Kind::Nothing`] where it has none.
    pub kind: Kind,
}

/// What may stand for a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Kind {
    /// No settings.
    #[default]
    Nothing,
    /// `true` or `false`.
    Flag,
    /// A whole number, or one from 0 on.
    Whole {
        /// Whether it may be below 0.
        signed: bool,
    },
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list, or one value in its place.
    List(Box<Kind>),
    /// A list of this many values.
    Tuple(Vec<Kind>),
    /// A table with any keys.
    Map(Box<Kind>),
    /// A table of [`Schema::tables`].
    Table(String),
    /// A choice of [`Schema::choices`].
    Choice(String),
}

impl Schema {
    /// Keys of a table; none of other kinds.
    pub fn keys(&self, kind: &Kind) -> &[Key] {
        match kind {
            Kind::Table(name) => self.tables.get(name).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// Variants of a choice; none of other kinds.
    pub fn variants(&self, kind: &Kind) -> &[Variant] {
        match kind {
            Kind::Choice(name) => self.choices.get(name).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }
}
