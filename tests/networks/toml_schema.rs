//! Each key of the schema with each kind of wrong value: the message is in terms of the format, at the place of the value.

use std::cell::RefCell;
use std::panic::catch_unwind;

use nengo_wgpu::Error;
use nengo_wgpu::internals::read::{Key, Kind, Schema, Variant};
use nengo_wgpu::toml::NetworkSpec;

/// Values of every type, one of which each key does not take.
const SLIPS: [&str; 14] = [
    "\"nonsense\"",
    "\"\"",
    "3",
    "-3",
    "2.5",
    "true",
    "[]",
    "[1.0, 2.0, 3.0]",
    "[[1.0, 2.0], [3.0, 4.0]]",
    "[\"a\"]",
    "{}",
    "{ nonsense = 1 }",
    "{ kind = 3 }",
    "1979-05-27",
];

/// Words of Rust and of the parser, which no message may hold.
const FORBIDDEN: [&str; 18] = [
    "invalid type",
    "expected",
    "variant",
    "newtype",
    "struct",
    "a sequence",
    "tuple",
    "missing field",
    "unknown field",
    "`",
    "usize",
    "u64",
    "i64",
    "f64",
    "f32",
    "floating point",
    "Spec",
    "$",
];

struct Walk<'a> {
    schema: &'a Schema,
    tried: RefCell<usize>,
    open: RefCell<Vec<String>>,
}

/// Text around the place of a value, and the key that it belongs to.
#[derive(Clone)]
struct Around {
    before: String,
    after: String,
    key: String,
}

impl Around {
    fn with(&self, value: &str) -> String {
        format!("{}{value}{}\n", self.before, self.after)
    }

    fn inner(&self, before: &str, after: &str, key: &str) -> Self {
        let key = if key.is_empty() { &self.key } else { key };
        Self {
            before: format!("{}{before}", self.before),
            after: format!("{after}{}", self.after),
            key: key.into(),
        }
    }
}

fn shape(name: &str) -> Option<&str> {
    name.starts_with('$').then(|| name.split(':').next().unwrap())
}

fn parse(text: &str) -> Result<NetworkSpec, Error> {
    catch_unwind(|| NetworkSpec::parse(text, "net.toml")).unwrap_or_else(|_| panic!("a panic for {text}"))
}

