//! Functions of time: of the user, or as text.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::function::expression::{Expression, Variables};

/// A function of time, in seconds, evaluated on the host ahead of a run. It gives the same values whenever it is asked for the
/// same time: what it gives is one for all examples, and some times may be asked for again.
pub type TimeFunction = Arc<dyn Fn(f64) -> Vec<f32> + Send + Sync>;

/// What a node gives over time, as text: an expression of the time `t` in seconds for each value; see
/// [`Node::parse`](crate::network::Node::parse). In a file also a list of texts, whose values follow each other.
#[derive(Clone, Deserialize)]
#[serde(from = "Vec<Text>")]
pub struct TimeExpressions(Arc<[Expression]>);

impl TimeExpressions {
    /// Expressions between semicolons.
    ///
    /// # Errors
    /// What is wrong and in which column, with the names there are.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = Expression::parse_all(text, Variables::Time)
            .map_err(|problem| Error::invalid(format!("the function '{text}'"), problem))?;
        Ok(Self(parts.into()))
    }

    /// How many values they give.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Their values at a time.
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

/// One of the texts of a list.
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
