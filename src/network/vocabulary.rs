//! Semantic pointers: named vectors and their algebra (Plate 2003, Eliasmith 2013).

use ndarray::{Array1, Array2};

use crate::error::{Error, Result};
use crate::network::{Distribution, seed_of};

/// Named vectors of one size and length 1, mostly dissimilar to each other.
///
/// ```
/// use nengo_wgpu::network::{Vocabulary, bind, similarity, unbind};
///
/// # fn main() -> nengo_wgpu::Result<()> {
/// let mut words = Vocabulary::new(128, 0);
/// for name in ["CIRCLE", "SQUARE", "RED", "BLUE"] {
///     words.add(name)?;
/// }
/// let scene = words.parse("CIRCLE * RED + SQUARE * BLUE")?;
/// // What is red? The noisy answer is most like CIRCLE.
/// let answer = unbind(&scene, &words.parse("RED")?);
/// assert_eq!(words.most_similar(&answer)?.0, "CIRCLE");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    dimensions: usize,
    seed: u64,
    /// Highest similarity of a new vector to existing ones.
    max_similarity: f64,
    vectors: Vec<(String, Array1<f64>)>,
}

/// Number of candidates drawn to find a dissimilar vector.
const TRIES: usize = 100;

impl Vocabulary {
    /// An empty vocabulary. Each vector depends on the seed, its name and the vectors before it.
    pub fn new(dimensions: usize, seed: u64) -> Self {
        Self { dimensions, seed, max_similarity: 0.1, vectors: Vec::new() }
    }

    /// Draws a vector of length 1 with similarity of at most 0.1 to the others. If 100 candidates do not suffice, takes the
    /// least similar.
    ///
    /// # Errors
    /// A name that is taken, or does not consist of a letter followed by letters, digits and `_`.
    pub fn add(&mut self, name: &str) -> Result<&Array1<f64>> {
        let what = format!("the vector '{name}'");
        let drawn = Distribution::surface();
        let all = drawn.sample(&what, TRIES, self.dimensions, seed_of(self.seed, name))?;
        let worst = |v: &Array1<f64>| self.vectors.iter().map(|(_, w)| v.dot(w)).fold(-1.0, f64::max);
        let mut best: Option<(f64, Array1<f64>)> = None;
        for row in all.rows() {
            let row = row.to_owned();
            let similarity = worst(&row);
            if best.as_ref().is_none_or(|(s, _)| similarity < *s) {
                best = Some((similarity, row));
            }
            if similarity <= self.max_similarity {
                break;
            }
        }
        let vector = best.map(|(_, v)| v).unwrap_or_default();
        self.add_vector(name, vector)
    }

    /// Adds a given vector.
    ///
    /// # Errors
    /// As [`Vocabulary::add`], or a vector of another size.
    pub fn add_vector(&mut self, name: &str, vector: Array1<f64>) -> Result<&Array1<f64>> {
        let mut chars = name.chars();
        let first = chars.next().is_some_and(char::is_alphabetic);
        if !first || chars.any(|c| !(c.is_alphanumeric() || c == '_')) {
            let problem = "it must be a letter followed by letters, digits and '_'";
            return Err(Error::invalid(format!("the name '{name}' of a vector"), problem));
        }
        if self.vectors.iter().any(|(n, _)| n == name) {
            return Err(Error::DuplicateName { name: name.into() });
        }
        if vector.len() != self.dimensions {
            let left = format!("the vector '{name}'");
            return Err(Error::shape(left, vector.len(), "its vocabulary", self.dimensions));
        }
        self.vectors.push((name.into(), vector));
        Ok(&self.vectors[self.vectors.len() - 1].1)
    }

    /// Number of dimensions of each vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Names in order of insertion.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.vectors.iter().map(|(name, _)| name.as_str())
    }

    /// Vectors in order of insertion, names × dimensions, as [`crate::network::library::AssociativeMemory`] takes them.
    pub fn matrix(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.vectors.len(), self.dimensions), |(i, j)| self.vectors[i].1[j])
    }

    /// Looks up a vector by name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the valid names.
    pub fn get(&self, name: &str) -> Result<&Array1<f64>> {
        let found = self.vectors.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        found.ok_or_else(|| Error::unknown("vector", name, self.names()))
    }

    /// The name of the most similar vector, and its similarity.
    ///
    /// # Errors
    /// A vector of another size, or an empty vocabulary.
    pub fn most_similar(&self, vector: &Array1<f64>) -> Result<(&str, f64)> {
        if vector.len() != self.dimensions {
            return Err(Error::shape("the vector", vector.len(), "the vocabulary", self.dimensions));
        }
        let all = self.vectors.iter().map(|(name, v)| (name.as_str(), similarity(vector, v)));
        all.max_by(|a, b| a.1.total_cmp(&b.1))
            .ok_or_else(|| Error::invalid("the vocabulary", "it has no vectors; add some"))
    }

    /// Evaluates an expression of names: `A * B` binds, `A + B` and `A - B` superpose, `~A` is the involution, which unbinds;
    /// numbers scale (`0.5 * A`), and parentheses group.
    ///
    /// # Errors
    /// An unknown name, or a syntax error with its column.
    pub fn parse(&self, text: &str) -> Result<Array1<f64>> {
        let chars: Vec<char> = text.chars().collect();
        let mut parser = Parser { vocabulary: self, chars, at: 0, depth: 0 };
        let wrong = |problem: String| Error::invalid(format!("the pointer '{text}'"), problem);
        let value = parser.sum().map_err(wrong)?;
        if let Some(c) = parser.peek() {
            return Err(wrong(format!("unexpected '{c}' in column {}", parser.at + 1)));
        }
        match value {
            Value::Vector(vector) => Ok(vector),
            Value::Number(_) => Err(wrong("it is a number, not a vector".into())),
        }
    }
}

