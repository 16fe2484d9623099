//! Deserializers of table entries, list items and enum variants.

use std::ops::Range;

use ::toml::Spanned;
use ::toml::de::{DeArray, DeTable, DeValue};
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::toml::read::mistake::{Mistake, Step};
use crate::toml::read::value::{SHORT, Value};

/// An entry: key, span of the key, value, span of the value.
type Entry<'a, 'i> = (&'a str, Range<usize>, &'a DeValue<'i>, Range<usize>);

/// Entries of a table, in the order of the file.
pub(super) struct Entries<'a, 'i> {
    pub list: Vec<Entry<'a, 'i>>,
    next: usize,
    short: Option<Value<'a, 'i>>,
}

impl<'a, 'i> Entries<'a, 'i> {
    /// All entries except one key.
    pub fn new(table: &'a DeTable<'i>, without: Option<&str>) -> Self {
        let entries = table.iter().filter(|(key, _)| Some(key.get_ref().as_ref()) != without);
        let mut list: Vec<Entry> = entries
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value.get_ref(), value.span()))
            .collect();
        list.sort_by_key(|(_, at, ..)| at.start);
        Self { list, next: 0, short: None }
    }

    pub fn none() -> Self {
        Self { list: Vec::new(), next: 0, short: None }
    }

    /// The one entry that a value without a table stands for.
    pub fn short(value: Value<'a, 'i>) -> Self {
        Self { short: Some(value), ..Self::none() }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        if self.short.is_some() {
            return seed.deserialize(SHORT.into_deserializer()).map(Some);
        }
        let Some((key, at, ..)) = self.list.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, Mistake> = (*key).into_deserializer();
        seed.deserialize(key).map(Some).map_err(|e| e.at(at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        if let Some(value) = self.short.take() {
            return seed.deserialize(value);
        }
        let (key, _, value, span) = &self.list[self.next];
        self.next += 1;
        let found = seed.deserialize(Value::new(value, span.clone()));
        found.map_err(|e| e.at(span).below(Step::Key((*key).to_string())))
    }
}

/// Items of a list.
pub(super) struct Items<'a, 'i> {
    list: std::iter::Enumerate<std::slice::Iter<'a, Spanned<DeValue<'i>>>>,
}

impl<'a, 'i> Items<'a, 'i> {
    pub fn new(list: &'a DeArray<'i>) -> Self {
        Self { list: list.iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some((i, item)) = self.list.next() else { return Ok(None) };
        let found = seed.deserialize(Value::new(item.get_ref(), item.span()));
        found.map(Some).map_err(|e| e.at(&item.span()).below(Step::Place(i)))
    }
}

/// A single value instead of a list.
pub(super) struct One<'a, 'i>(pub Option<Value<'a, 'i>>);

impl<'de> SeqAccess<'de> for One<'_, '_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        self.0.take().map(|value| seed.deserialize(value)).transpose()
    }
}

/// A variant and its settings.
pub(super) struct Variant<'a, 'i> {
    name: &'a str,
    settings: Value<'a, 'i>,
}

impl<'a, 'i> Variant<'a, 'i> {
    pub fn new(name: &'a str, settings: Value<'a, 'i>) -> Self {
        Self { name, settings }
    }
}

impl<'de, 'a, 'i> EnumAccess<'de> for Variant<'a, 'i> {
    type Error = Mistake;
    type Variant = Value<'a, 'i>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Value<'a, 'i>), Mistake> {
        let name: StrDeserializer<'_, Mistake> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.settings))
    }
}

impl<'de> VariantAccess<'de> for Value<'_, '_> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        self.nothing()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        let place = self.clone();
        place.at(seed.deserialize(self))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_struct("", keys, visitor)
    }
}
