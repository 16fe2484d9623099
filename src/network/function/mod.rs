//! Functions that connections apply.

mod expression;
mod signal;
mod time;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result, guarded};
use expression::{Expression, Variables};
pub use time::{TimeExpressions, TimeFunction};

/// A function that a connection applies. For an ensemble it is decoded approximately; for other objects it is computed
/// exactly; see [`crate::network::Connection::function`].
///
/// It is made from a closure, or from text with [`Function::parse`]. Its output size is found by calling it on zeros.
#[derive(Clone, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Function {
    /// Source text, if any.
    text: Option<String>,
    /// Fewest dimensions that it accepts.
    least: usize,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Named(Named),
    /// One expression per value.
    Expressions(Arc<[Expression]>),
    Closure(Arc<Call>),
}

type Call = dyn Fn(&[f64]) -> Vec<f64> + Send + Sync;

/// Named functions, of each dimension or of all dimensions together.
#[derive(Clone, Copy, PartialEq)]
enum Named {
    Identity,
    Square,
    Abs,
    Sin,
    Cos,
    Zero,
    Product,
    Sum,
    Norm,
}

const NAMED: [(&str, Named); 9] = [
    ("identity", Named::Identity),
    ("square", Named::Square),
    ("abs", Named::Abs),
    ("sin", Named::Sin),
    ("cos", Named::Cos),
    ("zero", Named::Zero),
    ("product", Named::Product),
    ("sum", Named::Sum),
    ("norm", Named::Norm),
];

impl Named {
    fn values(self, x: &[f64]) -> Vec<f64> {
        let each = |f: fn(f64) -> f64| x.iter().map(|&x| f(x)).collect();
        match self {
            Named::Identity => x.to_vec(),
            Named::Square => each(|x| x * x),
            Named::Abs => each(f64::abs),
            Named::Sin => each(f64::sin),
            Named::Cos => each(f64::cos),
            Named::Zero => each(|_| 0.0),
            Named::Product => vec![x.iter().product()],
            Named::Sum => vec![x.iter().sum()],
            Named::Norm => vec![x.iter().map(|x| x * x).sum::<f64>().sqrt()],
        }
    }
}

impl Function {
    /// A function of a point in an ensemble's space, or of a row of another signal. It must return the same number of values for
    /// each point.
    ///
    /// It must depend on the point alone: it is shared by all examples, called in any order, and called for points that no run
    /// meets. For a function with state, see [`Node::callback`](crate::network::Node::callback).
    pub fn new(f: impl Fn(&[f64]) -> Vec<f64> + Send + Sync + 'static) -> Self {
        Self { text: None, least: 0, body: Body::Closure(Arc::new(f)) }
    }

    /// Parses a function name, or one expression per value.
    ///
    /// Names are `identity`, `square`, `abs`, `sin`, `cos` and `zero`, applied to each dimension, and `product`, `sum` and
    /// `norm` of all dimensions. Expressions are separated by semicolons: `"x0 * x1"`, `"x0 + x1; max(x0 - 0.2, 0)"`.
    ///
    /// Expressions contain the dimensions `x0`, `x1`, … (or `x` if there is only one), numbers, `pi`, `+ - * / ^` and
    /// parentheses. Functions are `abs sqrt exp log sin cos tan tanh sign floor ceil` of one number and `min max` of two.
    /// Comparisons `< <= > >= == !=` give 1 or 0, and `where(c, a, b)` gives `a` where `c` is not zero and `b` elsewhere.
    ///
    /// Results are the same on every device. NaN is neither less than, equal to nor greater than any number; `min` and `max` keep
    /// their first argument if either is NaN. Comparisons have no gradient; `where`, `min` and `max` pass the gradient of the
    /// selected argument. If the derivative of the other argument is infinite, as for `sqrt(x)` at 0, the gradient is NaN.
    ///
    /// # Errors
    /// A syntax error with its column, or an unknown name with the valid names.
    pub fn parse(text: &str) -> Result<Self> {
        let all = |least, body| Self { text: Some(text.to_string()), least, body };
        if let Some((_, f)) = NAMED.iter().find(|(name, _)| *name == text.trim()) {
            return Ok(all(1, Body::Named(*f)));
        }
        let parts = Expression::parse_all(text, Variables::Dimensions)
            .map_err(|problem| Error::invalid(format!("the function '{text}'"), problem))?;
        let least = parts.iter().map(Expression::inputs).max().unwrap_or(0);
        Ok(all(least, Body::Expressions(parts.into())))
    }

    /// Number of values for points of `size` dimensions.
    ///
    /// # Errors
    /// A function that panics, returns no values, or uses dimensions beyond `size`; `what` names its owner.
    pub fn size_out(&self, what: &str, size: usize) -> Result<usize> {
        if self.least > size {
            let problem = format!("{self:?} takes x{}, but there are {size} dimensions", self.least - 1);
            return Err(Error::invalid(what, problem));
        }
        match self.values(what, &vec![0.0; size])?.len() {
            0 => Err(Error::invalid(what, "its function gives no values; it must give at least 1")),
            n => Ok(n),
        }
    }

