//! Derives the schema of types: a deserializer that records the requests of their readers.
//!
//! A type is read repeatedly. A struct first gets no keys, until it stops reporting missing ones; those are the required keys.
//! Then it gets all keys. An enum gets the first variant that is not fully known yet.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::error::{Error, Result};
use crate::toml::read::mistake::{Mistake, What};
use crate::toml::read::schema::{Key, Kind, Schema, Variant};
use crate::toml::read::value::SHORT;

/// Knowledge of the types so far.
#[derive(Default)]
struct Known {
    schema: Tables,
    /// Tables with all required keys known, and variants that are fully known.
    done: BTreeSet<(String, &'static str)>,
    /// Tables and choices being read.
    open: Vec<String>,
    /// Counter that grows with each discovery.
    news: usize,
}

#[derive(Default)]
struct Tables {
    tables: BTreeMap<String, Vec<Key>>,
    choices: BTreeMap<String, Vec<Variant>>,
}

impl Schema {
    /// Derives the schema of the files that type `T` is read from.
    ///
    /// # Errors
    /// A reader that rejects a plain value of the kind that it requests.
    pub fn of<T: DeserializeOwned>() -> Result<Self> {
        let known = RefCell::new(Known::default());
        let root = RefCell::new(Kind::default());
        loop {
            let before = known.borrow().news;
            let read = T::deserialize(Probe { known: &known, kind: &root });
            known.borrow_mut().open.clear();
            if known.borrow().news > before {
                continue;
            }
            read.map_err(|e| Error::invalid("the schema of the file format", e.to_string()))?;
            let Tables { tables, choices } = known.into_inner().schema;
            return Ok(Schema { root: root.into_inner(), tables, choices });
        }
    }
}

/// Key for a type: its name and keys, since two types may have equal names.
fn id(name: &str, keys: &'static [&'static str]) -> String {
    format!("{name}({})", keys.join(","))
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    known: &'a RefCell<Known>,
    /// Destination of the recorded kind.
    kind: &'a RefCell<Kind>,
}

type Found<T> = Result<T, Mistake>;

impl Probe<'_> {
    fn note(&self, kind: Kind) {
        *self.kind.borrow_mut() = kind;
    }

    /// Supplies the keys of a table.
    fn table<'de, V: Visitor<'de>>(
        self,
        name: &str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        let id = id(name, keys);
        self.note(Kind::Table(id.clone()));
        let (phase, given) = {
            let mut known = self.known.borrow_mut();
            if known.open.contains(&id) {
                return Err(What::Within.into());
            }
            known.open.push(id.clone());
            let done = |phase: &'static str| known.done.contains(&(id.clone(), phase));
            let phase = match keys.contains(&SHORT) {
                _ if !done(REQUIRED) => REQUIRED,
                true if !done(SHORT) => SHORT,
                _ => ALL,
            };
            let table = known.schema.tables.entry(id.clone()).or_default();
            let named = keys.iter().copied().filter(|key| !key.starts_with('$'));
            let given: Vec<&'static str> = match phase {
                REQUIRED => table.iter().map(|key| key.name).collect(),
                // A duplicate key makes the reader report its name.
                SHORT => named.chain([SHORT]).collect(),
                _ => named.collect(),
            };
            (phase, given)
        };
        let kinds: Vec<RefCell<Kind>> = given.iter().map(|_| RefCell::default()).collect();
        let found = visitor.visit_map(Keys { known: self.known, given: &given, kinds: &kinds, next: 0 });
        let mut known = self.known.borrow_mut();
        known.open.pop();
        let table = known.schema.tables.entry(id.clone()).or_default();
        for (name, kind) in given.iter().zip(&kinds).filter(|(_, kind)| *kind.borrow() != Kind::Nothing) {
            match table.iter_mut().find(|key| key.name == *name) {
                Some(key) => key.kind = kind.borrow().clone(),
                None if *name != SHORT => {
                    table.push(Key { name, required: false, kind: kind.borrow().clone() });
                }
                None => {}
            }
        }
        match &found {
            Err(Mistake { what: What::Missing(name), .. }) if phase == REQUIRED => {
                table.push(Key { name, required: true, kind: Kind::Nothing });
                known.news += 1;
            }
            Err(Mistake { what: What::Twice(name), .. }) if phase == SHORT => {
                let kind =
                    table.iter().find(|key| key.name == *name).map_or(Kind::Nothing, |key| key.kind.clone());
                table.push(Key { name: SHORT, required: false, kind });
                known.done.insert((id, SHORT));
                known.news += 1;
            }
            Ok(_) if phase == REQUIRED => {
                known.done.insert((id, REQUIRED));
                known.news += 1;
            }
            _ => {}
        }
        found
    }
}

const REQUIRED: &str = "required";
const ALL: &str = "all";