/// Binds two vectors of equal size by circular convolution. The result is dissimilar to both.
pub fn bind(a: &Array1<f64>, b: &Array1<f64>) -> Array1<f64> {
    let n = a.len().min(b.len());
    Array1::from_shape_fn(n, |i| (0..n).map(|j| a[j] * b[(i + n - j) % n]).sum())
}

/// The involution of a vector: element `i` moves to `-i`. Binding with it approximately inverts a binding.
pub fn involution(a: &Array1<f64>) -> Array1<f64> {
    let n = a.len();
    Array1::from_shape_fn(n, |i| a[(n - i) % n])
}

/// Unbinds `b` from `a`: binds `a` with the involution of `b`. The result is noisy.
pub fn unbind(a: &Array1<f64>, b: &Array1<f64>) -> Array1<f64> {
    bind(a, &involution(b))
}

/// The sum of two vectors, which is similar to both.
pub fn superpose(a: &Array1<f64>, b: &Array1<f64>) -> Array1<f64> {
    a + b
}

/// Cosine of the angle between two vectors; 0 if one of them is zero.
pub fn similarity(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    let lengths = (a.dot(a) * b.dot(b)).sqrt();
    if lengths > 0.0 { a.dot(b) / lengths } else { 0.0 }
}

#[derive(Clone)]
enum Value {
    Number(f64),
    Vector(Array1<f64>),
}

struct Parser<'a> {
    vocabulary: &'a Vocabulary,
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

/// Deepest nesting of parentheses and signs; the parser is recursive.
const MAX_DEPTH: usize = 64;

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn sum(&mut self) -> Result<Value, String> {
        let mut left = self.product()?;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            let column = self.at + 1;
            self.at += 1;
            let factor = if sign == '+' { 1.0 } else { -1.0 };
            left = match (left, self.product()?) {
                (Value::Number(a), Value::Number(b)) => Value::Number(a + factor * b),
                (Value::Vector(a), Value::Vector(b)) => Value::Vector(a + factor * b),
                _ => return Err(format!("'{sign}' in column {column} joins a number and a vector")),
            };
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Value, String> {
        let mut left = self.atom()?;
        while self.peek() == Some('*') {
            self.at += 1;
            left = match (left, self.atom()?) {
                (Value::Number(a), Value::Number(b)) => Value::Number(a * b),
                (Value::Vector(a), Value::Vector(b)) => Value::Vector(bind(&a, &b)),
                (Value::Number(x), Value::Vector(v)) | (Value::Vector(v), Value::Number(x)) => {
                    Value::Vector(v * x)
                }
            };
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "it is nested too deeply in column {}; at most {MAX_DEPTH} levels",
                self.at + 1
            ));
        }
        let start = self.peek();
        let from = self.at;
        let taken = |chars: &[char], from: usize, part: fn(char) -> bool| {
            from + chars[from..].iter().take_while(|c| part(**c)).count()
        };
        let value = match start {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                if self.peek() != Some(')') {
                    return Err(format!("')' is missing in column {}", self.at + 1));
                }
                self.at += 1;
                inner
            }
            Some('-') => {
                self.at += 1;
                match self.atom()? {
                    Value::Number(x) => Value::Number(-x),
                    Value::Vector(v) => Value::Vector(-v),
                }
            }
            Some('~') => {
                self.at += 1;
                match self.atom()? {
                    Value::Vector(v) => Value::Vector(involution(&v)),
                    Value::Number(_) => return Err(format!("'~' in column {} is for vectors", from + 1)),
                }
            }
            Some(c) if c.is_ascii_digit() || c == '.' => {
                self.at = taken(&self.chars, from, |c| c.is_ascii_digit() || c == '.');
                let text: String = self.chars[from..self.at].iter().collect();
                let number = text.parse();
                Value::Number(number.map_err(|_| format!("'{text}' in column {} is not a number", from + 1))?)
            }
            Some(c) if c.is_alphabetic() => {
                self.at = taken(&self.chars, from, |c| c.is_alphanumeric() || c == '_');
                let name: String = self.chars[from..self.at].iter().collect();
                let known = self.vocabulary.get(&name).map_err(|e| format!("{e} (column {})", from + 1))?;
                Value::Vector(known.clone())
            }
            Some(c) => return Err(format!("'{c}' in column {} is not a name or number", from + 1)),
            None => return Err(format!("a name is missing in column {}", from + 1)),
        };
        self.depth -= 1;
        Ok(value)
    }
}
