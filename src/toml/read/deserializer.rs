//! Deserializer from a TOML value to the requested type.

use ::toml::de::DeValue;
use serde::de::{Deserializer, Error as _, Visitor};

use crate::toml::read::access::{Entries, Items, One, Variant};
use crate::toml::read::mistake::{Mistake, Step, What, Words};
use crate::toml::read::value::{Content, Found, SHORT, Value};
use crate::toml::read::{listed, unknown};

/// Default key that selects the variant of an enum in a table.
const KIND: &str = "kind";

impl<'a, 'i> Value<'a, 'i> {
    /// Its entries, if it is a table.
    fn entries(&self) -> Option<Entries<'a, 'i>> {
        match self.content {
            Content::Of(DeValue::Table(table)) => Some(Entries::new(table, None)),
            Content::Rest(table, without) => Some(Entries::new(table, Some(without))),
            Content::Alone(_) => Some(Entries::none()),
            Content::Of(_) => None,
        }
    }

    /// Selects the variant by the shape of the value.
    fn of_shape<'de, V: Visitor<'de>>(self, shapes: &'static [&'static str], visitor: V) -> Found<V::Value> {
        let split = |name: &'static str| name.split_once(':').unwrap_or((name, ""));
        let fits = |shape: &str, rest: &str| match (shape, self.content) {
            ("$word", Content::Of(DeValue::String(text))) => rest.split(',').any(|word| word == text),
            ("$number", Content::Of(DeValue::Integer(_) | DeValue::Float(_)))
            | ("$whole", Content::Of(DeValue::Integer(_)))
            | ("$list", Content::Of(DeValue::Array(_)))
            | ("$text" | "$name", Content::Of(DeValue::String(_)))
            | ("$table" | "$name", Content::Of(DeValue::Table(_)) | Content::Rest(..))
            | ("$any", _) => true,
            _ => false,
        };
        let fitting = shapes.iter().find(|name| fits(split(name).0, split(name).1));
        let words = |name: &'static str| match split(name) {
            ("$word", list) => listed(&list.split(',').collect::<Vec<_>>(), "\"", "or"),
            ("$number", "") => "a number".into(),
            ("$whole", "") => "a whole number".into(),
            ("$list", "") => "a list".into(),
            ("$text", "") => "a text".into(),
            ("$name", "") => "a name or a table".into(),
            ("$table", "") => "a table".into(),
            ("$any", "") => String::new(),
            (_, said) => said.to_string(),
        };
        let Some(fitting) = fitting else {
            let all: Vec<String> =
                shapes.iter().copied().map(words).filter(|said| !said.is_empty()).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            return self.wrong(listed(&all, "", "or"), "such values");
        };
        let span = self.span.clone();
        let settings = match (self.text(), split(fitting).0) {
            (Some(word), "$word") => Self { content: Content::Alone(word), span: self.span },
            _ => self,
        };
        let found = visitor.visit_enum(Variant::new(fitting, settings));
        // Add the other shapes to the error of the chosen one.
        let others = shapes.iter().copied().filter(|name| name != fitting).map(words);
        found.map_err(|e| others.fold(e, |e, other| e.or(&span, &other)).at(&span))
    }

    /// Selects the variant by name: alone, as the only key of a table, or as the kind among its settings.
    fn of_kind<'de, V: Visitor<'de>>(self, all: &'static [&'static str], visitor: V) -> Found<V::Value> {
        let shown: Vec<&'static str> = all.iter().copied().filter(|name| !name.starts_with('$')).collect();
        let tag = all.iter().find_map(|name| name.strip_prefix("$tag:")).unwrap_or(KIND);
        let wanted = Words::new(format!("one of {}", listed(&shown, "\"", "and")), "such values");
        let wanted =
            if let [only] = shown[..] { Words::new(format!("\"{only}\""), "such values") } else { wanted };
        if let Some(name) = self.text() {
            return match shown.contains(&name) {
                true => {
                    let settings = Self { content: Content::Alone(name), span: self.span.clone() };
                    self.at(visitor.visit_enum(Variant::new(name, settings)))
                }
                false => self.wrong_with(wanted, crate::error::near::hint(name, shown)),
            };
        }
        let (Content::Of(DeValue::Table(table)), Some(entries)) = (self.content, self.entries()) else {
            let shape = match self.content {
                Content::Of(DeValue::Integer(_) | DeValue::Float(_)) => "$number",
                Content::Of(DeValue::Array(_)) => "$list",
                _ => "",
            };
            return match all.contains(&shape) {
                true => self.at(visitor.visit_enum(Variant::new(shape, self.clone()))),
                false => self.wrong_with(wanted, String::new()),
            };
        };
        if let Some((key, kind)) = table.get_key_value(tag) {
            let value = Value::new(kind.get_ref(), kind.span());
            let named = value.text().filter(|name| shown.contains(name));
            let Some(name) = named else {
                let hint =
                    value.text().map_or_else(String::new, |name| crate::error::near::hint(name, shown));
                return value.wrong_with(wanted, hint).map_err(|e| e.below(Step::Key(tag.into())));
            };
            let settings = Self { content: Content::Rest(table, key.get_ref()), span: self.span.clone() };
            return self.at(visitor.visit_enum(Variant::new(name, settings)));
        }
        let Some(&(name, _, value, ref span)) = entries.list.iter().find(|(name, ..)| shown.contains(name))
        else {
            let meant = entries
                .list
                .first()
                .and_then(|(name, ..)| crate::error::near::nearest(name, shown.iter().copied()));
            if all.contains(&"$none") && meant.is_none() {
                return self.at(visitor.visit_enum(Variant::new("$none", self.clone())));
            }
            return match entries.list.first() {
                _ if tag != KIND && meant.is_none() => {
                    Err(Mistake::new(format!("the key '{tag}' is missing; it must be {}", wanted.one))
                        .at(&self.span))
                }
                Some((name, at, ..)) => Err(Mistake::new(unknown("kind", name, &shown)).at(at)),
                None => self.wrong_with(wanted, String::new()),
            };
        };
        if let Some((other, at, ..)) = entries.list.iter().find(|(other, ..)| *other != name) {
            let problem = format!("unexpected key '{other}' next to '{name}': exactly one entry is allowed");
            return Err(Mistake::new(problem).at(at));
        }
        let settings = Self { content: Content::Of(value), span: span.clone() };
        let found = visitor.visit_enum(Variant::new(name, settings));
        found.map_err(|e| e.at(span).below(Step::Key(name.into())))
    }

    /// Expects no settings.
    pub fn nothing(&self) -> Found<()> {
        match self.entries() {
            Some(entries) => match entries.list.first() {
                None => Ok(()),
                Some((key, at, ..)) => Err(Mistake::new(unknown("key", key, &[])).at(at)),
            },
            None => self.wrong("an empty table, as it has no settings", "empty tables"),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty, $words:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
            match self.integer().map(<$type>::try_from) {
                Some(Ok(n)) => self.at(visitor.$visit(n)),
                _ => self.wrong(format!("a whole number{}", $words), format!("whole numbers{}", $words)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = Mistake;

    whole_numbers! {
        deserialize_i8 visit_i8 i8, " from -128 to 127";
        deserialize_i16 visit_i16 i16, " from -32768 to 32767";
        deserialize_i32 visit_i32 i32, "";
        deserialize_i64 visit_i64 i64, "";
        deserialize_i128 visit_i128 i128, "";
        deserialize_u8 visit_u8 u8, " from 0 to 255";
        deserialize_u16 visit_u16 u16, " from 0 to 65535";
        deserialize_u32 visit_u32 u32, " from 0 on";
        deserialize_u64 visit_u64 u64, " from 0 on";
        deserialize_u128 visit_u128 u128, " from 0 on";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        match self.content {
            Content::Of(DeValue::Boolean(x)) => self.at(visitor.visit_bool(*x)),
            _ => self.wrong("true or false", "true and false"),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        match self.number() {
            Some(x) => self.at(visitor.visit_f64(x)),
            None => self.wrong("a number", "numbers"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        match self.text() {
            Some(text) => self.at(visitor.visit_str(text)),
            None => self.wrong("a text in quotes", "texts in quotes"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Found<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.nothing()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Found<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        visitor.visit_unit()
    }

    /// A list, or a single value instead of it.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        if let Content::Of(DeValue::Array(list)) = self.content {
            return self.at(visitor.visit_seq(Items::new(list)));
        }
        if let Content::Alone(_) = self.content {
            return self.wrong("a list", "lists");
        }
        let span = self.span.clone();
        visitor.visit_seq(One(Some(self))).map_err(|mut e| {
            if e.is_of(&span)
                && let What::Wanted(wanted, ..) = &mut e.what
            {
                *wanted = Words::new(format!("{}, or a list of {}", wanted.one, wanted.many), "such lists");
            }
            e.at(&span)
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Found<V::Value> {
        match self.content {
            Content::Of(DeValue::Array(list)) if list.len() == len => {
                self.at(visitor.visit_seq(Items::new(list)))
            }
            Content::Of(DeValue::Array(list)) => {
                let wanted = Words::new(format!("a list of {len} values"), "such lists");
                Err(Mistake::from(What::Wanted(wanted, format!("a list of {}", list.len()), String::new()))
                    .at(&self.span))
            }
            _ => self.wrong(format!("a list of {len} values"), "such lists"),
        }
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
        match self.entries() {
            Some(entries) => self.at(visitor.visit_map(entries)),
            None => self.wrong("a table", "tables"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        let Some(entries) = self.entries() else {
            let shown: Vec<&str> = keys.iter().copied().filter(|key| !key.starts_with('$')).collect();
            let words = match shown.len() {
                1 => format!("a table with the key {}", shown[0]),
                2..=12 => format!("a table with the keys {}", listed(&shown, "", "and")),
                _ => "a table".into(),
            };
            if !keys.contains(&SHORT) {
                return self.wrong(words, "such tables");
            }
            let found = visitor.visit_map(Entries::short(self.clone()));
            return found.map_err(|e| e.or(&self.span, &words).at(&self.span));
        };
        if let Some((key, at, ..)) =
            entries.list.iter().find(|(key, ..)| key.starts_with('$') || !keys.contains(key))
        {
            return Err(Mistake::new(unknown("key", key, keys)).at(at));
        }
        let found = visitor.visit_map(entries);
        self.at(found.map_err(|e| match (self.content, &e.what) {
            (Content::Alone(name), What::Missing(key)) => Mistake::new(format!(
                "\"{name}\" alone lacks its {key}; write {{ {name} = {{ {key} = … }} }}"
            )),
            _ => e,
        }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        const SHAPES: [&str; 8] = ["$number", "$whole", "$text", "$list", "$table", "$name", "$any", "$word"];
        let first = variants.first().map_or("", |name| name.split(':').next().unwrap_or_default());
        match SHAPES.contains(&first) {
            true => self.of_shape(variants, visitor),
            false => self.of_kind(variants, visitor),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        match self.content {
            Content::Of(DeValue::String(_)) => self.deserialize_str(visitor),
            Content::Of(DeValue::Integer(_)) => self.deserialize_i64(visitor),
            Content::Of(DeValue::Float(_)) => self.deserialize_f64(visitor),
            Content::Of(DeValue::Boolean(_)) => self.deserialize_bool(visitor),
            Content::Of(DeValue::Array(_)) => self.deserialize_seq(visitor),
            Content::Of(DeValue::Datetime(_)) => {
                Err(Mistake::custom("dates are not supported").at(&self.span))
            }
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_str(visitor)
    }
}
