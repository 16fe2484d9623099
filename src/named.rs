//! Enums that a file writes as a name alone or as a table with settings.

/// Makes an enum with `#[serde(remote = "Self")]` readable as `"name"`, which is short for `{ name = {} }`.
macro_rules! name_or_table {
    ($type:ident, $expecting:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use serde::de::value::{MapAccessDeserializer, MapDeserializer};

                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$type, E> {
                        let nothing = std::collections::BTreeMap::<String, String>::new();
                        let table = MapDeserializer::new(std::iter::once((name, nothing)));
                        $type::deserialize(MapAccessDeserializer::new(table))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        $type::deserialize(MapAccessDeserializer::new(map))
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
