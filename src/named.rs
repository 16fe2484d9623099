//! What a file may write in more than one way: enums as a name alone or as a table with settings, and one text or several.

use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqAccessDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// No settings of a name: an empty table where there could be some, and nothing where there are none.
pub(crate) struct Nothing<'a, E>(&'a str, PhantomData<E>);

type Table<'a, E> = MapDeserializer<'a, std::iter::Once<(&'a str, Nothing<'a, E>)>, E>;

/// A name as a table whose one entry has no settings.
pub(crate) fn name_alone<E: Error>(name: &str) -> MapAccessDeserializer<Table<'_, E>> {
    MapAccessDeserializer::new(MapDeserializer::new(std::iter::once((name, Nothing(name, PhantomData)))))
}

impl<E: Error> Nothing<'_, E> {
    fn lacks(&self, what: &str, written: &str) -> E {
        let Self(name, _) = self;
        E::custom(format!("'{name}' alone does not say its {what}; write {{ {name} = {written} }}"))
    }
}

impl<'de, E: Error> Deserializer<'de> for Nothing<'_, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    fn deserialize_f32<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(self.lacks("number", "NUMBER"))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(self.lacks("number", "NUMBER"))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(self.lacks("numbers", "[…]"))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, E> {
        Err(self.lacks("numbers", "[…]"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf option unit_struct
        newtype_struct tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, E: Error> IntoDeserializer<'de, E> for Nothing<'_, E> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A table of which the first key was read already.
pub(crate) struct Begun<A> {
    key: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Begun<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.key.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// What `read` makes of a table with one entry, as an enum is one: others would not be read, and without a word.
pub(crate) fn only_entry<'de, A: MapAccess<'de>, T>(
    mut map: A,
    expecting: &str,
    read: impl FnOnce(MapAccessDeserializer<Begun<&mut A>>) -> Result<T, A::Error>,
) -> Result<T, A::Error> {
    let Some(key) = map.next_key()? else {
        return Err(A::Error::custom(format!("it says nothing, but must be {expecting}")));
    };
    let value = read(MapAccessDeserializer::new(Begun { key: Some(key), map: &mut map }))?;
    match map.next_key::<String>()? {
        None => Ok(value),
        Some(key) => Err(A::Error::custom(format!("'{key}' stands beside the one entry that this may have"))),
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

/// Makes a type with `#[serde(remote = "Self")]` readable as a text or a table, of which `$text` and `$table` make it. With `also
/// Serialize` it is written as the derived code does.
macro_rules! text_or_table {
    ($type:ident also Serialize, $($rest:tt)*) => {
        crate::named::text_or_table!($type, $($rest)*);

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $type::serialize(self, to)
            }
        }
    };
    ($type:ident, $expecting:literal, $text:expr, $table:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $text(text)
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        $table(map)
                    }
                }
                from.deserialize_any(Visitor)
            }
        }
    };
}
pub(crate) use text_or_table;

/// [`text_or_table`] for an enum: a table with its one entry, or `"name"` where all settings have defaults.
macro_rules! name_or_table {
    ($type:ident $(also $serialize:ident)?, $expecting:literal) => {
        crate::named::text_or_table!(
            $type $(also $serialize)?,
            $expecting,
            |name| $type::deserialize(crate::named::name_alone(name)),
            |map| crate::named::only_entry(map, $expecting, |entry| $type::deserialize(entry))
        );
    };
}
pub(crate) use name_or_table;

/// [`text_or_table`] for a table with a `kind`, or `"kind"` where all settings have defaults.
macro_rules! kind_or_table {
    ($type:ident $(also $serialize:ident)?, $expecting:literal) => {
        crate::named::text_or_table!(
            $type $(also $serialize)?,
            $expecting,
            |name| $type::deserialize(crate::named::kind_alone(name)),
            |map| $type::deserialize(serde::de::value::MapAccessDeserializer::new(map))
        );
    };
}
pub(crate) use kind_or_table;

/// A name as a table whose only entry is that kind.
pub(crate) fn kind_alone<E: Error>(
    name: &str,
) -> MapDeserializer<'_, std::iter::Once<(&'static str, &str)>, E> {
    MapDeserializer::new(std::iter::once(("kind", name)))
}
