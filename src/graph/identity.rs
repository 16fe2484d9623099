//! What tells operators apart.

use std::any::TypeId;
use std::hash::{Hash, Hasher};

/// What an operator computes, written out: operators with equal identities compute the same, bit for bit.
///
/// It holds the operator's type and all that its data give to [`Hash`], whole and in order. A number of type `f32` has no
/// [`Hash`] and is written by its bits, so that a constant cannot be left out by mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    of: TypeId,
    data: Vec<u8>,
}

impl Identity {
    /// The identity of an operator that is nothing but these data.
    pub fn of<T: Hash + 'static>(data: &T) -> Self {
        Self::some(TypeId::of::<T>(), data)
    }

    /// The identity of data of what has type `of`.
    pub(crate) fn some(of: TypeId, data: &impl Hash) -> Self {
        let mut written = Written(Vec::new());
        data.hash(&mut written);
        Self { of, data: written.0 }
    }
}

/// Keeps what is hashed.
struct Written(Vec<u8>);

impl Hasher for Written {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// None: the bytes themselves are compared.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;
    use crate::expr::Unary;
    use crate::expr::{Expr, Instr};
    use crate::op::{Map, Reduce, Slice};

    #[test]
    fn data_that_differ_in_one_bit_are_told_apart() {
        let map = |instr| Map::new(Expr { tape: vec![Instr::Input(0), instr] });
        let of = |instr| Identity::of(&map(instr));
        let constant = |c: f32| of(Instr::Constant(c));
        assert_eq!(constant(1.0), constant(1.0));
        assert_ne!(constant(0.0), constant(-0.0));
        assert_ne!(constant(1.0), constant(f32::from_bits(1.0_f32.to_bits() + 1)));
        assert_eq!(constant(f32::NAN), constant(f32::NAN));
        assert_ne!(of(Instr::Unary(Unary::Clamp(1.0), 0)), of(Instr::Unary(Unary::Huber(1.0), 0)));
        assert_ne!(
            of(Instr::Unary(Unary::LifRate(1.0, 2.0), 0)),
            of(Instr::Unary(Unary::LifRate(2.0, 1.0), 0))
        );
        let mean = |scale| {
            Identity::of(&Reduce { expr: Expr::identity(), to: crate::graph::Type::fixed(1, 1), scale })
        };
        assert_ne!(mean(0.5), mean(0.25));
    }

    #[test]
    fn operators_of_two_types_with_the_same_data_are_told_apart() {
        assert_ne!(Identity::of(&Slice { start: 1, len: 2 }), Identity::of(&(1_usize, 2_usize)));
        assert_ne!(Identity::of(&crate::op::Last), Identity::of(&crate::op::AtLast));
    }
}
