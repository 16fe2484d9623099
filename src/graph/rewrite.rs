//! Answers of operators to the planner's passes, which rewrite a graph without knowing the operators' types.

use std::sync::Arc;

use crate::expr::Expr;
use crate::graph::{Identity, Operator, Type};

/// An elementwise expression of an operator, by its place in the operator.
#[derive(Clone, Copy, Debug)]
pub enum Fusion<'a> {
    /// The operator is this expression of its inputs.
    Elementwise(&'a Expr),
    /// The expression of the inputs is evaluated for each element, then the elements are summed.
    Prologue(&'a Expr),
    /// The expression is evaluated for each element of the result before it is stored. Its input 0 is that element; the
    /// others are the operator's inputs from number `first` on.
    Epilogue {
        /// The expression; `None` stores the elements as they are.
        expr: Option<&'a Expr>,
        /// Number of the first input that the expression reads.
        first: usize,
        /// Most inputs that the expression can read.
        most: usize,
    },
}

/// An operator with an elementwise expression.
pub trait Fusible {
    /// The expression and its place.
    fn fusion(&self) -> Fusion<'_>;

    /// The same operator with another expression, for an output of type `ty`.
    fn with_expression(&self, expr: Expr, ty: Type) -> Arc<dyn Operator>;
}

/// Ways in which alike operators run as one, on their columns side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// Column by column.
    Columns {
        /// The output may have more columns than any input, so that an input of one column can be read by all.
        widens: bool,
    },
    /// As a product in groups, each with its rows of the weights (input 1) and its columns of input 0.
    Product {
        /// Groups of one operator.
        groups: usize,
    },
}

/// An operator that can run as one with others of its kind.
pub trait Batchable {
    /// The way in which they run as one.
    fn batching(&self) -> Batching;

    /// Equal for operators that can run as one if they read alike inputs.
    fn key(&self) -> Identity;

    /// The operator that does the work of `members`, of which this one is the first, for an output of type `ty`. Of
    /// products, `fan_out` at a time read the same columns.
    fn batched(&self, members: &[&dyn Operator], ty: Type, fan_out: usize) -> Arc<dyn Operator>;
}

/// Neighbouring columns of an operator's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Number of the input.
    pub input: usize,
    /// First column.
    pub start: usize,
    /// Number of columns.
    pub len: usize,
}

/// A product that reads its weights in another layout.
#[derive(Clone, Debug)]
pub struct Relaid {
    /// The product; its input 1 is the copy.
    pub product: Arc<dyn Operator>,
    /// Makes the copy from the weights.
    pub copy: Arc<dyn Operator>,
}