impl Walk<'_> {
    /// A right value, as short as it can be.
    fn sample(&self, kind: &Kind) -> String {
        match kind {
            Kind::Nothing => "{}".into(),
            Kind::Flag => "true".into(),
            Kind::Whole { .. } => "1".into(),
            Kind::Number => "0.5".into(),
            Kind::Text => "\"1\"".into(),
            Kind::List(of) => format!("[{}]", self.sample(of)),
            Kind::Tuple(of) => {
                format!("[{}]", of.iter().map(|k| self.sample(k)).collect::<Vec<_>>().join(", "))
            }
            Kind::Map(of) => format!("{{ some = {} }}", self.sample(of)),
            Kind::Table(_) => format!("{{ {} }}", self.required(self.schema.keys(kind), "").join(", ")),
            Kind::Choice(_) => {
                let variants = self.schema.variants(kind);
                let simple = variants.iter().find(|v| v.kind == Kind::Nothing && shape(v.name).is_none());
                let named = variants.iter().find(|v| shape(v.name).is_none());
                self.variant(simple.or(named).unwrap_or(&variants[0]))
            }
        }
    }

    fn variant(&self, Variant { name, kind }: &Variant) -> String {
        match (shape(name), kind) {
            (Some("$word"), _) => format!("\"{}\"", name.split_once(':').unwrap().1),
            (Some("$table"), Kind::Choice(_)) => {
                let variant = self.schema.variants(kind).iter().find(|v| shape(v.name).is_none()).unwrap();
                format!("{{ {} = {} }}", variant.name, self.sample(&variant.kind))
            }
            (Some(_), kind) => self.sample(kind),
            (None, Kind::Nothing) => format!("\"{name}\""),
            (None, kind) => format!("{{ {name} = {} }}", self.sample(kind)),
        }
    }

    /// The keys that a table needs as well as the tried one.
    fn required(&self, keys: &[Key], but: &str) -> Vec<String> {
        let needed = keys.iter().filter(|key| key.required && key.name != but);
        needed.map(|key| format!("{} = {}", key.name, self.sample(&key.kind))).collect()
    }

    /// Whether a value of this type may be right; texts and numbers may still be refused for what they say.
    fn may_be(&self, kind: &Kind, value: &toml::Value) -> bool {
        use toml::Value as V;
        match (kind, value) {
            (Kind::Nothing, V::Table(table)) => table.is_empty(),
            (Kind::Flag, V::Boolean(_))
            | (Kind::Number, V::Integer(_) | V::Float(_))
            | (Kind::Text, V::String(_)) => true,
            (Kind::Whole { signed }, V::Integer(n)) => *signed || *n >= 0,
            (Kind::List(of), V::Array(list)) => list.iter().all(|x| self.may_be(of, x)),
            (Kind::List(of), one) => self.may_be(of, one),
            (Kind::Tuple(of), V::Array(list)) => {
                list.len() == of.len() && of.iter().zip(list).all(|(k, x)| self.may_be(k, x))
            }
            (Kind::Map(of), V::Table(table)) => table.values().all(|x| self.may_be(of, x)),
            (Kind::Table(_), V::Table(table)) => {
                let keys = self.schema.keys(kind);
                keys.iter().all(|key| !key.required || table.contains_key(key.name))
                    && table
                        .iter()
                        .all(|(name, x)| keys.iter().any(|key| key.name == name && self.may_be(&key.kind, x)))
            }
            (Kind::Table(_), other) => {
                self.schema.keys(kind).iter().any(|key| key.name == "$short" && self.may_be(&key.kind, other))
            }
            (Kind::Choice(_), value) => {
                self.schema.variants(kind).iter().any(|v| match (shape(v.name), value) {
                    (Some("$word"), V::String(text)) => v.name.ends_with(text.as_str()),
                    (Some("$word"), _) => false,
                    (Some("$list"), value) if !value.is_array() => false,
                    (Some("$table"), value) if !value.is_table() => false,
                    (Some("$text"), value) if !value.is_str() => false,
                    (Some("$tag"), _) => false,
                    (Some(_), value) => self.may_be(&v.kind, value),
                    (None, V::String(text)) => text == v.name,
                    (None, V::Table(table)) => {
                        table.len() == 1 && table.get(v.name).is_some_and(|x| self.may_be(&v.kind, x))
                    }
                    _ => false,
                })
            }
            _ => false,
        }
    }

    /// Tries a wrong value: the message must hold its place and its key.
    fn slip(&self, around: &Around, value: &str, wrong: bool) {
        let text = around.with(value);
        *self.tried.borrow_mut() += 1;
        match parse(&text) {
            Ok(_) => assert!(!wrong, "nothing is wrong with {text}"),
            Err(Error::Toml { line, column, message, .. }) => {
                for word in FORBIDDEN {
                    assert!(!message.contains(word), "{text} says '{word}': {message}");
                }
                let start = around.before.chars().count() + 1;
                let there = line == 1 && (start..=start + value.chars().count()).contains(&column);
                assert!(there || !wrong, "{text} is wrong in column {start}, not {line}:{column}: {message}");
                assert!(
                    message.contains(&around.key) || !wrong,
                    "{text} does not name '{}': {message}",
                    around.key
                );
            }
            Err(other) => assert!(!wrong, "{text}: {other}"),
        }
    }

    fn walk(&self, kind: &Kind, around: &Around) {
        for value in SLIPS {
            let parsed: toml::Table = toml::from_str(&format!("it = {value}")).unwrap();
            self.slip(around, value, !self.may_be(kind, &parsed["it"]));
        }
        let right = around.with(&self.sample(kind));
        if let (Err(error @ Error::Toml { .. }), false) =
            (parse(&right), matches!(kind, Kind::Text | Kind::Number))
        {
            panic!("{right} is right, but: {error}");
        }
        let name = match kind {
            Kind::Table(name) | Kind::Choice(name) => name.clone(),
            _ => String::new(),
        };
        if self.open.borrow().iter().any(|open| *open == name && !name.is_empty()) {
            return;
        }
        self.open.borrow_mut().push(name);
        match kind {
            Kind::List(of) => self.walk(of, &around.inner("[", "]", "")),
            Kind::Tuple(of) => {
                for i in 0..of.len() {
                    let all: Vec<String> = of.iter().map(|k| self.sample(k)).collect();
                    let before: String = all[..i].iter().map(|x| format!("{x}, ")).collect();
                    let after: String = all[i + 1..].iter().map(|x| format!(", {x}")).collect();
                    self.walk(&of[i], &around.inner(&format!("[{before}"), &format!("{after}]"), ""));
                }
            }
            Kind::Map(of) => self.walk(of, &around.inner("{ some = ", " }", "some")),
            Kind::Table(_) => self.table(self.schema.keys(kind), around),
            Kind::Choice(_) => self.choice(self.schema.variants(kind), around),
            _ => {}
        }
        self.open.borrow_mut().pop();
    }

    fn table(&self, keys: &[Key], around: &Around) {
        for key in keys.iter().filter(|key| !key.name.starts_with('$')) {
            let others: String = self.required(keys, key.name).iter().map(|x| format!("{x}, ")).collect();
            self.walk(&key.kind, &around.inner(&format!("{{ {others}{} = ", key.name), " }", key.name));
            if key.required {
                let rest = self.required(keys, key.name).join(", ");
                let around = Around { key: key.name.into(), ..around.clone() };
                self.slip(&around, &format!("{{ {rest} }}"), true);
            }
            // A letter too many.
            let misspelt = format!("{{ {others}{}z = 1 }}", key.name);
            let around = Around { key: format!("'{}z'", key.name), ..around.clone() };
            self.slip(&around, &misspelt, true);
        }
    }

    fn choice(&self, variants: &[Variant], around: &Around) {
        for variant in variants {
            match shape(variant.name) {
                None if variant.kind == Kind::Nothing => {
                    let around = around.inner(&format!("{{ {} = ", variant.name), " }", variant.name);
                    self.slip(&around, "1", true);
                    self.slip(&around, "\"x\"", true);
                }
                None => {
                    let around = around.inner(&format!("{{ {} = ", variant.name), " }", variant.name);
                    self.walk(&variant.kind, &around);
                }
                // The schema has no more to say of shapes: what stands there was tried as a whole.
                Some("$name" | "$any" | "$table" | "$list" | "$none") => self.inside(&variant.kind, around),
                Some(_) => {}
            }
            if shape(variant.name).is_none() {
                self.slip(around, &format!("\"{}z\"", variant.name), true);
                self.slip(around, &format!("{{ {}z = 1 }}", variant.name), true);
                self.slip(around, &format!("\"{}\"", variant.name), false);
            }
        }
    }

    /// The parts of a value, not itself.
    fn inside(&self, kind: &Kind, around: &Around) {
        match kind {
            Kind::Choice(_) => self.choice(self.schema.variants(kind), around),
            Kind::List(of) => self.walk(of, &around.inner("[", "]", "")),
            Kind::Table(_) => self.table(self.schema.keys(kind), around),
            _ => {}
        }
    }
}

