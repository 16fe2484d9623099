//! Functions of time, as closures or text.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::function::expression::{Expression, Variables};

/// A function of time in seconds, evaluated on the host ahead of a run. It must return the same values for the same time: it is
/// shared by all examples, and may be called again for a time.
pub type TimeFunction = Arc<dyn Fn(f64) -> Vec<f32> + Send + Sync>;

/// A function of time as text, one expression of the time `t` in seconds per value; see
/// [`Node::parse`](crate::network::Node::parse). A file may also hold a list of texts, whose values are concatenated.
#[derive(Clone, Deserialize)]
#[serde(from = "Vec<Text>")]
pub struct TimeExpressions(Arc<[Expression]>);

impl TimeExpressions {
    /// Parses expressions separated by semicolons.
    ///
    /// # Errors
    /// A syntax error with its column, or an unknown name with the valid names.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = Expression::parse_all(text, Variables::Time)
            .map_err(|problem| Error::invalid(format!("the function '{text}'"), problem))?;
        Ok(Self(parts.into()))
    }

    /// Number of values.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The values as a function of time.
    pub(crate) fn function(&self) -> TimeFunction {
        let parts = self.0.clone();
        Arc::new(move |t| parts.iter().map(|p| p.value(|_| t, |number| number) as f32).collect())
    }
}

impl fmt::Debug for TimeExpressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeExpressions({})", self.size())
    }
}

/// An element of a list of texts.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Text(TimeExpressions);

impl TryFrom<String> for Text {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        TimeExpressions::parse(&text).map(Self)
    }
}

impl From<Vec<Text>> for TimeExpressions {
    fn from(texts: Vec<Text>) -> Self {
        Self(texts.iter().flat_map(|text| text.0.0.iter().cloned()).collect())
    }
}