macro_rules! plain {
    ($($method:ident $visit:ident $value:expr, $kind:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
            self.note($kind);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Mistake;

    plain! {
        deserialize_bool visit_bool false, Kind::Flag;
        deserialize_i8 visit_i64 1, Kind::Whole { signed: true };
        deserialize_i16 visit_i64 1, Kind::Whole { signed: true };
        deserialize_i32 visit_i64 1, Kind::Whole { signed: true };
        deserialize_i64 visit_i64 1, Kind::Whole { signed: true };
        deserialize_u8 visit_u64 1, Kind::Whole { signed: false };
        deserialize_u16 visit_u64 1, Kind::Whole { signed: false };
        deserialize_u32 visit_u64 1, Kind::Whole { signed: false };
        deserialize_u64 visit_u64 1, Kind::Whole { signed: false };
        deserialize_f32 visit_f64 0.5, Kind::Number;
        deserialize_f64 visit_f64 0.5, Kind::Number;
        deserialize_char visit_char '1', Kind::Text;
        deserialize_str visit_str "1", Kind::Text;
        deserialize_string visit_str "1", Kind::Text;
        deserialize_identifier visit_str "1", Kind::Text;
        deserialize_any visit_str "1", Kind::Text;
        deserialize_bytes visit_str "1", Kind::Text;
        deserialize_byte_buf visit_str "1", Kind::Text;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Found<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Found<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        let kinds = [RefCell::default()];
        let found = visitor.visit_seq(Items { known: self.known, kinds: &kinds, next: 0 });
        let [kind] = kinds;
        self.note(Kind::List(Box::new(kind.into_inner())));
        found
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Found<V::Value> {
        let kinds: Vec<RefCell<Kind>> = (0..len).map(|_| RefCell::default()).collect();
        let found = visitor.visit_seq(Items { known: self.known, kinds: &kinds, next: 0 });
        self.note(Kind::Tuple(kinds.into_iter().map(RefCell::into_inner).collect()));
        found
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Found<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        let kinds = [RefCell::default()];
        let found = visitor.visit_map(Keys { known: self.known, given: &["key"], kinds: &kinds, next: 0 });
        let [kind] = kinds;
        self.note(Kind::Map(Box::new(kind.into_inner())));
        found
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        self.table(name, keys, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        let id = id(name, variants);
        self.note(Kind::Choice(id.clone()));
        let (variant, before) = {
            let mut known = self.known.borrow_mut();
            let open = known.open.contains(&id);
            known.open.push(id.clone());
            // Inside itself it takes the first variant, which must not be recursive.
            let next =
                variants.iter().copied().find(|name| !open && !known.done.contains(&(id.clone(), *name)));
            (next.unwrap_or(variants[0]), known.news)
        };
        let kind = RefCell::default();
        let found =
            visitor.visit_enum(Chosen { name: variant, probe: Probe { known: self.known, kind: &kind } });
        let mut known = self.known.borrow_mut();
        known.open.pop();
        let kind = kind.into_inner();
        // A reader may reject a plain text or number as invalid, but has still requested its kind.
        let plain = matches!(kind, Kind::Text | Kind::Number | Kind::Whole { .. } | Kind::Flag);
        if known.news == before && (found.is_ok() || plain) && known.done.insert((id.clone(), variant)) {
            known.schema.choices.entry(id).or_default().push(Variant { name: variant, kind });
            known.news += 1;
        }
        found
    }
}

/// Keys supplied to a table.
struct Keys<'a> {
    known: &'a RefCell<Known>,
    given: &'a [&'static str],
    kinds: &'a [RefCell<Kind>],
    next: usize,
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Found<Option<K::Value>> {
        let Some(key) = self.given.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, Mistake> = (*key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Found<V::Value> {
        let (known, kind) = (self.known, &self.kinds[self.next]);
        self.next += 1;
        seed.deserialize(Probe { known, kind })
    }
}

/// Items supplied to a list.
struct Items<'a> {
    known: &'a RefCell<Known>,
    kinds: &'a [RefCell<Kind>],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Found<Option<T::Value>> {
        let Some(kind) = self.kinds.get(self.next) else { return Ok(None) };
        self.next += 1;
        match seed.deserialize(Probe { known: self.known, kind }) {
            // A recursive list of tables may be empty.
            Err(Mistake { what: What::Within, .. }) => Ok(None),
            found => found.map(Some),
        }
    }
}

/// A selected variant.
struct Chosen<'a> {
    name: &'static str,
    probe: Probe<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Found<(V::Value, Self)> {
        let name: StrDeserializer<'_, Mistake> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Mistake;

    fn unit_variant(self) -> Found<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Found<T::Value> {
        seed.deserialize(self.probe)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Found<V::Value> {
        self.probe.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, keys: &'static [&'static str], visitor: V) -> Found<V::Value> {
        self.probe.table(self.name, keys, visitor)
    }
}