#[test]
fn each_wrong_value_is_reported_at_its_place_in_terms_of_the_format() {
    let schema = Schema::of::<NetworkSpec>().unwrap();
    let walk = Walk { schema: &schema, tried: RefCell::default(), open: RefCell::default() };
    for key in schema.keys(&schema.root) {
        let around =
            Around { before: format!("{} = ", key.name), after: String::new(), key: key.name.into() };
        walk.walk(&key.kind, &around);
    }
    assert!(*walk.tried.borrow() > 10_000, "{} tried", walk.tried.borrow());
}

#[test]
fn the_schema_knows_keys_kinds_and_required_keys() {
    let schema = Schema::of::<NetworkSpec>().unwrap();
    let root = schema.keys(&schema.root);
    let key = |keys: &[Key], name: &str| keys.iter().find(|key| key.name == name).unwrap().clone();
    assert!(matches!(key(root, "dt").kind, Kind::Number));
    let Kind::List(ensemble) = key(root, "ensemble").kind else { panic!("{:?}", key(root, "ensemble")) };
    let keys = schema.keys(&ensemble);
    assert!(key(keys, "n-neurons").required && !key(keys, "radius").required);
    let types = schema.variants(&key(keys, "neuron-type").kind).to_vec();
    let lif = types.iter().find(|variant| variant.name == "lif").unwrap();
    assert!(schema.keys(&lif.kind).iter().any(|key| key.name == "tau-rc"));
    let Kind::List(network) = key(root, "network").kind else { panic!("{:?}", key(root, "network")) };
    assert!(matches!(&key(schema.keys(&network), "network").kind, Kind::List(_)), "a network in a network");
}
