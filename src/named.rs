//! What a file may write in more than one way: enums as a name alone or as a table with settings, and one text or several.

use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// No settings: an empty table where there could be some, and nothing where there are none.
pub(crate) struct Nothing<E>(PhantomData<E>);

type Table<'a, E> = MapDeserializer<'a, std::iter::Once<(&'a str, Nothing<E>)>, E>;

/// A name as a table whose one entry has no settings.
pub(crate) fn name_alone<E: Error>(name: &str) -> MapAccessDeserializer<Table<'_, E>> {
    MapAccessDeserializer::new(MapDeserializer::new(std::iter::once((name, Nothing(PhantomData)))))
}

impl<'de, E: Error> Deserializer<'de> for Nothing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, E: Error> IntoDeserializer<'de, E> for Nothing<E> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Values that a file writes as one text or as a list of texts. Unlike serde's untagged enums it tells what is wrong in one.
pub(crate) fn one_or_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
    expecting: &'static str,
) -> Result<Vec<T>, D::Error> {
    struct Any<T>(&'static str, PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![T::deserialize(text.into_deserializer())?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    from.deserialize_any(Any(expecting, PhantomData))
}

/// What `read` makes of a table with one entry, as an enum is one: others would not be read, and without a word.
pub(crate) fn only_entry<'de, A: MapAccess<'de>, T>(
    mut map: A,
    read: impl FnOnce(MapAccessDeserializer<&mut A>) -> Result<T, A::Error>,
) -> Result<T, A::Error> {
    let value = read(MapAccessDeserializer::new(&mut map))?;
    match map.next_key::<String>()? {
        None => Ok(value),
        Some(key) => Err(A::Error::custom(format!("'{key}' stands beside the one entry that this may have"))),
    }
}

/// Makes an enum with `#[serde(remote = "Self")]` readable as `"name"` where all its settings have defaults.
macro_rules! name_or_table {
    ($type:ident, $expecting:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$type, E> {
                        $type::deserialize(crate::named::name_alone(name))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        crate::named::only_entry(map, |entry| $type::deserialize(entry))
                    }
                }
                from.deserialize_any(Visitor)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $type::serialize(self, to)
            }
        }
    };
}
pub(crate) use name_or_table;
