//! Sums of many values that are mostly columns of one value.

use std::collections::HashMap;
use std::sync::Arc;

use crate::expr::Expr;
use crate::graph::{Node, NodeId, ValueId};
use crate::op::{Map, Pattern, Sparse};
use crate::plan::pass::batch_ops::emit::Emit;
use crate::plan::pass::batch_ops::pieces::Piece;

impl Emit<'_> {
    /// A sum of many values. Those that are columns of one value are added up at once.
    pub(super) fn wide_sum(&mut self, n: NodeId) {
        let Node { inputs, output, owner, .. } = self.old.node(n).clone();
        let ty = self.old.ty(output);
        let mut terms: Vec<ValueId> = Vec::new();
        let mut parts: Vec<(ValueId, Vec<(usize, usize)>)> = Vec::new();
        let mut places: HashMap<ValueId, usize> = HashMap::new();
        for v in inputs {
            match self.form(v)[..] {
                [Piece { value, start, len }] if len == ty.cols && self.graph.ty(value).rows == 1 => {
                    let entries = (0..len).map(|col| (col, start + col));
                    let place = *places.entry(value).or_insert(parts.len());
                    if place == parts.len() {
                        parts.push((value, Vec::new()));
                    }
                    parts[place].1.extend(entries);
                }
                _ => terms.push(self.value(self.form(v), &owner)),
            }
        }
        for (value, entries) in parts {
            let from = self.graph.ty(value);
            // The columns come from the value's own pieces, so they lie within it.
            let pattern = Pattern::new(ty.cols, from.cols, &entries).ok().filter(|_| entries.len() > ty.cols);
            terms.push(match pattern {
                Some(pattern) => {
                    let op = Arc::new(Sparse { pattern: Arc::new(pattern) });
                    self.add(op, vec![value], from.with_cols(ty.cols), owner.clone())
                }
                None => {
                    let start = entries.first().map_or(0, |e| e.1);
                    self.value(vec![Piece { value, start, len: ty.cols }], &owner)
                }
            });
        }
        let sum = match terms[..] {
            [one] if self.graph.ty(one) == ty => one,
            _ => {
                let op = Arc::new(Map { expr: Expr::sum(terms.len()), least: Some(ty) });
                self.add(op, terms, ty, owner)
            }
        };
        self.forms.insert(output, vec![Piece { value: sum, start: 0, len: ty.cols }]);
    }
}