    /// The source text; `None` for a closure.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Values at a point; a panic in a closure becomes an error of `what`.
    pub(crate) fn values(&self, what: &str, x: &[f64]) -> Result<Vec<f64>> {
        match &self.body {
            Body::Named(f) => Ok(f.values(x)),
            Body::Expressions(parts) => {
                Ok(parts.iter().map(|p| p.value(|i| x[i], |number| number)).collect())
            }
            Body::Closure(f) => guarded(&format!("the function of {what}"), || f(x)),
        }
    }
}

impl<F: Fn(&[f64]) -> Vec<f64> + Send + Sync + 'static> From<F> for Function {
    fn from(f: F) -> Self {
        Self::new(f)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "'{text}'"),
            None => write!(f, "a closure"),
        }
    }
}

/// Functions of the same text are equal. A closure equals only its clones.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Some(a), Some(b)) => a == b,
            (None, None) => match (&self.body, &other.body) {
                (Body::Closure(a), Body::Closure(b)) => Arc::ptr_eq(a, b),
                _ => false,
            },
            _ => false,
        }
    }
}

impl TryFrom<String> for Function {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, x: &[f64]) -> Vec<f64> {
        Function::parse(text).unwrap().values("f", x).unwrap()
    }

    #[test]
    fn expressions_follow_the_usual_order() {
        assert_eq!(value("1 + 2 * x0 ^ 2 ^ 0.5 - -x1 / 4", &[1.0, 8.0]), [5.0]);
        assert_eq!(value("-x^2", &[3.0]), [-9.0]);
        assert_eq!(value("2^-1; max(x0 - 0.2, 0)", &[0.5]), [0.5, 0.3]);
        assert_eq!(value("8 / 4 / 2 - 3 - 1", &[]), [-3.0]);
        assert_eq!(value("1.5e1*x0+2E-1", &[2.0]), [30.2]);
        assert_eq!(value("sin(pi*x)", &[0.5]), [1.0]);
        assert_eq!(value("product", &[2.0, 3.0, 4.0]), [24.0]);
        assert_eq!(value("square", &[2.0, 3.0]), [4.0, 9.0]);
        assert_eq!(value("x0 + 1 > 2 * x1; (x0 > 1) + 1", &[2.0, 1.5]), [0.0, 2.0]);
        assert_eq!(value("where(x0 == x1, x0 - 1, 5); where(x0 > x1, 1, 0)", &[2.0, 2.0]), [1.0, 0.0]);
        assert_eq!(value("x <= 2; x >= 3; x != 2; x < 3", &[2.0]), [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn nan_is_neither_less_nor_equal_nor_more() {
        assert_eq!(
            value("x < 1; x <= 1; x > 1; x >= 1; x == x; x != x", &[f64::NAN]),
            [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        );
        assert!(value("max(x, 1)", &[f64::NAN])[0].is_nan());
    }

    #[test]
    fn a_mistake_is_shown_with_its_column() {
        let problem = |text: &str| Function::parse(text).unwrap_err().to_string();
        let unknown = problem("x0 * foo(x1)");
        assert!(unknown.contains("'foo' in column 6") && unknown.contains("sqrt"), "{unknown}");
        assert!(problem("x0; y").contains("'y' in column 5"), "{}", problem("x0; y"));
        assert!(problem("(x0 + 1").contains("column 8"), "{}", problem("(x0 + 1"));
        assert!(problem("x0 x1").contains("column 4"), "{}", problem("x0 x1"));
        assert!(problem("max(x0)").contains("column 7"), "{}", problem("max(x0)"));
        let chained = problem("0 < x < 1");
        assert!(
            chained.contains("second comparison in column 7") && chained.contains("(0 < x) * (x < 1)"),
            "{chained}"
        );
        assert!(problem("x = 1").contains("'=' in column 3"), "{}", problem("x = 1"));
        assert!(problem("squrt(x)").contains("did you mean 'sqrt'?"), "{}", problem("squrt(x)"));
        assert!(problem("").contains("column 1"));
        assert!(problem("x0 # 2").contains("column 4"));
        assert!(problem("x99999999999999999999").contains("column 1"));
        let deep = "(".repeat(10_000);
        assert!(problem(&deep).contains("deep"), "{}", problem(&deep));
    }

    #[test]
    fn a_dimension_that_there_is_not_is_an_error() {
        let text = Function::parse("x0*x2").unwrap().size_out("connection 'c'", 2).unwrap_err().to_string();
        assert!(text.contains("takes x2, but there are 2 dimensions"), "{text}");
    }
}
